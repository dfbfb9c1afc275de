// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_driver
// What cuda/driver.h promises, and that kernels mean the same to nvcc and to the emulator. Runs on the
// emulator (ctest) and on a GPU. What only the emulator can do, to find mistakes, is in check_cuda_emulator.
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "cuda/driver.h"
#include "cuda/tests/test_kernels.h"
#include "cuda/tests/testing.h"

CLV_CUDA_IMAGE(test_kernels);

using namespace clv;
using namespace clv::cuda;
using namespace clv::cuda::test;

namespace {

using Random = std::mt19937;

float half_to_float(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                      : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    return (bits & 0x8000) != 0 ? -value : value;
}

/// A finite half of moderate size.
uint16_t any_half(Random &random) {
    return static_cast<uint16_t>((random() & 0x8000) | ((8 + random() % 10) << 10) | (random() & 1023));
}

template <class T>
Buffer upload(const Place &place, const std::vector<T> &values) {
    Buffer out(place, values.size() * sizeof(T));
    copy_to_device_async(place, out.get(), values.data(), out.bytes());
    return out;
}

template <class T>
std::vector<T> download(const Place &place, const Buffer &from) {
    std::vector<T> out(from.bytes() / sizeof(T));
    copy_to_host_async(place, out.data(), from.get(), from.bytes());
    synchronise(place);
    return out;
}

void check_scale(Report &report, const Place &place) {
    const Module module(place, clv_image_test_kernels);
    const Kernel scale = module.kernel("clv_test_scale");
    for (const int count : {1, 255, 256, 257, 1000}) {
        std::vector<float> values(static_cast<size_t>(count));
        for (size_t i = 0; i < values.size(); i++)
            values[i] = static_cast<float>(i) + 0.5F;
        const Buffer from = upload(place, values);
        const Buffer to(place, from.bytes());
        const Current current(place);
        scale.launch(dim3((static_cast<unsigned>(count) + 255) / 256), dim3(256),
                     ScaleParams{from.get<float>(), to.get<float>(), count, 3}, stream_of(place));
        std::vector<float> expected = values;
        for (float &value : expected)
            value *= 3;
        report.expect(download<float>(place, to) == expected,
                      "a kernel scales " + std::to_string(count) + " values");
    }
    report.expect(scale.blocks_per_multiprocessor(256) >= 1, "a kernel says how many of its blocks fit");
    report.expect(scale.local_bytes() == 0, "a small kernel needs no local memory");
}

void check_matrices(Report &report, const Place &place) {
    const Module module(place, clv_image_test_kernels);
    const Kernel kernel = module.kernel("clv_test_matrices", 2048);
    Random random(1);
    for (const int depth : {8, 16}) {
        const auto size = static_cast<size_t>(depth);
        std::vector<uint16_t> a(16 * size), b(size * 8);
        std::vector<float> d(128);
        for (uint16_t &value : a)
            value = any_half(random);
        for (uint16_t &value : b)
            value = any_half(random);
        for (float &value : d)
            value = static_cast<float>(random() % 1000) / 64;
        const Buffer a_there = upload(place, a), b_there = upload(place, b), d_there = upload(place, d);
        const Current current(place);
        kernel.launch(
            dim3(1), dim3(32),
            MatrixParams{a_there.get<uint16_t>(), b_there.get<uint16_t>(), d_there.get<float>(), depth},
            stream_of(place));
        const std::vector<float> out = download<float>(place, d_there);
        double worst = 0;
        for (size_t row = 0; row < 16; row++)
            for (size_t column = 0; column < 8; column++) {
                double sum = static_cast<double>(d[row * 8 + column]), size_of_terms = std::abs(sum);
                for (size_t k = 0; k < size; k++) {
                    const double term = static_cast<double>(half_to_float(a[row * size + k])) *
                                        static_cast<double>(half_to_float(b[k * 8 + column]));
                    sum += term;
                    size_of_terms += std::abs(term);
                }
                worst = std::max(worst,
                                 std::abs(static_cast<double>(out[row * 8 + column]) - sum) / size_of_terms);
            }
        // Tensor cores cut off below the largest term; 2^-20 leaves them room.
        report.expect(worst < 1e-6, "a product of matrices of depth " + std::to_string(depth) +
                                        " is right to " + std::to_string(worst));
    }
}

/// What shfl gives: PTX ISA, shfl.sync.
uint32_t shuffled(const char *kind, uint32_t lane, uint32_t operand, uint32_t width) {
    const uint32_t first = lane & ~(width - 1), last = first + width - 1;
    uint32_t from = lane;
    if (std::strcmp(kind, "index") == 0)
        from = first + (operand & (width - 1));
    else if (std::strcmp(kind, "up") == 0)
        from = lane >= first + operand ? lane - operand : lane;
    else if (std::strcmp(kind, "down") == 0)
        from = lane + operand <= last ? lane + operand : lane;
    else if ((lane ^ operand) <= last)
        from = lane ^ operand;
    return from;
}

void check_collectives(Report &report, const Place &place) {
    const Module module(place, clv_image_test_kernels);
    const Kernel kernel = module.kernel("clv_test_collectives", 96 * 4);
    constexpr uint32_t threads = 96;
    const Buffer out_there(place, kCollectives * threads * 4);
    const Current current(place);
    kernel.launch(dim3(1), dim3(8, 12), CollectiveParams{out_there.get<uint32_t>()}, stream_of(place));
    const std::vector<uint32_t> out = download<uint32_t>(place, out_there);
    const auto value = [](uint32_t thread) { return thread * 7 + 3; };
    uint32_t fives = 0;
    for (uint32_t i = 0; i < threads; i++)
        fives += value(i) % 5 == 0;
    std::vector<int> wrong(kCollectives);
    for (uint32_t i = 0; i < threads; i++) {
        const uint32_t lane = i % 32, warp = i - lane;
        const auto from = [&](const char *kind, uint32_t operand, uint32_t width) {
            return value(warp + shuffled(kind, lane, operand, width));
        };
        uint32_t thirds = 0, odd = 0;
        for (uint32_t other = 0; other < 32; other++) {
            thirds |= static_cast<uint32_t>(value(warp + other) % 3 == 0) << other;
            odd |= static_cast<uint32_t>(other >= 16 && other % 2 == 1) << other;
        }
        const uint32_t expected[kCollectives] = {
            from("index", lane * 5 + 1, 32),
            from("index", lane + 3, 8),
            from("up", 3, 32),
            from("up", 2, 4),
            from("down", 5, 32),
            from("down", 1, 16),
            from("xor", 9, 32),
            from("xor", 3, 4),
            std::bit_cast<uint32_t>(static_cast<float>(from("xor", 16, 32))),
            thirds,
            warp == 32 ? 1U : 0U,
            warp < 64 ? 1U : 0U,
            fives,
            1,
            0,
            lane < 16 ? from("xor", 1, 32) : odd,
            value((i + 37) % threads),
        };
        for (size_t row = 0; row < kCollectives; row++)
            wrong[row] += out[row * threads + i] != expected[row];
    }
    for (size_t row = 0; row < kCollectives; row++)
        report.expect(wrong[row] == 0, "collective " + std::to_string(row) +
                                           " gives every thread its value; " + std::to_string(wrong[row]) +
                                           " have another one");
}

void check_copies(Report &report, const Place &place) {
    const Module module(place, clv_image_test_kernels);
    const Kernel kernel = module.kernel("clv_test_copies", 3 * kCopyWords * 4);
    Random random(2);
    constexpr int rows = 7;
    std::vector<uint32_t> values(rows * kCopyWords);
    for (uint32_t &value : values)
        value = static_cast<uint32_t>(random());
    const Buffer from = upload(place, values), sums = upload(place, std::vector<uint32_t>(rows));
    const Current current(place);
    kernel.launch(dim3(1), dim3(kCopyThreads), CopyParams{from.get<uint32_t>(), sums.get<uint32_t>(), rows},
                  stream_of(place));
    std::vector<uint32_t> expected(rows);
    for (size_t row = 0; row < rows; row++)
        for (size_t thread = 0; thread < kCopyThreads; thread++)
            for (size_t i = 0; i < 4; i++)
                expected[row] += values[row * kCopyWords + (thread * 4 + i * 65) % kCopyWords];
    report.expect(download<uint32_t>(place, sums) == expected, "asynchronous copies bring every row in time");
}

void check_atomics(Report &report, const Place &place) {
    const Module module(place, clv_image_test_kernels);
    const Kernel kernel = module.kernel("clv_test_atomics");
    const Buffer out = upload(place, std::vector<uint32_t>{0, 0, 0xffffffff, 0, 0, 0});
    const Buffer sum = upload(place, std::vector<float>{0});
    const Current current(place);
    kernel.launch(dim3(9), dim3(128), AtomicParams{out.get<uint32_t>(), sum.get<float>()}, stream_of(place));
    uint32_t total = 0, largest = 0;
    for (uint32_t i = 0; i < 9 * 128; i++) {
        total += i;
        largest = std::max(largest, i ^ 0x55U);
    }
    report.expect(download<uint32_t>(place, out) ==
                      std::vector<uint32_t>{total, largest, 0, 0xffffffff, 9, 9},
                  "atomic operations lose nothing, and the last block sees all");
    report.expect(download<float>(place, sum)[0] == 576, "atomic sums of floats lose nothing");
}

void check_pictures(Report &report, const Place &place) {
    // A picture with rows of 37 bytes, at three pitches.
    std::vector<uint8_t> picture(64 * 20), back(50 * 20, 0xEE);
    for (size_t i = 0; i < picture.size(); i++)
        picture[i] = static_cast<uint8_t>(i * 31);
    const Buffer one(place, 128 * 20), two(place, 48 * 20);
    copy_to_device_2d(place, one.get(), 128, picture.data(), 64, 37, 20);
    copy_on_device_2d(place, two.get(), 48, one.get(), 128, 37, 20);
    copy_to_host_2d(place, back.data(), 50, two.get(), 48, 37, 20);
    synchronise(place);
    bool same = true, untouched = true;
    for (size_t y = 0; y < 20; y++)
        for (size_t x = 0; x < 50; x++)
            if (x < 37)
                same = same && back[y * 50 + x] == picture[y * 64 + x];
            else
                untouched = untouched && back[y * 50 + x] == 0xEE;
    report.expect(same && untouched, "a picture goes to the device, on it and back, row by row");
    fill_async(place, one.get(), 7, one.bytes());
    report.expect(download<uint8_t>(place, one) == std::vector<uint8_t>(one.bytes(), 7),
                  "memory can be filled");
}

void check_counters(Report &report, const Place &shared_place) {
    const Place place{shared_place.context, shared_place.stream, std::make_shared<Counters>()};
    const Counters &counters = *place.counters;
    {
        Buffer first(place, 1000);
        const Buffer second = std::move(first);
        report.expect(counters.device_bytes == 1000 && !first && second.bytes() == 1000, // NOLINT: moved from
                      "memory that is moved is counted once");
        std::vector<uint8_t> bytes(1000);
        copy_to_device_async(place, second.get(), bytes.data(), 600);
        copy_on_device_async(place, second.get<uint8_t>() + 600, second.get(), 400);
        copy_to_host_async(place, bytes.data(), second.get(), 1000);
        copy_to_host_2d(place, bytes.data(), 100, second.get(), 100, 10, 10);
        synchronise(place);
        Event event(place);
        event.record();
        synchronise(event);
        report.expect(event.done(), "an event is done once it was waited for");
    }
    report.expect(counters.copies_to_device == 1 && counters.bytes_to_device == 600 &&
                      counters.copies_to_host == 2 && counters.bytes_to_host == 1100 &&
                      counters.synchronisations == 2,
                  "transfers and waits are counted");
    report.expect(counters.device_bytes == 0, "memory that is freed is counted off");
}

void check_memory(Report &report, const Place &place) {
    const std::string sentence =
        report.throws(CLV_ERR_NO_MEMORY, [&] { const Buffer huge(place, size_t{1} << 44); });
    report.contains(sentence, "memory ran out");
    report.contains(sentence, "17592186044416 bytes");
    report.contains(sentence, "MiB are free");
    report.contains(sentence, "smaller pictures");
    check_scale(report, place); // goes on working
    Pinned pinned(place, 5000);
    std::memset(pinned.get(), 3, pinned.bytes());
    Buffer buffer(place, 5000);
    copy_to_device_async(place, buffer.get(), pinned.get(), 5000);
    report.expect(download<uint8_t>(place, buffer) == std::vector<uint8_t>(5000, 3),
                  "pinned memory is copied");
    const Buffer nothing(place, 0);
    report.expect(!nothing && nothing.bytes() == 0, "no memory is asked for nothing");
}

void check_mistakes(Report &report, const Place &place) {
    const Module module(place, clv_image_test_kernels);
    report.contains(report.throws(CLV_ERR_BACKEND, [&] { (void)module.kernel("clv_no_such"); }),
                    "find kernel clv_no_such in test_kernels");
    const Kernel scale = module.kernel("clv_test_scale");
    const Current current(place);
    const ScaleParams params{};
    const auto launch = [&](dim3 grid, dim3 block) {
        return report.throws(CLV_ERR_INTERNAL, [&] { scale.launch(grid, block, params, stream_of(place)); });
    };
    report.contains(launch(dim3(1), dim3(257)), "257x1x1 threads, of which it takes 256");
    report.contains(launch(dim3(0), dim3(1)), "0x1x1 blocks");
    report.contains(launch(dim3(1, 65536), dim3(1)), "1x65536x1 blocks");
    report.contains(launch(dim3(1), dim3(1, 0)), "1x0x1 threads");
    report.contains(
        report.throws(CLV_ERR_UNSUPPORTED, [&] { (void)module.kernel("clv_test_scale", 1 << 20); }),
        "needs 1048576 bytes of shared memory");
    report.contains(report.throws(CLV_ERR_INVALID_ARGUMENT, [] { const Current none(Place{}); }),
                    "no CUDA context");

    const DeviceInfo info = device_info(place);
    const Kernel large = module.kernel("clv_test_scale", info.shared_per_block);
    const Buffer memory(place, 4);
    large.launch(dim3(1), dim3(1), ScaleParams{memory.get<float>(), memory.get<float>(), 0, 0},
                 stream_of(place));
    synchronise(place);
    report.expect(large.blocks_per_multiprocessor(1) == 1, "a kernel gets all shared memory there is");
    report.expect(!info.name.empty() && info.sm >= 75 && info.multiprocessors > 0 && info.l2_bytes > 0 &&
                      info.memory_bytes > 0,
                  "the device is described");
}

void check_streams(Report &report, const Place &place) {
    // A long copy on one stream; another waits for it by an event, no thread does.
    const Stream first(place), second(place);
    const Place on_first{place.context, first.get(), place.counters};
    const Place on_second{place.context, second.get(), place.counters};
    const size_t bytes = 4 << 20;
    Pinned source(place, bytes), result(place, bytes);
    std::memset(source.get(), 5, bytes);
    std::memset(result.get(), 0, bytes);
    const Buffer buffer(place, bytes);
    Event written(on_first), begun(place, true), ended(place, true);
    begun.record(second.get());
    copy_to_device_async(on_first, buffer.get(), source.get(), bytes);
    written.record();
    written.hold(second.get());
    copy_to_host_async(on_second, result.get(), buffer.get(), bytes);
    ended.record(second.get());
    synchronise(ended);
    report.expect(std::memcmp(source.get(), result.get(), bytes) == 0,
                  "one stream waits for another by an event");
    report.expect(begun.done() && elapsed_ms(begun, ended) >= 0, "the time between two events is known");
}

} // namespace

int main() {
    Report report;
    const Driver &api = driver();
    CUdevice device = 0;
    CUcontext context = nullptr;
    check(api.cuDeviceGet(&device, 0), "find a GPU");
    check(api.cuDevicePrimaryCtxRetain(&context, device), "make a context");
    Place place{context, nullptr, std::make_shared<Counters>()};
    {
        const Stream stream(place);
        place.stream = stream.get();
        check_scale(report, place);
        check_matrices(report, place);
        check_collectives(report, place);
        check_copies(report, place);
        check_atomics(report, place);
        check_pictures(report, place);
        check_counters(report, place);
        check_memory(report, place);
        check_mistakes(report, place);
        check_streams(report, place);
    }
    report.expect(place.counters->device_bytes == 0, "nothing is left on the device");
    check(api.cuDevicePrimaryCtxRelease(device), "give the context back");
    return report.result("check_cuda_driver");
}
