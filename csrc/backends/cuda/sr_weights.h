// SPDX-License-Identifier: BSD-2-Clause
// The weights of the net (backends/sr_luma.h) in the order that the kernel needs.
#pragma once

#include <cstddef>
#include <vector>

#include "backends/cuda/sr_layout.h"
#include "backends/sr_luma.h"

namespace clv::cuda::sr {

/// How many channels the kernel computes for so many of the net's; those beyond are zero.
int padded_channels(int channels);

/// What a launch of `layers`, whose first block is the net's first_block-th, has in shared memory: weights as
/// the lanes of mma hold them (sr_product.cuh), then biases, as memory_of() tells. Throws
/// Error(CLV_ERR_INVALID_MODEL) for what no half holds.
std::vector<std::byte> constants_of(const SrLuma &net, const Layers &layers, int first_block);

} // namespace clv::cuda::sr
