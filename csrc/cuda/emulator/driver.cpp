// SPDX-License-Identifier: BSD-2-Clause
// The driver API, as far as FFmpeg's loader and clarivid know it. Errors are those that a driver gives; what
// a driver would let pass and then do harm ends the program with a sentence (block.h, memory.h).
#pragma GCC visibility push(default)
#include <cuda.h>
#pragma GCC visibility pop

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cuda/emulator/block.h"
#include "cuda/emulator/collectives.h"
#include "cuda/emulator/context.h"
#include "cuda/emulator/memory.h"

using namespace clv::cuda::emulator;

namespace {

constexpr int kVersion = 13000;
bool initialised = false;

CUcontext current() {
    return context_stack().empty() ? nullptr : context_stack().back();
}

/// Every function but a few begins so: the lock, and CUDA_SUCCESS when the thread has a context that lives.
CUresult need_context() {
    if (!initialised)
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

bool is_device(CUdevice device) {
    return device >= 0 && device < settings().devices;
}

void *host(CUdeviceptr p) {
    return reinterpret_cast<void *>(p);
} // NOLINT

/// Bytes from `p` to the end of its allocation, 0 when it is not the current context's.
size_t device_bytes(CUdeviceptr p) {
    auto next = world().device_memory.upper_bound(p);
    if (next == world().device_memory.begin())
        return 0;
    const auto &[begin, block] = *std::prev(next);
    if (block.context != current() || p - begin >= block.bytes)
        return 0;
    return block.bytes - (p - begin);
}

bool is_pinned(const void *p, size_t bytes) {
    const auto *first = static_cast<const unsigned char *>(p);
    auto next = world().pinned.upper_bound(first);
    if (next == world().pinned.begin())
        return false;
    const auto &[begin, size] = *std::prev(next);
    return first + bytes <= begin + size;
}

enum class Side { host, device };

/// Rows to copy, both sides checked.
struct Rows {
    Side from_side, to_side;
    const unsigned char *from;
    unsigned char *to;
    size_t from_pitch, to_pitch, bytes, rows;

    size_t from_extent() const { return (rows - 1) * from_pitch + bytes; }
    size_t to_extent() const { return (rows - 1) * to_pitch + bytes; }
    void run() const {
        for (size_t i = 0; i < rows; i++)
            std::memmove(to + i * to_pitch, from + i * from_pitch, bytes);
    }
};

CUresult copy(Rows rows, CUstream stream, bool wait) {
    if (rows.bytes == 0 || rows.rows == 0)
        return CUDA_SUCCESS;
    CLV_NEED(rows.rows == 1 || (rows.from_pitch >= rows.bytes && rows.to_pitch >= rows.bytes),
             CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(rows.from != nullptr && rows.to != nullptr, CUDA_ERROR_INVALID_VALUE);
    if (rows.from_side == Side::device)
        CLV_NEED(device_bytes(reinterpret_cast<CUdeviceptr>(rows.from)) >= rows.from_extent(),
                 CUDA_ERROR_INVALID_VALUE);
    if (rows.to_side == Side::device)
        CLV_NEED(device_bytes(reinterpret_cast<CUdeviceptr>(rows.to)) >= rows.to_extent(),
                 CUDA_ERROR_INVALID_VALUE);
    // What a host pointer may not be: a driver finds out by the address.
    CLV_NEED(rows.from_side == Side::device || device_bytes_at(rows.from) == 0, CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(rows.to_side == Side::device || device_bytes_at(rows.to) == 0, CUDA_ERROR_INVALID_VALUE);

    Statistics &statistics = world().statistics;
    const uint64_t bytes = rows.bytes * rows.rows;
    if (rows.from_side == Side::device && rows.to_side == Side::device)
        statistics.copies_on_device++;
    else if (rows.to_side == Side::device) {
        statistics.copies_to_device++;
        statistics.bytes_to_device += bytes;
        if (!is_pinned(rows.from, rows.from_extent())) {
            // Pageable memory is staged before the call returns.
            std::vector<unsigned char> staged(rows.bytes * rows.rows);
            for (size_t i = 0; i < rows.rows; i++)
                std::memcpy(staged.data() + i * rows.bytes, rows.from + i * rows.from_pitch, rows.bytes);
            enqueue(stream, [rows, staged = std::move(staged)] {
                Rows inner = rows;
                inner.from = staged.data();
                inner.from_pitch = rows.bytes;
                inner.run();
            });
            if (wait)
                work_off(stream);
            return CUDA_SUCCESS;
        }
    } else if (rows.to_side == Side::host) {
        statistics.copies_to_host++;
        statistics.bytes_to_host += bytes;
        if (!is_pinned(rows.to, rows.to_extent())) {
            statistics.pageable_waits++;
            wait = true;
        }
    }
    enqueue(stream, [rows] { rows.run(); });
    if (wait)
        work_off(stream);
    return CUDA_SUCCESS;
}

Rows line(Side from_side, const void *from, Side to_side, void *to, size_t bytes) {
    return {from_side,
            to_side,
            static_cast<const unsigned char *>(from),
            static_cast<unsigned char *>(to),
            bytes,
            bytes,
            bytes,
            1};
}

Side side_of(const void *p) {
    return device_bytes_at(p) != 0 ? Side::device : Side::host;
}

CUresult copy_2d(const CUDA_MEMCPY2D *c, CUstream stream, bool wait) {
    CLV_NEED(c != nullptr, CUDA_ERROR_INVALID_VALUE);
    Rows rows{};
    const auto end = [](CUmemorytype type, const void *on_host, CUdeviceptr on_device, Side &side,
                        const void *&p) -> CUresult {
        switch (type) {
        case CU_MEMORYTYPE_HOST:
            side = Side::host;
            p = on_host;
            return CUDA_SUCCESS;
        case CU_MEMORYTYPE_DEVICE:
            side = Side::device;
            p = host(on_device);
            return CUDA_SUCCESS;
        case CU_MEMORYTYPE_UNIFIED:
            p = host(on_device);
            side = side_of(p);
            return CUDA_SUCCESS;
        default:
            return CUDA_ERROR_NOT_SUPPORTED;
        }
    };
    const void *from = nullptr, *to = nullptr;
    if (const CUresult r = end(c->srcMemoryType, c->srcHost, c->srcDevice, rows.from_side, from);
        r != CUDA_SUCCESS)
        return r;
    if (const CUresult r = end(c->dstMemoryType, c->dstHost, c->dstDevice, rows.to_side, to);
        r != CUDA_SUCCESS)
        return r;
    rows.bytes = c->WidthInBytes;
    rows.rows = c->Height;
    rows.from_pitch = c->srcPitch != 0 ? c->srcPitch : c->WidthInBytes;
    rows.to_pitch = c->dstPitch != 0 ? c->dstPitch : c->WidthInBytes;
    rows.from = static_cast<const unsigned char *>(from) + c->srcY * rows.from_pitch + c->srcXInBytes;
    rows.to = static_cast<unsigned char *>(const_cast<void *>(to)) + c->dstY * rows.to_pitch + c->dstXInBytes;
    return copy(rows, stream, wait);
}

CUresult fill(CUdeviceptr to, const void *value, size_t size, size_t count, CUstream handle, bool wait) {
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(to % size == 0 && (count == 0 || device_bytes(to) >= count * size), CUDA_ERROR_INVALID_VALUE);
    world().statistics.fills++;
    uint32_t bits = 0;
    std::memcpy(&bits, value, size);
    enqueue(stream, [=] {
        auto *out = static_cast<unsigned char *>(host(to));
        for (size_t i = 0; i < count; i++)
            std::memcpy(out + i * size, &bits, size);
    });
    if (wait)
        work_off(stream);
    return CUDA_SUCCESS;
}

CUresult allocate(CUdeviceptr *out, size_t bytes) {
    CLV_NEED(out != nullptr && bytes > 0, CUDA_ERROR_INVALID_VALUE);
    World &all = world();
    size_t &used = all.used[static_cast<size_t>(current()->device)];
    CLV_NEED(bytes <= settings().device.memory - std::min(used, settings().device.memory),
             CUDA_ERROR_OUT_OF_MEMORY);
    void *memory = allocate_device(bytes);
    CLV_NEED(memory != nullptr, CUDA_ERROR_OUT_OF_MEMORY);
    used += bytes;
    all.statistics.allocations++;
    all.statistics.peak_bytes = std::max(all.statistics.peak_bytes, used);
    *out = reinterpret_cast<CUdeviceptr>(memory);
    all.device_memory[*out] = {current(), bytes};
    return CUDA_SUCCESS;
}

CUresult release(CUdeviceptr p) {
    World &all = world();
    const auto found = all.device_memory.find(p);
    CLV_NEED(found != all.device_memory.end(), CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(found->second.context == current(), CUDA_ERROR_INVALID_CONTEXT);
    all.used[static_cast<size_t>(current()->device)] -= found->second.bytes;
    all.device_memory.erase(found);
    free_device(host(p));
    return CUDA_SUCCESS;
}

CUresult create_context(CUcontext *out, unsigned flags, CUdevice device) {
    CLV_LOCK;
    CLV_NEED(initialised, CUDA_ERROR_NOT_INITIALIZED);
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

int blocks_that_fit(const CUfunc_st &function, int threads, size_t shared) {
    const DeviceProperties &device = settings().device;
    if (threads < 1 || threads > function.kernel->threads || shared > function.shared_limit)
        return 0;
    // From the eighth generation on the system takes 1 KiB of each block's.
    const size_t of_block = shared + (device.major >= 8 ? 1024 : 0);
    int out = std::min(32, device.threads_per_multiprocessor / ((threads + 31) / 32 * 32));
    if (of_block > 0)
        out = std::min(out, device.shared_per_multiprocessor / static_cast<int>(of_block));
    // Registers are unknown here: what the kernel promised the compiler is taken for what it keeps.
    return out;
}

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
    world();
    initialised = true;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDriverGetVersion(int *out) {
    *out = kVersion;
    return CUDA_SUCCESS;
}

// --- Devices. ---

CUresult CUDAAPI cuDeviceGetCount(int *out) {
    CLV_NEED(initialised, CUDA_ERROR_NOT_INITIALIZED);
    *out = settings().devices;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuDeviceGet(CUdevice *out, int ordinal) {
    CLV_NEED(initialised, CUDA_ERROR_NOT_INITIALIZED);
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
    CLV_NEED(initialised, CUDA_ERROR_NOT_INITIALIZED);
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
    CLV_NEED(initialised, CUDA_ERROR_NOT_INITIALIZED);
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
    CLV_NEED(initialised, CUDA_ERROR_NOT_INITIALIZED);
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

// --- Memory. ---

CUresult CUDAAPI cuMemGetInfo(size_t *free, size_t *total) {
    CLV_NEED_CONTEXT;
    *total = settings().device.memory;
    *free = *total - world().used[static_cast<size_t>(current()->device)];
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr *out, size_t bytes) {
    CLV_NEED_CONTEXT;
    return allocate(out, bytes);
}

CUresult CUDAAPI cuMemAllocPitch(CUdeviceptr *out, size_t *pitch, size_t width, size_t height,
                                 unsigned element) {
    CLV_NEED_CONTEXT;
    CLV_NEED(element == 4 || element == 8 || element == 16, CUDA_ERROR_INVALID_VALUE);
    *pitch = (width + 511) / 512 * 512;
    return allocate(out, *pitch * height);
}

CUresult CUDAAPI cuMemAllocManaged(CUdeviceptr *, size_t, unsigned) {
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult CUDAAPI cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream) {
    CLV_NEED_CONTEXT;
    return allocate(out, bytes);
}

CUresult CUDAAPI cuMemFreeAsync(CUdeviceptr p, CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    work_off(stream);
    return release(p);
}

CUresult CUDAAPI cuMemFree(CUdeviceptr p) {
    CLV_NEED_CONTEXT;
    if (p == 0)
        return CUDA_SUCCESS;
    work_off(current());
    return release(p);
}

CUresult CUDAAPI cuMemHostAlloc(void **out, size_t bytes, unsigned) {
    CLV_NEED_CONTEXT;
    CLV_NEED(out != nullptr && bytes > 0, CUDA_ERROR_INVALID_VALUE);
    *out = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    CLV_NEED(*out != nullptr, CUDA_ERROR_OUT_OF_MEMORY);
    make_noise(*out, bytes);
    world().pinned[static_cast<unsigned char *>(*out)] = bytes;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAllocHost(void **out, size_t bytes) {
    return cuMemHostAlloc(out, bytes, 0);
}

CUresult CUDAAPI cuMemFreeHost(void *p) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().pinned.erase(static_cast<unsigned char *>(p)) != 0, CUDA_ERROR_INVALID_VALUE);
    work_off(current());
    std::free(p);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
    CLV_NEED_CONTEXT;
    return fill(to, &value, 1, count, nullptr, true);
}
CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
    CLV_NEED_CONTEXT;
    return fill(to, &value, 1, count, stream, false);
}
CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    CLV_NEED_CONTEXT;
    return fill(to, &value, 2, count, stream, false);
}
CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    CLV_NEED_CONTEXT;
    return fill(to, &value, 4, count, stream, false);
}

#define CLV_COPY(handle, wait, from_side, from, to_side, to, bytes)                                          \
    CLV_NEED_CONTEXT;                                                                                        \
    const CUstream stream = stream_of(handle);                                                               \
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);                                                  \
    return copy(line(from_side, from, to_side, to, bytes), stream, wait)

CUresult CUDAAPI cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    CLV_COPY(nullptr, true, side_of(host(from)), host(from), side_of(host(to)), host(to), bytes);
}
CUresult CUDAAPI cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
    CLV_COPY(on, false, side_of(host(from)), host(from), side_of(host(to)), host(to), bytes);
}
CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
    CLV_COPY(nullptr, true, Side::host, from, Side::device, host(to), bytes);
}
CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream on) {
    CLV_COPY(on, false, Side::host, from, Side::device, host(to), bytes);
}
CUresult CUDAAPI cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
    CLV_COPY(nullptr, true, Side::device, host(from), Side::host, to, bytes);
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream on) {
    CLV_COPY(on, false, Side::device, host(from), Side::host, to, bytes);
}
CUresult CUDAAPI cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    CLV_COPY(nullptr, true, Side::device, host(from), Side::device, host(to), bytes);
}
CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
    CLV_COPY(on, false, Side::device, host(from), Side::device, host(to), bytes);
}

CUresult CUDAAPI cuMemcpy2D(const CUDA_MEMCPY2D *what) {
    CLV_NEED_CONTEXT;
    return copy_2d(what, stream_of(nullptr), true);
}
CUresult CUDAAPI cuMemcpy2DUnaligned(const CUDA_MEMCPY2D *what) {
    return cuMemcpy2D(what);
}
CUresult CUDAAPI cuMemcpy2DAsync(const CUDA_MEMCPY2D *what, CUstream on) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(on);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    return copy_2d(what, stream, false);
}

// --- Streams and events. ---

CUresult CUDAAPI cuStreamCreate(CUstream *out, unsigned flags) {
    CLV_NEED_CONTEXT;
    *out = new CUstream_st;
    (*out)->context = current();
    (*out)->blocking = (flags & CU_STREAM_NON_BLOCKING) == 0;
    world().streams.insert(*out);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamCreateWithPriority(CUstream *out, unsigned flags, int) {
    return cuStreamCreate(out, flags);
}

CUresult CUDAAPI cuStreamDestroy(CUstream handle) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().streams.count(handle) != 0, CUDA_ERROR_INVALID_HANDLE);
    work_off(handle);
    for (const CUevent event : world().events)
        if (event->stream == handle)
            event->stream = nullptr; // done
    world().streams.erase(handle);
    delete handle;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamSynchronize(CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    world().statistics.waits++;
    work_off(stream);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamQuery(CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    if (stream->done == stream->enqueued)
        return CUDA_SUCCESS;
    work_off(stream, stream->done + 1);
    return CUDA_ERROR_NOT_READY;
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr && world().events.count(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    const CUstream other = event->stream;
    const uint64_t position = event->position;
    enqueue(stream, [=] {
        if (other != nullptr && world().streams.count(other) != 0)
            work_off(other, position);
    });
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamAddCallback(CUstream handle, CUstreamCallback callback, void *data, unsigned) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    enqueue(stream, [=] { callback(handle, CUDA_SUCCESS, data); });
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventCreate(CUevent *out, unsigned flags) {
    CLV_NEED_CONTEXT;
    *out = new CUevent_st;
    (*out)->context = current();
    (*out)->timing = (flags & CU_EVENT_DISABLE_TIMING) == 0;
    world().events.insert(*out);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventDestroy(CUevent event) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.erase(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    delete event;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventRecord(CUevent event, CUstream handle) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr && world().events.count(event) != 0 && event->context == current(),
             CUDA_ERROR_INVALID_HANDLE);
    enqueue(stream, [=] {
        if (world().events.count(event) != 0)
            event->time = std::chrono::steady_clock::now();
    });
    event->stream = stream;
    event->position = stream->enqueued;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventQuery(CUevent event) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.count(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    if (event->stream == nullptr || event->stream->done >= event->position)
        return CUDA_SUCCESS;
    work_off(event->stream, event->stream->done + 1);
    return CUDA_ERROR_NOT_READY;
}

CUresult CUDAAPI cuEventSynchronize(CUevent event) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.count(event) != 0, CUDA_ERROR_INVALID_HANDLE);
    world().statistics.waits++;
    if (event->stream != nullptr)
        work_off(event->stream, event->position);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventElapsedTime(float *out, CUevent from, CUevent to) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().events.count(from) != 0 && world().events.count(to) != 0, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(from->timing && to->timing && from->position != 0 && to->position != 0,
             CUDA_ERROR_INVALID_HANDLE);
    for (const CUevent event : {from, to})
        CLV_NEED(event->stream == nullptr || event->stream->done >= event->position, CUDA_ERROR_NOT_READY);
    *out = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return CUDA_SUCCESS;
}

// --- Modules and kernels. ---

CUresult CUDAAPI cuModuleLoadData(CUmodule *out, const void *image) {
    CLV_NEED_CONTEXT;
    CLV_NEED(out != nullptr && image != nullptr, CUDA_ERROR_INVALID_VALUE);
    // A fat binary: magic, version (2 bytes), size of the header (2), of what follows (8).
    uint32_t magic = 0;
    uint16_t header = 0;
    uint64_t size = 0;
    std::memcpy(&magic, image, 4);
    if (magic != 0xBA55ED50)
        return CUDA_ERROR_NOT_SUPPORTED; // PTX of FFmpeg's own filters and the like
    std::memcpy(&header, static_cast<const char *>(image) + 6, 2);
    std::memcpy(&size, static_cast<const char *>(image) + 8, 8);
    // clarivid_cuda_kernels() writes the name of the source behind it.
    const char *behind = static_cast<const char *>(image) + header + size;
    constexpr char mark[] = "clarivid-image:";
    *out = new CUmod_st;
    (*out)->context = current();
    if (std::memcmp(behind, mark, sizeof mark - 1) == 0)
        (*out)->image = behind + sizeof mark - 1;
    world().modules.insert(*out);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned, CUjit_option *, void **) {
    return cuModuleLoadData(out, image);
}

CUresult CUDAAPI cuModuleUnload(CUmodule module) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().modules.count(module) != 0 && module->context == current(), CUDA_ERROR_INVALID_HANDLE);
    work_off(current());
    world().modules.erase(module);
    delete module;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name) {
    CLV_NEED_CONTEXT;
    CLV_NEED(world().modules.count(module) != 0, CUDA_ERROR_INVALID_HANDLE);
    const Kernel *kernel = find_kernel(name);
    CLV_NEED(kernel != nullptr, CUDA_ERROR_NOT_FOUND);
    // Of this source, not of another one.
    const std::string file = kernel->file;
    const std::string stem = file.substr(file.rfind('/') + 1);
    CLV_NEED(stem.substr(0, stem.find('.')) == module->image, CUDA_ERROR_NOT_FOUND);
    CUfunc_st &function = module->functions[name];
    function.module = module;
    function.kernel = kernel;
    *out = &function;
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncGetAttribute(int *out, CUfunction_attribute which, CUfunction function) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    const Kernel &kernel = *function->kernel;
    switch (which) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *out = kernel.threads;
        break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *out = std::min(255, 65536 / (kernel.threads * kernel.blocks) / 8 * 8);
        break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *out = static_cast<int>(function->shared_limit);
        break;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *out = 10 * settings().device.major + settings().device.minor;
        break;
    default:
        *out = 0;
    }
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction function, CUfunction_attribute which, int value) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    if (which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        CLV_NEED(value >= 0 && value <= settings().device.shared_per_block, CUDA_ERROR_INVALID_VALUE);
        function->shared_limit = static_cast<size_t>(value);
        return CUDA_SUCCESS;
    }
    CLV_NEED(which == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, CUDA_ERROR_INVALID_VALUE);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, CUfunction function, int threads,
                                                             size_t shared) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    *out = blocks_that_fit(*function, threads, shared);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                                CUstream handle, void **params, void **extra) {
    CLV_NEED_CONTEXT;
    CLV_NEED(function != nullptr, CUDA_ERROR_INVALID_HANDLE);
    CLV_NEED(world().modules.count(function->module) != 0 && function->module->context == current(),
             CUDA_ERROR_INVALID_HANDLE);
    const CUstream stream = stream_of(handle);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    const Kernel &kernel = *function->kernel;
    const uint64_t threads = static_cast<uint64_t>(block_x) * block_y * block_z;
    CLV_NEED(threads >= 1 && threads <= static_cast<uint64_t>(kernel.threads) && block_z <= 64,
             CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(grid_x >= 1 && grid_y >= 1 && grid_z >= 1 && grid_x <= 0x7fffffff && grid_y <= 65535 &&
                 grid_z <= 65535,
             CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(shared <= function->shared_limit, CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(extra == nullptr && params != nullptr && params[0] != nullptr, CUDA_ERROR_INVALID_VALUE);

    std::vector<unsigned char> copied(kernel.params);
    std::memcpy(copied.data(), params[0], kernel.params);
    enqueue(stream, [&kernel, grid = dim3(grid_x, grid_y, grid_z), block = dim3(block_x, block_y, block_z),
                     shared, copied = std::move(copied)] {
        const auto start = std::chrono::steady_clock::now();
        take_bank_statistics();
        run({&kernel, grid, block, shared, copied.data()});
        const BankStatistics banks = take_bank_statistics();
        Statistics::Kernel &statistics = world().statistics.kernels[kernel.name];
        statistics.launches++;
        statistics.blocks += static_cast<uint64_t>(grid.x) * grid.y * grid.z;
        statistics.matrix_reads += banks.reads;
        statistics.matrix_passes += banks.passes;
        statistics.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
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
