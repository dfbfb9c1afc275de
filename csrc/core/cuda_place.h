// SPDX-License-Identifier: BSD-2-Clause
// A device of the C ABI as backends see it, and its counters as hosts do.
#pragma once

#include "clarivid/clarivid.h"
#include "cuda/place.h"

namespace clv {

/// With counters of its own.
cuda::Place cuda_place(const clv_cuda_device &device);

/// Forgets what was done; what is held stays.
void clear_work(cuda::Counters &counters);

clv_device_stats stats_of(const cuda::Counters &counters);

} // namespace clv
