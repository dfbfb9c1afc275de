// SPDX-License-Identifier: BSD-2-Clause
// What the functions of the driver API (api_*.cpp) begin with. Errors are those that a driver gives; what a
// driver would let pass and then do harm ends the program with a sentence (block.h, memory.h).
#pragma once

#pragma GCC visibility push(default)
#include <cuda.h>
#pragma GCC visibility pop

#include "cuda/emulator/context.h"

namespace clv::cuda::emulator {

inline CUcontext current() {
    return context_stack().empty() ? nullptr : context_stack().back();
}

/// Every function but a few begins so: the lock, and CUDA_SUCCESS when the thread has a context that lives.
inline CUresult need_context() {
    if (!world().initialised)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (current() == nullptr)
        return CUDA_ERROR_INVALID_CONTEXT;
    return world().contexts.count(current()) != 0 ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

#define CLV_LOCK const std::lock_guard clv_lock(mutex())
#define CLV_NEED_CONTEXT                                                                                     \
    CLV_LOCK;                                                                                                \
    if (const CUresult clv_result = need_context(); clv_result != CUDA_SUCCESS)                              \
    return clv_result
#define CLV_NEED(condition, error)                                                                           \
    if (!(condition))                                                                                        \
    return error

inline bool is_device(CUdevice device) {
    return device >= 0 && device < settings().devices;
}

inline void *host(CUdeviceptr p) {
    return reinterpret_cast<void *>(p); // NOLINT(performance-no-int-to-ptr)
}

} // namespace clv::cuda::emulator
