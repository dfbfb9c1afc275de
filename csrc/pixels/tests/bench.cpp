// SPDX-License-Identifier: BSD-2-Clause
//
// Times of whole frames on one thread: the reference against each level, and zimg's part.

#include "harness.h"

#include "pixels/colour.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>

namespace clv::pixels::test {
namespace {

double thread_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Milliseconds of processor time of the fastest call within the given time; the machine may be shared.
double fastest(double seconds, const std::function<void()> &call) {
    using Clock = std::chrono::steady_clock;
    const auto stop = Clock::now() + std::chrono::duration<double>(seconds);
    double best = 1e9;
    int calls = 0;
    while (calls++ < 3 || Clock::now() < stop) {
        const double begin = thread_seconds();
        call();
        best = std::min(best, 1e3 * (thread_seconds() - begin));
    }
    return best;
}

struct BenchFormat {
    const char *name;
    bool semi_planar;
    int bit_depth;
    bool msb_aligned;
};

constexpr BenchFormat formats[] = {{"yuv420p", false, 8, false},
                                   {"nv12", true, 8, false},
                                   {"yuv420p10le", false, 10, false},
                                   {"p010le", true, 10, true}};

PictureFormat make_format(const BenchFormat &f, int scale) {
    return {.width = 1920 * scale,
            .height = 1080 * scale,
            .semi_planar = f.semi_planar,
            .bit_depth = f.bit_depth,
            .msb_aligned = f.msb_aligned};
}

/// Planes as a decoder lays them out: rows a multiple of 64 bytes, the first one aligned.
TestPicture aligned_picture(const PictureFormat &format) {
    std::vector<RowLayout> layouts;
    for (const auto &[width, height] : plane_sizes(format)) {
        const std::ptrdiff_t bytes = static_cast<std::ptrdiff_t>(width) * format.bytes_per_sample();
        layouts.push_back({.rows = height, .row_bytes = bytes, .stride = (bytes + 63) / 64 * 64});
    }
    return TestPicture::blank(format, layouts);
}

double picture_bytes(const PictureFormat &f) {
    double samples = 0;
    for (const auto &[width, height] : plane_sizes(f))
        samples += static_cast<double>(width) * height;
    return samples * f.bytes_per_sample();
}

void compare_levels(const char *what, const char *format, const char *element, double bytes, double seconds,
                    const std::function<void(const Kernels &)> &call) {
    double reference = 0.0;
    for (int l = 0; l < level_count(); l++)
        if (const Kernels *with = level(l)) {
            const double ms = fastest(seconds, [&] { call(*with); });
            reference = l == 0 ? ms : reference;
            std::printf("%-20s %-12s %-5s %-10s %8.2f ms %7.1f GB/s %6.1fx\n", what, format, element,
                        with->name, ms, bytes / ms * 1e-6, reference / ms);
        }
}

void bench_planes(double seconds, const BenchFormat &bench_format, Element element) {
    const char *name = element == Element::f32 ? "f32" : element == Element::f16 ? "f16" : "bf16";
    const double size = element == Element::f32 ? 4.0 : 2.0;
    const PictureFormat small = make_format(bench_format, 1);
    const PictureFormat big = make_format(bench_format, 2);
    const TestPicture source = aligned_picture(small);
    TestPicture target = aligned_picture(big);
    TestPicture same = aligned_picture(small);
    const int h = small.chroma_height();
    const int w = small.chroma_width();
    const double positions = static_cast<double>(h) * w;
    std::vector<float> memory(static_cast<std::size_t>(24 * h) * static_cast<std::size_t>(w), 0.1f);
    const Tensor tensor = contiguous(memory.data(), element, 6, h, w);
    const auto from = [&](int scale) {
        return contiguous(static_cast<const void *>(memory.data()), element, 6 * scale * scale, h, w);
    };

    compare_levels("space_to_depth", bench_format.name, name, picture_bytes(small) + 6 * positions * size,
                   seconds,
                   [&](const Kernels &with) { space_to_depth(small, source.view(), tensor, 0, h, with); });
    compare_levels("depth_to_space x1", bench_format.name, name, picture_bytes(small) + 6 * positions * size,
                   seconds, [&](const Kernels &with) {
                       depth_to_space(from(1), 1, small, same.view(), Dither::round, 0, h, with);
                   });
    for (const Dither dither : {Dither::round, Dither::ordered})
        compare_levels(dither == Dither::round ? "depth_to_space x2" : "  with dither", bench_format.name,
                       name, picture_bytes(big) + 24 * positions * size, seconds, [&](const Kernels &with) {
                           depth_to_space(from(2), 2, big, target.view(), dither, 0, h, with);
                       });
}

void bench_colour(double seconds, const BenchFormat &bench_format) {
    const PictureFormat small = make_format(bench_format, 1);
    const TestPicture source = aligned_picture(small);
    RgbConverter converter(small, 1920, 1080, 2, Dither::round);
    TestPicture target = aligned_picture(converter.output_format());
    std::vector<float> input(std::size_t{3} * 1920 * 1080);
    std::vector<float> output(std::size_t{12} * 1920 * 1080, 0.5f);
    ChromaScaler chroma(small, 2);
    const auto line = [&](const char *what, const std::function<void()> &call) {
        std::printf("%-20s %-12s       zimg       %8.2f ms\n", what, bench_format.name,
                    fastest(seconds, call));
    };
    line("rgb to_tensor", [&] { converter.to_tensor(source.view(), input.data()); });
    line("rgb from_tensor x2", [&] { converter.from_tensor(output.data(), target.view()); });
    line("chroma x2", [&] { chroma.scale(source.view(), target.view()); });
}

} // namespace

void bench(double seconds) {
    std::printf("1080p, one thread, processor time; the fastest of what fits into %.1f s each\n", seconds);
    for (const BenchFormat &format : formats)
        bench_planes(seconds, format, Element::f32);
    bench_planes(seconds, formats[1], Element::f16);
    bench_planes(seconds, formats[1], Element::bf16);
    for (const BenchFormat &format : formats)
        bench_colour(seconds, format);
}

} // namespace clv::pixels::test
