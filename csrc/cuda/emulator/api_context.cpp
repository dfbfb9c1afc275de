// SPDX-License-Identifier: BSD-2-Clause
// Errors, devices and contexts.
#include "cuda/emulator/api.h"

#include <cstdio>
#include <cstring>

using namespace clv::cuda::emulator;

namespace {

constexpr int kVersion = 13000;

CUresult create_context(CUcontext *out, unsigned flags, CUdevice device) {
    CLV_LOCK;
    CLV_NEED(world().initialised, CUDA_ERROR_NOT_INITIALIZED);
    CLV_NEED(out != nullptr, CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    *out = new CUctx_st{device, false, 0, flags};
    world().contexts.insert(*out);
    context_stack().push_back(*out);
    return CUDA_SUCCESS;
}

struct ErrorText {
    CUresult error;
    const char *name, *text;
};
#define CLV_ERROR(name, text)                                                                                \
    ErrorText {                                                                                              \
        name, #name, text                                                                                    \
    }
const ErrorText errors[] = {
    CLV_ERROR(CUDA_SUCCESS, "no error"),
    CLV_ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    CLV_ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    CLV_ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    CLV_ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    CLV_ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    CLV_ERROR(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
    CLV_ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    CLV_ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device"),
    CLV_ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    CLV_ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    CLV_ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
    CLV_ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    CLV_ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
};

} // namespace

extern "C" {

// --- Errors, start. ---

CUresult CUDAAPI cuGetErrorName(CUresult error, const char **out) {
    for (const ErrorText &one : errors)
        if (one.error == error) {
            *out = one.name;
            return CUDA_SUCCESS;
        }
    *out = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuGetErrorString(CUresult error, const char **out) {
    for (const ErrorText &one : errors)
        if (one.error == error) {
            *out = one.text;
            return CUDA_SUCCESS;
        }
    *out = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult CUDAAPI cuInit(unsigned flags) {
    CLV_LOCK;
    CLV_NEED(flags == 0, CUDA_ERROR_INVALID_VALUE);
    if (settings().devices < 1)
        return CUDA_ERROR_NO_DEVICE;
    world().initialised = true;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDriverGetVersion(int *out) {
    *out = kVersion;
    return CUDA_SUCCESS;
}

// --- Devices. ---

CUresult CUDAAPI cuDeviceGetCount(int *out) {
    CLV_NEED(world().initialised, CUDA_ERROR_NOT_INITIALIZED);
    *out = settings().devices;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice *out, int ordinal) {
    CLV_NEED(world().initialised, CUDA_ERROR_NOT_INITIALIZED);
    CLV_NEED(is_device(ordinal), CUDA_ERROR_INVALID_DEVICE);
    *out = ordinal;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetName(char *out, int size, CUdevice device) {
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    std::snprintf(out, static_cast<size_t>(size), "clarivid emulator");
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceTotalMem(size_t *out, CUdevice device) {
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    *out = settings().device.memory;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid *out, CUdevice device) {
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    std::memset(out, 0, sizeof *out);
    std::memcpy(out->bytes, "clarivid", 8);
    out->bytes[15] = static_cast<char>(device);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetPCIBusId(char *out, int size, CUdevice device) {
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    std::snprintf(out, static_cast<size_t>(size), "0000:%02x:00.0", static_cast<unsigned>(device) + 1);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    *major = settings().device.major;
    *minor = settings().device.minor;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGetAttribute(int *out, CUdevice_attribute which, CUdevice device) {
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    const DeviceProperties &p = settings().device;
    switch (which) {
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: // cuMemAllocAsync
        *out = 1;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *out = p.major;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *out = p.minor;
        break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *out = p.multiprocessors;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
        *out = 48 * 1024;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        *out = p.shared_per_block;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
        *out = p.shared_per_multiprocessor;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
        *out = p.threads_per_multiprocessor;
        break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
        *out = p.l2_bytes;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
        *out = 1024;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
        *out = 64;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
        *out = 0x7fffffff;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
        *out = 65535;
        break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
        *out = 32;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
        *out = 65536;
        break;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
        *out = 512;
        break;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT:
        *out = 32;
        break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
        *out = 1;
        break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
        *out = device + 1;
        break;
    default:
        *out = 0;
    }
    return CUDA_SUCCESS;
}

// --- Contexts. ---

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device) {
    CLV_LOCK;
    CLV_NEED(world().initialised, CUDA_ERROR_NOT_INITIALIZED);
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    CUcontext &context = world().primaries[static_cast<size_t>(device)];
    if (context == nullptr) {
        context = new CUctx_st{device, true, 0, 0};
        world().contexts.insert(context);
    }
    context->users++;
    *out = context;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
    CLV_LOCK;
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    CUcontext &context = world().primaries[static_cast<size_t>(device)];
    CLV_NEED(context != nullptr, CUDA_ERROR_INVALID_CONTEXT);
    if (--context->users == 0) {
        destroy_context(context);
        context = nullptr;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned) {
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    CLV_LOCK;
    CLV_NEED(is_device(device), CUDA_ERROR_INVALID_DEVICE);
    *flags = 0;
    *active = world().primaries[static_cast<size_t>(device)] != nullptr ? 1 : 0;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDevicePrimaryCtxReset(CUdevice) {
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult CUDAAPI cuCtxCreate(CUcontext *out, CUctxCreateParams *, unsigned flags, CUdevice device) {
    return create_context(out, flags, device);
}

// cuda.h of CUDA 13 has cuCtxCreate_v4 only; FFmpeg asks for this one.
#pragma GCC visibility push(default)
CUresult CUDAAPI cuCtxCreate_v2(CUcontext *out, unsigned flags, CUdevice device) {
    return create_context(out, flags, device);
}
#pragma GCC visibility pop

CUresult CUDAAPI cuCtxDestroy(CUcontext context) {
    CLV_LOCK;
    CLV_NEED(world().contexts.count(context) != 0, CUDA_ERROR_INVALID_CONTEXT);
    CLV_NEED(!context->primary, CUDA_ERROR_INVALID_CONTEXT);
    destroy_context(context);
    if (current() == context)
        context_stack().pop_back();
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPushCurrent(CUcontext context) {
    CLV_LOCK;
    CLV_NEED(world().initialised, CUDA_ERROR_NOT_INITIALIZED);
    CLV_NEED(world().contexts.count(context) != 0, CUDA_ERROR_INVALID_CONTEXT);
    context_stack().push_back(context);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxPopCurrent(CUcontext *out) {
    CLV_LOCK;
    CLV_NEED(current() != nullptr, CUDA_ERROR_INVALID_CONTEXT);
    if (out != nullptr)
        *out = current();
    context_stack().pop_back();
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) {
    CLV_LOCK;
    CLV_NEED(context == nullptr || world().contexts.count(context) != 0, CUDA_ERROR_INVALID_CONTEXT);
    if (!context_stack().empty())
        context_stack().pop_back();
    if (context != nullptr)
        context_stack().push_back(context);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext *out) {
    CLV_NEED(world().initialised, CUDA_ERROR_NOT_INITIALIZED);
    *out = current();
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice *out) {
    CLV_NEED_CONTEXT;
    *out = current()->device;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxSetLimit(CUlimit, size_t) {
    CLV_NEED_CONTEXT;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuCtxSynchronize(void) {
    CLV_NEED_CONTEXT;
    world().statistics.waits++;
    work_off(current());
    return CUDA_SUCCESS;
}

// FFmpeg asks for these without a version, which cuda.h adds to the names above.
#undef cuDevicePrimaryCtxRelease
#undef cuDevicePrimaryCtxReset
#undef cuDevicePrimaryCtxSetFlags
#pragma GCC visibility push(default)
CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
    return cuDevicePrimaryCtxRelease_v2(device);
}

CUresult CUDAAPI cuDevicePrimaryCtxReset(CUdevice device) {
    return cuDevicePrimaryCtxReset_v2(device);
}

CUresult CUDAAPI cuDevicePrimaryCtxSetFlags(CUdevice device, unsigned flags) {
    return cuDevicePrimaryCtxSetFlags_v2(device, flags);
}
#pragma GCC visibility pop

} // extern "C"
