// SPDX-License-Identifier: BSD-2-Clause
// CUDA through the driver API, found at run time: our libraries need no driver to be loaded, and no CUDA
// runtime. Everything throws clv::Error with a sentence: CLV_ERR_NO_MEMORY when the device's memory ran out,
// after which all goes on working; CLV_ERR_INFERENCE from launches, transfers and waits; else
// CLV_ERR_BACKEND. What owns device things frees them with their context current, and is moved, not copied.
//
// Every transfer and every wait goes through this header, because Place::counters count them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include <cuda.h>
#include <vector_types.h>

#include "core/error.h"
#include "cuda/place.h"

namespace clv::cuda {

// cuda.h maps names to versions (cuMemAlloc to cuMemAlloc_v2); the mapping reaches members and callers alike.
#define CLV_CUDA_FUNCTIONS(each)                                                                             \
    each(cuGetErrorName) each(cuGetErrorString) each(cuInit) each(cuDriverGetVersion) each(cuDeviceGetCount) \
        each(cuDeviceGet) each(cuDeviceGetName) each(cuDeviceGetAttribute) each(cuDeviceTotalMem)            \
            each(cuDevicePrimaryCtxRetain) each(cuDevicePrimaryCtxRelease) each(cuCtxPushCurrent)            \
                each(cuCtxPopCurrent) each(cuCtxGetCurrent) each(cuCtxGetDevice) each(cuModuleLoadData)      \
                    each(cuModuleUnload) each(cuModuleGetFunction) each(cuFuncGetAttribute)                  \
                        each(cuFuncSetAttribute) each(cuOccupancyMaxActiveBlocksPerMultiprocessor)           \
                            each(cuLaunchKernel) each(cuMemGetInfo) each(cuMemAlloc) each(cuMemFree)         \
                                each(cuMemHostAlloc) each(cuMemFreeHost) each(cuMemsetD8Async)               \
                                    each(cuMemcpyHtoDAsync) each(cuMemcpyDtoHAsync) each(cuMemcpyDtoDAsync)  \
                                        each(cuMemcpy2DAsync) each(cuMemcpy3DAsync) each(cuStreamCreate)     \
                                            each(cuStreamDestroy) each(cuStreamSynchronize) each(            \
                                                cuStreamWaitEvent) each(cuEventCreate) each(cuEventDestroy)  \
                                                each(cuEventRecord) each(cuEventQuery)                       \
                                                    each(cuEventSynchronize) each(cuEventElapsedTime)        \
                                                        each(cuStreamBeginCapture) each(cuStreamEndCapture)  \
                                                            each(cuGraphInstantiateWithFlags)                \
                                                                each(cuGraphLaunch) each(cuGraphDestroy)     \
                                                                    each(cuGraphExecDestroy)

/// The functions of libcuda.so.1, named as in cuda.h.
struct Driver {
// NOLINTNEXTLINE(bugprone-macro-parentheses): it declares
#define CLV_CUDA_MEMBER(name) decltype(&::name) name = nullptr;
    CLV_CUDA_FUNCTIONS(CLV_CUDA_MEMBER)
#undef CLV_CUDA_MEMBER
};

/// Loads libcuda.so.1, or what the environment's CLARIVID_CUDA_DRIVER names, and calls cuInit(), once. A
/// failure is tried again at the next call.
const Driver &driver();

/// Throws unless `result` is CUDA_SUCCESS. `what` completes "CUDA could not ...": "run kernel clv_scale".
void check(CUresult result, const std::string &what, clv_status status = CLV_ERR_BACKEND);

inline CUcontext context_of(const Place &place) {
    return static_cast<CUcontext>(place.context);
}
inline CUstream stream_of(const Place &place) {
    return static_cast<CUstream>(place.stream);
}

/// Makes a context current for as long as it lives.
class Current {
public:
    explicit Current(const Place &place) : Current(context_of(place)) {}
    explicit Current(CUcontext context);
    ~Current();
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;
};

struct DeviceInfo {
    std::string name;
    int sm = 0; ///< compute capability, 90 for 9.0
    int multiprocessors = 0;
    size_t shared_per_block = 0; ///< bytes that a kernel may ask for (opt-in)
    size_t shared_per_multiprocessor = 0;
    size_t l2_bytes = 0;
    size_t memory_bytes = 0;
    size_t texture_alignment = 0;
};
DeviceInfo device_info(const Place &place);

/// Memory of the device, aligned to 256 bytes, with anything in it. Freeing waits for the device's work.
class Buffer {
public:
    Buffer() = default;
    Buffer(const Place &place, size_t bytes);
    ~Buffer() { free(); }
    Buffer(Buffer &&other) noexcept { *this = std::move(other); }
    Buffer &operator=(Buffer &&other) noexcept;

    CUdeviceptr address() const { return address_; }
    template <class T = void>
    T *get() const {
        return reinterpret_cast<T *>(address_); // NOLINT(performance-no-int-to-ptr): the driver's addresses
    }
    size_t bytes() const { return bytes_; }
    explicit operator bool() const { return address_ != 0; }

private:
    void free() noexcept;
    Place place_;
    CUdeviceptr address_ = 0;
    size_t bytes_ = 0;
};

/// Memory of the host that transfers reach without a detour.
class Pinned {
public:
    Pinned() = default;
    Pinned(const Place &place, size_t bytes);
    ~Pinned() { free(); }
    Pinned(Pinned &&other) noexcept { *this = std::move(other); }
    Pinned &operator=(Pinned &&other) noexcept;

    template <class T = void>
    T *get() const {
        return static_cast<T *>(data_);
    }
    size_t bytes() const { return bytes_; }
    explicit operator bool() const { return data_ != nullptr; }

private:
    void free() noexcept;
    Place place_;
    void *data_ = nullptr;
    size_t bytes_ = 0;
};

class Event {
public:
    Event() = default;
    explicit Event(const Place &place, bool timing = false);
    ~Event() { destroy(); }
    Event(Event &&other) noexcept { *this = std::move(other); }
    Event &operator=(Event &&other) noexcept;

    void record(CUstream stream);
    void record() { record(stream_of(place_)); }
    /// Whether the work before the last record() is done; true when there was none.
    bool done() const;
    /// Work enqueued on `stream` from now on waits for this; no thread does.
    void hold(CUstream stream) const;
    CUevent get() const { return event_; }
    const Place &place() const { return place_; }
    explicit operator bool() const { return event_ != nullptr; }

private:
    void destroy() noexcept;
    Place place_;
    CUevent event_ = nullptr;
};
/// Milliseconds from one event to the other; both with timing, recorded and done.
double elapsed_ms(const Event &from, const Event &to);

/// A stream of our own, which does not wait for the context's default one.
class Stream {
public:
    Stream() = default;
    explicit Stream(const Place &place);
    ~Stream() { destroy(); }
    Stream(Stream &&other) noexcept { *this = std::move(other); }
    Stream &operator=(Stream &&other) noexcept;

    CUstream get() const { return stream_; }
    explicit operator bool() const { return stream_ != nullptr; }

private:
    void destroy() noexcept;
    Place place_;
    CUstream stream_ = nullptr;
};

/// A compiled source, embedded in a library: clarivid_cuda_kernels() makes it, CLV_CUDA_IMAGE(lowrank)
/// declares clv_image_lowrank for lowrank.cu.
struct Image {
    const char *name;
    const void *data;
};
#define CLV_CUDA_IMAGE(name)                                                                                 \
    extern "C" __attribute__((visibility("hidden"))) const unsigned char clv_image_data_##name[];            \
    static const ::clv::cuda::Image clv_image_##name {                                                       \
#name, clv_image_data_##name                                                                         \
    }

class Module;

/// A kernel, made ready for launches with so much dynamic shared memory. Valid as long as its Module.
class Kernel {
public:
    Kernel() = default;

    /// Enqueues. The context must be current. `params` is copied before this returns.
    template <class Params>
    void launch(dim3 grid, dim3 block, const Params &params, CUstream stream) const {
        static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= 4096,
                      "a kernel takes one plain struct of at most 4 KiB");
        launch_raw(grid, block, &params, stream);
    }
    /// Blocks of so many threads that one multiprocessor holds at a time; 0 when none fits.
    int blocks_per_multiprocessor(int threads) const;
    int registers() const;
    /// Bytes of a thread that lie in device memory: what did not fit into registers, and arrays with an
    /// index.
    int local_bytes() const;
    const std::string &name() const { return name_; }
    size_t shared_bytes() const { return shared_bytes_; }
    CUfunction get() const { return function_; }
    explicit operator bool() const { return function_ != nullptr; }

private:
    friend class Module;
    void launch_raw(dim3 grid, dim3 block, const void *params, CUstream stream) const;
    std::string name_;
    CUcontext context_ = nullptr;
    CUfunction function_ = nullptr;
    size_t shared_bytes_ = 0;
    unsigned max_threads_ = 0;
};

/// An image loaded into a context. Loading takes milliseconds: once for a session, not for a picture.
class Module {
public:
    Module() = default;
    Module(const Place &place, const Image &image);
    ~Module() { unload(); }
    Module(Module &&other) noexcept { *this = std::move(other); }
    Module &operator=(Module &&other) noexcept;

    Kernel kernel(const std::string &name, size_t shared_bytes = 0) const;
    explicit operator bool() const { return module_ != nullptr; }

private:
    void unload() noexcept;
    Place place_;
    std::string name_;
    CUmodule module_ = nullptr;
};

// --- Transfers on the place's stream, which return at once (unless the host's memory is pageable). The
// context need not be current. Rows of *_2d lie `pitch` bytes apart, at least `row_bytes`. ---

void copy_to_host_async(const Place &place, void *to, const void *from, size_t bytes);
/// `from` may be pageable memory, which is free again when this returns; pinned memory is read later.
void copy_to_device_async(const Place &place, void *to, const void *from, size_t bytes);
void copy_on_device_async(const Place &place, void *to, const void *from, size_t bytes);
void copy_to_host_2d(const Place &place, void *to, size_t to_pitch, const void *from, size_t from_pitch,
                     size_t row_bytes, size_t rows);
void copy_to_device_2d(const Place &place, void *to, size_t to_pitch, const void *from, size_t from_pitch,
                       size_t row_bytes, size_t rows);
void copy_on_device_2d(const Place &place, void *to, size_t to_pitch, const void *from, size_t from_pitch,
                       size_t row_bytes, size_t rows);
/// A window of every slice of a contiguous array of `slices` x `rows` x `row_bytes`.
struct Window {
    void *array; ///< only read where it is copied from
    size_t row_bytes, rows;
    size_t left_bytes, top; ///< where the window begins in each slice
};
/// One transfer for all slices, of both arrays as many.
void copy_on_device_3d(const Place &place, const Window &to, const Window &from, size_t row_bytes,
                       size_t rows, size_t slices);
void fill_async(const Place &place, void *to, uint8_t value, size_t bytes);

/// The calling thread waits for all work enqueued on the place's stream.
void synchronise(const Place &place);
/// ... or before the event's last record().
void synchronise(const Event &event);

} // namespace clv::cuda
