// SPDX-License-Identifier: BSD-2-Clause
// What an address is: programs that are handed arrays of others' ask.
#include "cuda/emulator/api.h"

using namespace clv::cuda::emulator;

extern "C" {

CUresult CUDAAPI cuPointerGetAttribute(void *out, CUpointer_attribute attribute, CUdeviceptr p) {
    CLV_LOCK;
    CLV_NEED(world().initialised, CUDA_ERROR_NOT_INITIALIZED);
    CLV_NEED(out != nullptr, CUDA_ERROR_INVALID_VALUE);
    const auto next = world().device_memory.upper_bound(p);
    CLV_NEED(next != world().device_memory.begin(), CUDA_ERROR_INVALID_VALUE);
    const auto &[begin, block] = *std::prev(next);
    CLV_NEED(p - begin < block.bytes, CUDA_ERROR_INVALID_VALUE);
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *static_cast<CUcontext *>(out) = block.context;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *static_cast<unsigned *>(out) = CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *static_cast<int *>(out) = block.context->device;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

} // extern "C"
