// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/driver.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <utility>

namespace clv::cuda {

namespace {

#define CLV_STRING_OF(name) #name
#define CLV_STRING(name) CLV_STRING_OF(name)

std::string megabytes(size_t bytes) {
    return std::to_string(bytes >> 20) + " MiB";
}

Driver load() {
    const char *wanted = std::getenv("CLARIVID_CUDA_DRIVER");
    const std::string name = wanted != nullptr && *wanted != '\0' ? wanted : "libcuda.so.1";
    // Never closed: what the driver started stays.
    void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char *reason = dlerror();
        throw Error(CLV_ERR_BACKEND, "no NVIDIA driver: " + std::string(reason != nullptr ? reason : name) +
                                         "; install one (580 or newer), or take a backend that needs no GPU");
    }
    Driver out;
    std::string missing;
    const auto find = [&](auto &member, const char *symbol) {
        member =
            reinterpret_cast<std::remove_reference_t<decltype(member)>>(dlsym(library, symbol)); // NOLINT
        if (member == nullptr && missing.empty())
            missing = symbol;
    };
#define CLV_CUDA_FIND(function) find(out.function, CLV_STRING(function));
    CLV_CUDA_FUNCTIONS(CLV_CUDA_FIND)
#undef CLV_CUDA_FIND
    if (!missing.empty())
        throw Error(CLV_ERR_BACKEND, "the NVIDIA driver " + name + " has no " + missing +
                                         ": it is too old; install 580 or newer");
    const CUresult result = out.cuInit(0);
    if (result != CUDA_SUCCESS) {
        const char *text = nullptr;
        out.cuGetErrorString(result, &text);
        throw Error(CLV_ERR_BACKEND, "the NVIDIA driver " + name + " does not start: " +
                                         (text != nullptr ? text : "error " + std::to_string(result)) +
                                         "; `nvidia-smi` may say more");
    }
    return out;
}

/// The error's text in the API's words.
std::string text_of(CUresult result) {
    const char *name = nullptr, *text = nullptr;
    driver().cuGetErrorName(result, &name);
    driver().cuGetErrorString(result, &text);
    return (text != nullptr ? std::string(text) : "unknown error") + " (" +
           (name != nullptr ? std::string(name) : std::to_string(result)) + ")";
}

std::string free_memory() {
    size_t free = 0, total = 0;
    if (driver().cuMemGetInfo(&free, &total) != CUDA_SUCCESS)
        return "";
    return "; " + megabytes(free) + " of " + megabytes(total) + " are free";
}

/// After these a context does nothing any more.
bool lost(CUresult result) {
    switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
        return true;
    default:
        return false;
    }
}

/// Makes the context current where that works, for what frees: a context that is gone has freed all.
class CurrentIfAlive {
public:
    explicit CurrentIfAlive(const Place &place)
        : alive_(driver().cuCtxPushCurrent(context_of(place)) == CUDA_SUCCESS) {}
    ~CurrentIfAlive() {
        CUcontext context = nullptr;
        if (alive_)
            driver().cuCtxPopCurrent(&context);
    }
    CurrentIfAlive(const CurrentIfAlive &) = delete;
    CurrentIfAlive &operator=(const CurrentIfAlive &) = delete;
    explicit operator bool() const { return alive_; }

private:
    bool alive_;
};

void count(const Place &place, std::atomic<uint64_t> Counters::*copies,
           std::atomic<uint64_t> Counters::*bytes, size_t size) {
    if (place.counters == nullptr)
        return;
    (*place.counters.*copies).fetch_add(1, std::memory_order_relaxed);
    (*place.counters.*bytes).fetch_add(size, std::memory_order_relaxed);
}

void count_wait(const Place &place) {
    if (place.counters != nullptr)
        place.counters->synchronisations.fetch_add(1, std::memory_order_relaxed);
}

CUdeviceptr device(const void *pointer) {
    return reinterpret_cast<CUdeviceptr>(pointer);
}

int attribute(CUdevice_attribute which, CUdevice of) {
    int out = 0;
    check(driver().cuDeviceGetAttribute(&out, which, of), "ask the GPU for its properties");
    return out;
}

int attribute(CUfunction_attribute which, CUfunction of) {
    int out = 0;
    check(driver().cuFuncGetAttribute(&out, which, of), "ask a kernel for its properties");
    return out;
}

std::string text(dim3 d) {
    return std::to_string(d.x) + "x" + std::to_string(d.y) + "x" + std::to_string(d.z);
}

} // namespace

const Driver &driver() {
    static std::mutex mutex;
    static const Driver *loaded = nullptr; // never freed: destructors of statics elsewhere may still need it
    const std::lock_guard lock(mutex);
    if (loaded == nullptr)
        loaded = new Driver(load());
    return *loaded;
}

void check(CUresult result, const std::string &what, clv_status status) {
    if (result == CUDA_SUCCESS)
        return;
    if (result == CUDA_ERROR_OUT_OF_MEMORY)
        throw Error(CLV_ERR_NO_MEMORY,
                    "the GPU's memory ran out: CUDA could not " + what + free_memory() +
                        "; take smaller pictures, or fewer filters, streams and surfaces at once");
    throw Error(status, "CUDA could not " + what + ": " + text_of(result) +
                            (lost(result) ? "; this GPU context is lost, start the process again" : ""));
}

Current::Current(CUcontext context) {
    if (context == nullptr)
        throw Error(CLV_ERR_INVALID_ARGUMENT, "no CUDA context was given; pictures on a GPU need theirs");
    check(driver().cuCtxPushCurrent(context), "use the context of the pictures");
}

Current::~Current() {
    CUcontext context = nullptr;
    driver().cuCtxPopCurrent(&context);
}

DeviceInfo device_info(const Place &place) {
    const Current current(place);
    const Driver &api = driver();
    CUdevice id = 0;
    check(api.cuCtxGetDevice(&id), "tell which GPU the context is on");
    char name[128] = "";
    check(api.cuDeviceGetName(name, sizeof name, id), "ask the GPU for its name");
    DeviceInfo out;
    out.name = name;
    out.sm = 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, id) +
             attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, id);
    out.multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, id);
    out.shared_per_block =
        static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, id));
    out.shared_per_multiprocessor =
        static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, id));
    out.l2_bytes = static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, id));
    out.texture_alignment = static_cast<size_t>(attribute(CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, id));
    check(api.cuDeviceTotalMem(&out.memory_bytes, id), "ask the GPU for its memory");
    return out;
}

// --- What owns device things. ---

Buffer::Buffer(const Place &place, size_t bytes) : place_(place), bytes_(bytes) {
    if (bytes == 0)
        return;
    const Current current(place);
    check(driver().cuMemAlloc(&address_, bytes), "allocate " + std::to_string(bytes) + " bytes on the GPU");
    if (place_.counters != nullptr)
        place_.counters->device_bytes += bytes;
}

Buffer &Buffer::operator=(Buffer &&other) noexcept {
    if (this != &other) {
        free();
        place_ = std::exchange(other.place_, {});
        address_ = std::exchange(other.address_, 0);
        bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
}

void Buffer::free() noexcept {
    if (address_ == 0)
        return;
    if (const CurrentIfAlive current(place_); current)
        driver().cuMemFree(address_);
    if (place_.counters != nullptr)
        place_.counters->device_bytes -= bytes_;
    address_ = 0;
    bytes_ = 0;
}

Pinned::Pinned(const Place &place, size_t bytes) : place_(place), bytes_(bytes) {
    if (bytes == 0)
        return;
    const Current current(place);
    const CUresult result = driver().cuMemHostAlloc(&data_, bytes, CU_MEMHOSTALLOC_PORTABLE);
    if (result == CUDA_ERROR_OUT_OF_MEMORY)
        throw Error(CLV_ERR_NO_MEMORY, "CUDA could not pin " + std::to_string(bytes) +
                                           " bytes of the host's memory; close what uses much of it");
    check(result, "pin " + std::to_string(bytes) + " bytes of the host's memory");
}

Pinned &Pinned::operator=(Pinned &&other) noexcept {
    if (this != &other) {
        free();
        place_ = std::exchange(other.place_, {});
        data_ = std::exchange(other.data_, nullptr);
        bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
}

void Pinned::free() noexcept {
    if (data_ == nullptr)
        return;
    if (const CurrentIfAlive current(place_); current)
        driver().cuMemFreeHost(data_);
    data_ = nullptr;
    bytes_ = 0;
}

Event::Event(const Place &place, bool timing) : place_(place) {
    const Current current(place);
    check(driver().cuEventCreate(&event_, timing ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING),
          "create an event");
}

Event &Event::operator=(Event &&other) noexcept {
    if (this != &other) {
        destroy();
        place_ = std::exchange(other.place_, {});
        event_ = std::exchange(other.event_, nullptr);
    }
    return *this;
}

void Event::destroy() noexcept {
    if (event_ == nullptr)
        return;
    if (const CurrentIfAlive current(place_); current)
        driver().cuEventDestroy(event_);
    event_ = nullptr;
}

void Event::record(CUstream stream) {
    const Current current(place_);
    check(driver().cuEventRecord(event_, stream), "record an event", CLV_ERR_INFERENCE);
}

bool Event::done() const {
    const Current current(place_);
    const CUresult result = driver().cuEventQuery(event_);
    if (result != CUDA_ERROR_NOT_READY)
        check(result, "ask for an event", CLV_ERR_INFERENCE);
    return result == CUDA_SUCCESS;
}

void Event::hold(CUstream stream) const {
    const Current current(place_);
    check(driver().cuStreamWaitEvent(stream, event_, CU_EVENT_WAIT_DEFAULT), "order two streams",
          CLV_ERR_INFERENCE);
}

double elapsed_ms(const Event &from, const Event &to) {
    const Current current(from.place());
    float out = 0;
    check(driver().cuEventElapsedTime(&out, from.get(), to.get()), "tell the time between two events",
          CLV_ERR_INFERENCE);
    return static_cast<double>(out);
}

Stream::Stream(const Place &place) : place_(place) {
    const Current current(place);
    check(driver().cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "create a stream");
}

Stream &Stream::operator=(Stream &&other) noexcept {
    if (this != &other) {
        destroy();
        place_ = std::exchange(other.place_, {});
        stream_ = std::exchange(other.stream_, nullptr);
    }
    return *this;
}

void Stream::destroy() noexcept {
    if (stream_ == nullptr)
        return;
    if (const CurrentIfAlive current(place_); current)
        driver().cuStreamDestroy(stream_);
    stream_ = nullptr;
}

// --- Kernels. ---

Module::Module(const Place &place, const Image &image) : place_(place), name_(image.name) {
    const Current current(place);
    const CUresult result = driver().cuModuleLoadData(&module_, image.data);
    switch (result) {
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_PTX: {
        const DeviceInfo info = device_info(place);
        throw Error(CLV_ERR_BACKEND, "clarivid's CUDA kernels (" + name_ + ") are not made for " + info.name +
                                         ", whose compute capability is " + std::to_string(info.sm / 10) +
                                         "." + std::to_string(info.sm % 10) +
                                         "; it takes 7.5 (Turing) or newer, and a library built with "
                                         "CLARIVID_CUDA_ARCHITECTURES=all");
    }
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    case CUDA_ERROR_INVALID_IMAGE: {
        int version = 0;
        driver().cuDriverGetVersion(&version);
        throw Error(CLV_ERR_BACKEND, "the NVIDIA driver knows CUDA " + std::to_string(version / 1000) + "." +
                                         std::to_string(version % 1000 / 10) + " and cannot load kernels (" +
                                         name_ + ") made with " + std::to_string(CUDA_VERSION / 1000) + "." +
                                         std::to_string(CUDA_VERSION % 1000 / 10) +
                                         "; install driver 580 or newer");
    }
    default:
        check(result, "load the kernels of " + name_);
    }
}

Module &Module::operator=(Module &&other) noexcept {
    if (this != &other) {
        unload();
        place_ = std::exchange(other.place_, {});
        name_ = std::exchange(other.name_, {});
        module_ = std::exchange(other.module_, nullptr);
    }
    return *this;
}

void Module::unload() noexcept {
    if (module_ == nullptr)
        return;
    if (const CurrentIfAlive current(place_); current)
        driver().cuModuleUnload(module_);
    module_ = nullptr;
}

Kernel Module::kernel(const std::string &name, size_t shared_bytes) const {
    const Current current(place_);
    Kernel out;
    out.name_ = name;
    out.context_ = context_of(place_);
    out.shared_bytes_ = shared_bytes;
    check(driver().cuModuleGetFunction(&out.function_, module_, name.c_str()),
          "find kernel " + name + " in " + name_);
    out.max_threads_ =
        static_cast<unsigned>(attribute(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, out.function_));
    if (shared_bytes > 48 * 1024) {
        const DeviceInfo info = device_info(place_);
        if (shared_bytes > info.shared_per_block)
            throw Error(CLV_ERR_UNSUPPORTED, "kernel " + name + " needs " + std::to_string(shared_bytes) +
                                                 " bytes of shared memory, and " + info.name + " has " +
                                                 std::to_string(info.shared_per_block) + " for a block");
        check(driver().cuFuncSetAttribute(out.function_, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                          static_cast<int>(shared_bytes)),
              "give kernel " + name + " " + std::to_string(shared_bytes) + " bytes of shared memory");
    }
    return out;
}

int Kernel::blocks_per_multiprocessor(int threads) const {
    const Current current(context_);
    int out = 0;
    check(driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(&out, function_, threads, shared_bytes_),
          "tell how many blocks of kernel " + name_ + " fit");
    return out;
}

int Kernel::registers() const {
    const Current current(context_);
    return attribute(CU_FUNC_ATTRIBUTE_NUM_REGS, function_);
}

int Kernel::local_bytes() const {
    const Current current(context_);
    return attribute(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, function_);
}

void Kernel::launch_raw(dim3 grid, dim3 block, const void *params, CUstream stream) const {
    if (function_ == nullptr)
        throw Error(CLV_ERR_INTERNAL, "a kernel was launched before it was loaded");
    const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 ||
        grid.z > 65535 || threads == 0 || threads > max_threads_ || block.z > 64)
        throw Error(CLV_ERR_INTERNAL, "kernel " + name_ + " was to run as " + text(grid) + " blocks of " +
                                          text(block) + " threads, of which it takes " +
                                          std::to_string(max_threads_) + " at most");
    void *arguments[] = {const_cast<void *>(params)};
    check(driver().cuLaunchKernel(function_, grid.x, grid.y, grid.z, block.x, block.y, block.z,
                                  static_cast<unsigned>(shared_bytes_), stream, arguments, nullptr),
          "run kernel " + name_, CLV_ERR_INFERENCE);
}

// --- Transfers. ---

namespace {

void copy_2d(const Place &place, CUDA_MEMCPY2D copy, size_t to_pitch, size_t from_pitch, size_t row_bytes,
             size_t rows, const char *what) {
    if (row_bytes == 0 || rows == 0)
        return;
    copy.dstPitch = to_pitch;
    copy.srcPitch = from_pitch;
    copy.WidthInBytes = row_bytes;
    copy.Height = rows;
    const Current current(place);
    check(driver().cuMemcpy2DAsync(&copy, stream_of(place)), what, CLV_ERR_INFERENCE);
}

} // namespace

void copy_to_host_async(const Place &place, void *to, const void *from, size_t bytes) {
    if (bytes == 0)
        return;
    const Current current(place);
    count(place, &Counters::copies_to_host, &Counters::bytes_to_host, bytes);
    check(driver().cuMemcpyDtoHAsync(to, device(from), bytes, stream_of(place)), "copy to the host",
          CLV_ERR_INFERENCE);
}

void copy_to_device_async(const Place &place, void *to, const void *from, size_t bytes) {
    if (bytes == 0)
        return;
    const Current current(place);
    count(place, &Counters::copies_to_device, &Counters::bytes_to_device, bytes);
    check(driver().cuMemcpyHtoDAsync(device(to), from, bytes, stream_of(place)), "copy to the GPU",
          CLV_ERR_INFERENCE);
}

void copy_on_device_async(const Place &place, void *to, const void *from, size_t bytes) {
    if (bytes == 0)
        return;
    const Current current(place);
    check(driver().cuMemcpyDtoDAsync(device(to), device(from), bytes, stream_of(place)),
          "copy from one place of the GPU's memory to another", CLV_ERR_INFERENCE);
}

void copy_to_host_2d(const Place &place, void *to, size_t to_pitch, const void *from, size_t from_pitch,
                     size_t row_bytes, size_t rows) {
    CUDA_MEMCPY2D copy{};
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = device(from);
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = to;
    count(place, &Counters::copies_to_host, &Counters::bytes_to_host, row_bytes * rows);
    copy_2d(place, copy, to_pitch, from_pitch, row_bytes, rows, "copy a picture to the host");
}

void copy_to_device_2d(const Place &place, void *to, size_t to_pitch, const void *from, size_t from_pitch,
                       size_t row_bytes, size_t rows) {
    CUDA_MEMCPY2D copy{};
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = from;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = device(to);
    count(place, &Counters::copies_to_device, &Counters::bytes_to_device, row_bytes * rows);
    copy_2d(place, copy, to_pitch, from_pitch, row_bytes, rows, "copy a picture to the GPU");
}

void copy_on_device_2d(const Place &place, void *to, size_t to_pitch, const void *from, size_t from_pitch,
                       size_t row_bytes, size_t rows) {
    CUDA_MEMCPY2D copy{};
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = device(from);
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = device(to);
    copy_2d(place, copy, to_pitch, from_pitch, row_bytes, rows, "copy a picture on the GPU");
}

void copy_on_device_3d(const Place &place, const Window &to, const Window &from, size_t row_bytes,
                       size_t rows, size_t slices) {
    if (row_bytes == 0 || rows == 0 || slices == 0)
        return;
    CUDA_MEMCPY3D copy{};
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = device(from.array);
    copy.srcPitch = from.row_bytes;
    copy.srcHeight = from.rows;
    copy.srcXInBytes = from.left_bytes;
    copy.srcY = from.top;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = device(to.array);
    copy.dstPitch = to.row_bytes;
    copy.dstHeight = to.rows;
    copy.dstXInBytes = to.left_bytes;
    copy.dstY = to.top;
    copy.WidthInBytes = row_bytes;
    copy.Height = rows;
    copy.Depth = slices;
    const Current current(place);
    check(driver().cuMemcpy3DAsync(&copy, stream_of(place)), "copy a part of a tensor on the GPU",
          CLV_ERR_INFERENCE);
}

void fill_async(const Place &place, void *to, uint8_t value, size_t bytes) {
    if (bytes == 0)
        return;
    const Current current(place);
    check(driver().cuMemsetD8Async(device(to), value, bytes, stream_of(place)), "fill memory of the GPU",
          CLV_ERR_INFERENCE);
}

void synchronise(const Place &place) {
    const Current current(place);
    count_wait(place);
    check(driver().cuStreamSynchronize(stream_of(place)), "wait for the stream", CLV_ERR_INFERENCE);
}

void synchronise(const Event &event) {
    const Current current(event.place());
    count_wait(event.place());
    check(driver().cuEventSynchronize(event.get()), "wait for an event", CLV_ERR_INFERENCE);
}

} // namespace clv::cuda
