// SPDX-License-Identifier: BSD-2-Clause
// Where device memory is and in what order it is worked on, for code that does not see cuda.h.
#pragma once

#include <memory>

#include "cuda/counters.h"

namespace clv::cuda {

/// Owns nothing but its counters, which are never null where work is done.
struct Place {
    void *context = nullptr; ///< CUcontext
    void *stream = nullptr;  ///< CUstream; null is the context's default stream
    std::shared_ptr<Counters> counters;
};

} // namespace clv::cuda
