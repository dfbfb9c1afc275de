// SPDX-License-Identifier: BSD-2-Clause
// Memory and transfers.
#include "cuda/emulator/api.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cuda/emulator/block.h"
#include "cuda/emulator/memory.h"

using namespace clv::cuda::emulator;

namespace {

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

CUresult copy_3d(const CUDA_MEMCPY3D *c, CUstream stream) {
    CLV_NEED(c != nullptr, CUDA_ERROR_INVALID_VALUE);
    CLV_NEED(c->srcMemoryType == CU_MEMORYTYPE_DEVICE && c->dstMemoryType == CU_MEMORYTYPE_DEVICE,
             CUDA_ERROR_NOT_SUPPORTED);
    CLV_NEED(c->srcXInBytes + c->WidthInBytes <= c->srcPitch && c->srcY + c->Height <= c->srcHeight &&
                 c->dstXInBytes + c->WidthInBytes <= c->dstPitch && c->dstY + c->Height <= c->dstHeight,
             CUDA_ERROR_INVALID_VALUE);
    const uint64_t copies = world().statistics.copies_on_device;
    for (size_t z = 0; z < c->Depth; z++) {
        Rows rows{};
        rows.from_side = rows.to_side = Side::device;
        rows.bytes = c->WidthInBytes;
        rows.rows = c->Height;
        rows.from_pitch = c->srcPitch;
        rows.to_pitch = c->dstPitch;
        rows.from = static_cast<const unsigned char *>(host(c->srcDevice)) + c->srcXInBytes +
                    ((c->srcZ + z) * c->srcHeight + c->srcY) * c->srcPitch;
        rows.to = static_cast<unsigned char *>(host(c->dstDevice)) + c->dstXInBytes +
                  ((c->dstZ + z) * c->dstHeight + c->dstY) * c->dstPitch;
        if (const CUresult r = copy(rows, stream, false); r != CUDA_SUCCESS)
            return r;
    }
    world().statistics.copies_on_device = copies + 1;
    return CUDA_SUCCESS;
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

} // namespace

extern "C" {

CUresult CUDAAPI cuMemGetInfo(size_t *free, size_t *total) {
    CLV_NEED_CONTEXT;
    *total = settings().device.memory;
    *free = *total - world().used[static_cast<size_t>(current()->device)];
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr *out, size_t bytes) {
    CLV_NEED_CONTEXT;
    CLV_NEED(!spoils(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
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
    CLV_NEED(!spoils(), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
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

/// Between arrays on the device only.
CUresult CUDAAPI cuMemcpy3DAsync(const CUDA_MEMCPY3D *what, CUstream on) {
    CLV_NEED_CONTEXT;
    const CUstream stream = stream_of(on);
    CLV_NEED(stream != nullptr, CUDA_ERROR_INVALID_HANDLE);
    return copy_3d(what, stream);
}

} // extern "C"
