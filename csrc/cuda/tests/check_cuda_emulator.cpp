// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_emulator
// The emulator finds what it is there for: wrong kernels and wrong calls. Each runs in a process of its own,
// whose last words are read; this one never loads the driver.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "cuda/driver.h"
#include "cuda/tests/test_kernels.h"
#include "cuda/tests/testing.h"

CLV_CUDA_IMAGE(test_kernels);

using namespace clv;
using namespace clv::cuda;
using namespace clv::cuda::test;

namespace {

struct Ended {
    std::string words; // stderr
    int status;        // as of waitpid()
    bool crashed() const { return WIFSIGNALED(status); }
    bool well() const { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
};

/// Runs `work` in a child with that seed; its result is the exit code.
Ended in_child(unsigned seed, const std::function<int()> &work) {
    int ends[2];
    if (pipe(ends) != 0)
        std::abort();
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        setenv("CLARIVID_EMULATOR_SEED", std::to_string(seed).c_str(), 1);
        try {
            _exit(work());
        } catch (const std::exception &error) {
            std::fprintf(stderr, "%s\n", error.what());
            _exit(99);
        }
    }
    close(ends[1]);
    Ended out;
    char buffer[4096];
    for (ssize_t n = 0; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        out.words.append(buffer, static_cast<size_t>(n));
    close(ends[0]);
    waitpid(child, &out.status, 0);
    return out;
}

Place primary_place() {
    CUdevice device = 0;
    CUcontext context = nullptr;
    check(driver().cuDeviceGet(&device, 0), "find a GPU");
    check(driver().cuDevicePrimaryCtxRetain(&context, device), "make a context");
    return {context, nullptr, std::make_shared<Counters>()};
}

/// Runs the wrong kernel on 64 words; whether every thread had its right result.
int run_wrong(Wrong what, uint32_t offset, const std::vector<uint32_t> &expected) {
    const Place place = primary_place();
    const Module module(place, clv_image_test_kernels);
    const Kernel kernel = module.kernel("clv_test_wrong", 64 * 4);
    std::vector<uint32_t> values(64);
    for (uint32_t i = 0; i < 64; i++)
        values[i] = 1000 + i;
    {
        const Buffer from(place, 256), memory(place, 256);
        copy_to_device_async(place, from.get(), values.data(), 256);
        const Current current(place);
        kernel.launch(dim3(1), dim3(64),
                      WrongParams{memory.get<uint32_t>(), from.get<uint32_t>(), offset, what}, nullptr);
        copy_to_host_async(place, values.data(), memory.get(), 256);
        synchronise(place);
    }
    return values == expected ? 0 : 1;
}

std::vector<uint32_t> row_of(uint32_t (*value)(uint32_t)) {
    std::vector<uint32_t> out;
    for (uint32_t i = 0; i < 64; i++)
        out.push_back(value(i));
    return out;
}

void check_crashes(Report &report) {
    const auto expected = row_of([](uint32_t i) { return i; });
    struct Case {
        Wrong what;
        uint32_t offset;
        const char *words;
    };
    const Case cases[] = {
        {Wrong::half_a_barrier, 0, "40 at __syncthreads ("},
        {Wrong::half_a_barrier, 0, "24 at __shfl_sync ("},
        {Wrong::half_a_warp, 0, "wait for each other for ever"},
        {Wrong::matrix_outside, 0, "outside of the shared memory"},
        {Wrong::write_behind, 64, "0 bytes behind the end of an allocation of 256 bytes"},
        {Wrong::write_behind, 64 + 512, "2048 bytes behind the end"},
        {Wrong::read_behind, 64, "0 bytes behind the end"},
        {Wrong::write_before, 1, "before the beginning of an allocation of 256 bytes"},
        {Wrong::write_before, 2000, "before the beginning of an allocation of 256 bytes"},
        {Wrong::write_shared_behind, 0, "256 bytes into the shared memory"},
        {Wrong::misaligned, 0, "not aligned"},
    };
    for (const Case &one : cases)
        for (const unsigned seed : {0U, 1U, 2U}) {
            const Ended ended = in_child(seed, [&] { return run_wrong(one.what, one.offset, expected); });
            report.expect(ended.crashed(), std::string("a kernel ends with: ") + one.words);
            report.contains(ended.words, one.words);
            report.contains(ended.words, "clarivid emulator:");
        }
    report.expect(in_child(1, [&] { return run_wrong(Wrong::nothing, 0, expected); }).well(),
                  "a kernel without mistakes runs");
    const Ended ended = in_child(1, [&] { return run_wrong(Wrong::write_behind, 64, expected); });
    report.contains(ended.words, "kernel clv_test_wrong, block (0,0,0), thread (0,0,0)");
}

/// Races give a wrong result with some seed of a few, and a right one where things stay in order.
void check_races(Report &report) {
    struct Case {
        Wrong what;
        std::vector<uint32_t> expected;
        const char *name;
    };
    const Case cases[] = {
        {Wrong::no_barrier, row_of([](uint32_t i) { return 63 - i; }), "a missing __syncthreads() is seen"},
        {Wrong::no_warp_barrier, row_of([](uint32_t i) { return i ^ 1; }), "a missing __syncwarp() is seen"},
        {Wrong::no_wait, row_of([](uint32_t i) { return 1063 - i; }), "a missing cp_async_wait() is seen"},
    };
    for (const Case &one : cases) {
        int wrong = 0;
        for (unsigned seed = 1; seed <= 4; seed++)
            wrong += in_child(seed, [&] { return run_wrong(one.what, 0, one.expected); }).well() ? 0 : 1;
        report.expect(wrong > 0, one.name);
    }
}

void check_drivers(Report &report) {
    const auto with_driver = [](const char *name) {
        return in_child(1, [=] {
            setenv("CLARIVID_CUDA_DRIVER", name, 1);
            (void)driver();
            return 0;
        });
    };
    report.contains(with_driver("/nowhere/libcuda.so.1").words,
                    "no NVIDIA driver: /nowhere/libcuda.so.1: cannot open");
    report.contains(with_driver("/nowhere/libcuda.so.1").words,
                    "install one (580 or newer), or take a backend");
    report.contains(with_driver("libm.so.6").words, "too old; install 580 or newer");
    const Ended none = in_child(1, [] {
        setenv("CLARIVID_EMULATOR_DEVICES", "0", 1);
        (void)driver();
        return 0;
    });
    report.contains(none.words, "does not start: no CUDA-capable device is detected");
}

/// Wrong calls get the driver's errors.
void check_calls(Report &report) {
    const auto call = [&](const char *what, CUresult expected, const std::function<CUresult()> &work) {
        const Ended ended = in_child(1, [&] {
            const CUresult result = work();
            std::fprintf(stderr, "%d", static_cast<int>(result));
            return 0;
        });
        report.expect(ended.words == std::to_string(expected), std::string(what) + " gives " + ended.words);
    };
    using Pair = std::pair<CUdeviceptr, CUcontext>;
    // Memory of one context while another is current.
    const auto two_contexts = [](CUdevice second) -> Pair {
        const Place place = primary_place();
        static Buffer buffer; // lives as long as the child
        buffer = Buffer(place, 256);
        CUcontext other = nullptr;
        check(driver().cuDevicePrimaryCtxRetain(&other, second), "make a context");
        check(driver().cuCtxPushCurrent(other), "use it");
        return {buffer.address(), other};
    };
    setenv("CLARIVID_EMULATOR_DEVICES", "2", 1);
    call("allocating without a context", CUDA_ERROR_INVALID_CONTEXT, [] {
        CUdeviceptr p = 0;
        return driver().cuMemAlloc(&p, 16);
    });
    call("a context of another thread", CUDA_ERROR_INVALID_CONTEXT, [] {
        const Place place = primary_place();
        const Current current(place);
        CUresult result = CUDA_SUCCESS;
        std::thread([&] {
            CUdeviceptr p = 0;
            result = driver().cuMemAlloc(&p, 16);
        }).join();
        return result;
    });
    call("freeing another context's memory", CUDA_ERROR_INVALID_CONTEXT,
         [&] { return driver().cuMemFree(two_contexts(1).first); });
    call("copying from another context's memory", CUDA_ERROR_INVALID_VALUE, [&] {
        char out[16];
        return driver().cuMemcpyDtoHAsync(out, two_contexts(1).first, 16, nullptr);
    });
    call("a context that is gone", CUDA_ERROR_INVALID_CONTEXT, [] {
        const Place place = primary_place();
        check(driver().cuDevicePrimaryCtxRelease(0), "give it back");
        return driver().cuCtxPushCurrent(context_of(place));
    });
    call("copying more than there is", CUDA_ERROR_INVALID_VALUE, [] {
        const Place place = primary_place();
        const Current current(place);
        const Buffer buffer(place, 256);
        char out[512];
        return driver().cuMemcpyDtoHAsync(out, buffer.address() + 1, 256, nullptr);
    });
    call("a device's address for the host's", CUDA_ERROR_INVALID_VALUE, [] {
        const Place place = primary_place();
        const Current current(place);
        const Buffer one(place, 256), two(place, 256);
        return driver().cuMemcpyHtoDAsync(one.address(), two.get(), 256, nullptr);
    });
    call("a picture wider than its pitch", CUDA_ERROR_INVALID_VALUE, [] {
        const Place place = primary_place();
        const Current current(place);
        const Buffer buffer(place, 4096);
        char out[512];
        CUDA_MEMCPY2D copy{};
        copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
        copy.srcDevice = buffer.address();
        copy.srcPitch = 32;
        copy.dstMemoryType = CU_MEMORYTYPE_HOST;
        copy.dstHost = out;
        copy.dstPitch = 64;
        copy.WidthInBytes = 48;
        copy.Height = 4;
        return driver().cuMemcpy2DAsync(&copy, nullptr);
    });
    call("a window that is higher than its array", CUDA_ERROR_INVALID_VALUE, [] {
        const Place place = primary_place();
        const Current current(place);
        const Buffer buffer(place, 4096);
        CUDA_MEMCPY3D copy{};
        copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
        copy.srcDevice = copy.dstDevice = buffer.address();
        copy.srcPitch = copy.dstPitch = 32;
        copy.srcHeight = copy.dstHeight = 8;
        copy.srcY = 5;
        copy.WidthInBytes = 32;
        copy.Height = 4;
        copy.Depth = 2;
        return driver().cuMemcpy3DAsync(&copy, nullptr);
    });
    call("much shared memory without asking", CUDA_ERROR_INVALID_VALUE, [] {
        const Place place = primary_place();
        const Current current(place);
        const Module module(place, clv_image_test_kernels);
        const Kernel kernel = module.kernel("clv_test_scale");
        ScaleParams params{};
        void *arguments[] = {&params};
        return driver().cuLaunchKernel(kernel.get(), 1, 1, 1, 1, 1, 1, 49 * 1024, nullptr, arguments,
                                       nullptr);
    });
    call("a stream of another context", CUDA_ERROR_INVALID_HANDLE, [&] {
        const Place place = primary_place();
        const Stream stream(place);
        two_contexts(1);
        return driver().cuStreamSynchronize(stream.get());
    });
    call("a kernel of another context", CUDA_ERROR_INVALID_HANDLE, [&] {
        const Place place = primary_place();
        const Module module(place, clv_image_test_kernels);
        const Kernel kernel = module.kernel("clv_test_scale");
        two_contexts(1);
        ScaleParams params{};
        void *arguments[] = {&params};
        return driver().cuLaunchKernel(kernel.get(), 1, 1, 1, 1, 1, 1, 0, nullptr, arguments, nullptr);
    });
    unsetenv("CLARIVID_EMULATOR_DEVICES");
}

/// What real devices differ in can be had.
void check_devices(Report &report) {
    const auto shared_of = [](const char *sm) {
        return in_child(1,
                        [=] {
                            setenv("CLARIVID_EMULATOR_SM", sm, 1);
                            const DeviceInfo info = device_info(primary_place());
                            std::fprintf(stderr, "%d %zu", info.sm, info.shared_per_block / 1024);
                            return 0;
                        })
            .words;
    };
    report.expect(shared_of("75") == "75 64" && shared_of("80") == "80 163" && shared_of("89") == "89 99" &&
                      shared_of("90") == "90 227" && shared_of("120") == "120 99",
                  "shared memory is that of the device");
    const Ended small = in_child(1, [] {
        setenv("CLARIVID_EMULATOR_MEMORY", "1048576", 1);
        const Place place = primary_place();
        const Buffer half(place, 1 << 19);
        const Buffer rest(place, (1 << 19) + 1);
        return 0;
    });
    report.contains(small.words, "allocate 524289 bytes on the GPU; 0 MiB of 1 MiB are free");
}

/// In lazy streams a host that does not wait sees nothing.
void check_lazy(Report &report) {
    const auto seen = [](bool wait) {
        return in_child(1, [=] {
            setenv("CLARIVID_EMULATOR_LAZY", "1", 1);
            const Place place = primary_place();
            const Buffer buffer(place, 256);
            Pinned pinned(place, 256);
            for (int i = 0; i < 256; i++)
                pinned.get<unsigned char>()[i] = 1;
            fill_async(place, buffer.get(), 2, 256);
            Event event(place);
            copy_to_host_async(place, pinned.get(), buffer.get(), 256);
            event.record();
            const bool early = event.done();
            if (wait)
                synchronise(place);
            return early ? 50 : pinned.get<unsigned char>()[255];
        });
    };
    report.expect(WEXITSTATUS(seen(false).status) == 1, "lazy streams do nothing before somebody waits");
    report.expect(WEXITSTATUS(seen(true).status) == 2, "lazy streams do all when somebody waits");
}

/// A device's address is none of the host's.
void check_host(Report &report) {
    const Ended ended = in_child(1, [] {
        const Place place = primary_place();
        const Buffer buffer(place, 256);
        fill_async(place, buffer.get(), 2, 256);
        synchronise(place);
        return static_cast<int>(*buffer.get<volatile unsigned char>());
    });
    report.expect(ended.crashed(), "a host that follows a device's pointer crashes");
    report.contains(ended.words, "the host reads or writes device memory");
}

} // namespace

int main() {
    Report report;
    check_crashes(report);
    check_races(report);
    check_drivers(report);
    check_calls(report);
    check_devices(report);
    check_lazy(report);
    check_host(report);
    return report.result("check_cuda_emulator");
}
