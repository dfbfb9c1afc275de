// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_pixels [--seed N] [--rounds N]
// The kernels of csrc/pixels/cuda against csrc/pixels' reference, to the last bit: values, codes, and every
// byte between, before and behind the rows. On whatever device the driver has: a GPU, or the emulator.

#include "cuda/tests/device.h"
#include "pixels/cuda/pixels_cuda.h"
#include "pixels/cuda/tests/check_cuda.h"
#include "pixels/cuda/tests/check_params.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

CLV_CUDA_IMAGE(check_pixels_kernels);

namespace clv::pixels::test {
namespace {

using clv::cuda::Buffer;
using clv::cuda::Place;

float random_value(Random &random) {
    if (!random.one_in(16))
        return random.real(-0.7f, 0.7f);
    using Limits = std::numeric_limits<float>;
    const float odd[] = {Limits::quiet_NaN(),
                         -Limits::quiet_NaN(),
                         Limits::infinity(),
                         -Limits::infinity(),
                         Limits::max(),
                         Limits::lowest(),
                         -0.0f,
                         3.0e9f,
                         -3.0e9f,
                         0.5f,
                         -0.5f,
                         0.0f};
    return odd[random.between(0, 11)];
}

void fill_values(TestTensor &tensor, Random &random) {
    for (int y = 0; y < tensor.channels * tensor.height; y++)
        for (int x = 0; x < tensor.width; x++) {
            if (tensor.element == Element::f32) {
                const float value = random_value(random);
                std::memcpy(tensor.rows.row(y) + 4 * x, &value, 4);
            } else { // any bits are a value; mostly those about 0.5 and below
                auto bits = static_cast<std::uint16_t>(random.bits());
                if (!random.one_in(16))
                    bits = static_cast<std::uint16_t>((bits & 0x83ff) | 0x3400);
                std::memcpy(tensor.rows.row(y) + 2 * x, &bits, 2);
            }
        }
}

int size_limit(Random &random) {
    return random.one_in(12) ? 700 : random.one_in(3) ? 12 : 120;
}

Element random_element(Random &random) {
    return random.one_in(2) ? Element::f32 : Element::f16;
}

Dither random_dither(Random &random) {
    return random.one_in(2) ? Dither::round : Dither::ordered;
}

struct Suite {
    const Place &place;
    device::Conversions &conversions;
    const clv::cuda::Module &kernels;
    Report &report;

    /// Picture -> tensor, of all channels or of luma alone.
    void unpack(Random &random, bool luma) const {
        const PictureFormat f = random_format(random, size_limit(random));
        const Element element = random_element(random);
        TestPicture picture = TestPicture::blank(f, device_layouts(f, random));
        test::fill(picture, random);
        const int h = (luma ? f.height : f.chroma_height()) + random.between(0, 5);
        const int w = (luma ? f.width : f.chroma_width()) + (random.one_in(2) ? 0 : random.between(0, 40));
        const int channels = luma ? 1 : 6;
        const RowLayout layout = TestTensor::layout(random, element, channels, h, w);
        TestTensor expected(element, channels, h, w, layout);
        TestTensor got(element, channels, h, w, layout);
        DevicePlanes planes(place, picture);
        DeviceRows memory(place, got.rows);
        const Tensor there = got.view<void>(memory.first_row());
        if (luma) {
            pixels::luma_to_tensor(f, picture.view(), expected.view<void>(expected.rows.row(0)), 0, h,
                                   reference_kernels);
            conversions.luma_to_tensor(place, f, planes.view, there);
        } else {
            pixels::space_to_depth(f, picture.view(), expected.view<void>(expected.rows.row(0)), 0, h,
                                   reference_kernels);
            conversions.space_to_depth(place, f, planes.view, there);
        }
        memory.fetch();
        report.expect(got.rows.equals(expected.rows), (luma ? "luma_to_tensor " : "space_to_depth ") +
                                                          describe(f) +
                                                          (element == Element::f32 ? " f32" : " f16"));
    }

    void pack(Random &random, bool luma) const {
        const PictureFormat f = random_format(random, size_limit(random));
        const Element element = random_element(random);
        const Dither dither = random_dither(random);
        const int scale = luma ? 1 : random.one_in(3) ? random.between(3, 4) : random.between(1, 2);
        const int side = luma ? 1 : 2 * scale;
        const int h = (f.height + side - 1) / side + random.between(0, 2);
        const int w = (f.width + side - 1) / side + random.between(0, 9);
        const int channels = luma ? 1 : 6 * scale * scale;
        TestTensor tensor(element, channels, h, w, TestTensor::layout(random, element, channels, h, w));
        fill_values(tensor, random);
        const std::vector<RowLayout> layouts = device_layouts(f, random);
        TestPicture expected = TestPicture::blank(f, layouts);
        TestPicture got = TestPicture::blank(f, layouts);
        DevicePlanes planes(place, got);
        const DeviceRows memory(place, tensor.rows);
        const auto here = tensor.view<const void>(tensor.rows.row(0));
        const auto there = tensor.view<const void>(memory.first_row());
        if (luma) {
            pixels::tensor_to_luma(here, f, expected.view(), dither, 0, h, reference_kernels);
            conversions.tensor_to_luma(place, there, f, planes.view, dither);
        } else {
            pixels::depth_to_space(here, scale, f, expected.view(), dither, 0, h, reference_kernels);
            conversions.depth_to_space(place, there, scale, f, planes.view, dither);
        }
        planes.fetch();
        report.expect(equal(got, expected), (luma ? std::string("tensor_to_luma ")
                                                  : "depth_to_space " + std::to_string(scale) + " ") +
                                                describe(f) + (element == Element::f32 ? " f32" : " f16") +
                                                (dither == Dither::ordered ? " dithered" : ""));
    }

    template <class Params>
    void launch(const std::string &name, int threads, const Params &params) const {
        const clv::cuda::Current current(place);
        const auto blocks = static_cast<unsigned>((threads + check_threads - 1) / check_threads);
        kernels.kernel(name).launch(dim3(std::max(1U, blocks)), dim3(check_threads), params,
                                    clv::cuda::stream_of(place));
    }

    std::vector<float> fetch(const Buffer &buffer, std::size_t count) const {
        std::vector<float> out(count);
        clv::cuda::copy_to_host_async(place, out.data(), buffer.get(), count * sizeof(float));
        clv::cuda::synchronise(place);
        return out;
    }

    /// read_positions() anywhere, before, on and beyond the picture's edges.
    void read(Random &random) const {
        const PictureFormat f = random_format(random, 60);
        TestPicture picture = TestPicture::blank(f, device_layouts(f, random));
        test::fill(picture, random);
        const DevicePlanes planes(place, picture);
        const int run = 1 << random.between(0, 3);
        const int rows = random.between(1, f.chroma_height() + 8);
        const int columns = run * random.between(1, f.chroma_width() / run + 2);
        const int top = -random.between(0, 5);
        const int left = random.one_in(2) ? 0 : -random.between(0, 9);
        const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * 6;
        const Buffer to(place, count * sizeof(float));
        launch("clv_check_read_" + std::to_string(device::kind_of(f)), rows * columns / run,
               ReadParams{device::source_picture(f, planes.view), to.get<float>(), top, left, rows, columns,
                          run});
        const std::vector<float> got = fetch(to, count);

        // Clamping rows and columns of the reference's tensor is what repeating edge samples means, but for
        // the luma before the first position and in the last one of an odd size: the same sample twice.
        const auto h = f.chroma_height();
        const auto w = f.chroma_width();
        std::vector<float> whole(static_cast<std::size_t>(6 * h * w));
        pixels::space_to_depth(f, picture.view(), contiguous(whole.data(), Element::f32, 6, h, w), 0, h,
                               reference_kernels);
        const auto value = [&](int c, int i, int j) {
            if (c < 4) {
                int y = std::clamp(2 * i + c / 2, 0, f.height - 1);
                int x = std::clamp(2 * j + c % 2, 0, f.width - 1);
                c = y % 2 * 2 + x % 2;
                i = y / 2;
                j = x / 2;
            }
            i = std::clamp(i, 0, h - 1);
            j = std::clamp(j, 0, w - 1);
            return whole[static_cast<std::size_t>((c * h + i) * w + j)];
        };
        bool same = true;
        std::size_t k = 0;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                for (int c = 0; c < 6; c++)
                    same = same && got[k++] == value(c, top + i, left + j);
        report.expect(same, "read_positions " + describe(f) + ", runs of " + std::to_string(run));
    }

    /// write_position() and write_positions() with positions beyond the picture.
    void write(Random &random) const {
        const PictureFormat f = random_format(random, 60);
        const Dither dither = random_dither(random);
        const int scale = random.between(1, 2);
        const int run = random.between(1, 2);
        const int side = 2 * scale;
        const int h = (f.height + side - 1) / side + random.between(0, 2);
        int w = (f.width + side - 1) / side + random.between(0, 3);
        w += w % run;
        const int channels = 6 * scale * scale;
        std::vector<float> tensor(static_cast<std::size_t>(channels * h * w));
        std::vector<float> positions(tensor.size());
        for (float &value : tensor)
            value = random_value(random);
        for (std::size_t k = 0; k < tensor.size(); k++)
            positions[k] = tensor[k % static_cast<std::size_t>(channels) * static_cast<std::size_t>(h * w) +
                                  k / static_cast<std::size_t>(channels)];
        const std::vector<RowLayout> layouts = device_layouts(f, random);
        TestPicture expected = TestPicture::blank(f, layouts);
        TestPicture got = TestPicture::blank(f, layouts);
        DevicePlanes planes(place, got);
        const Buffer from(place, positions.size() * sizeof(float));
        clv::cuda::copy_to_device_async(place, from.get(), positions.data(), from.bytes());
        launch("clv_check_write_" + std::to_string(scale) + "_" + std::to_string(device::kind_of(f)), h * w,
               WriteParams{device::target_picture(f, planes.view, dither), from.get<float>(), h, w, run});
        planes.fetch();
        const void *data = tensor.data();
        pixels::depth_to_space(contiguous(data, Element::f32, channels, h, w), scale, f, expected.view(),
                               dither, 0, h, reference_kernels);
        report.expect(equal(got, expected), "write_positions of " + std::to_string(run) + " at scale " +
                                                std::to_string(scale) + " " + describe(f) +
                                                (dither == Dither::ordered ? " dithered" : ""));
    }

    /// The quotient of every code, in every format that there is.
    void normalise() const {
        std::vector<std::uint8_t> plane(64);
        for (int depth = 8; depth <= 16; depth++)
            for (const bool full : {false, true}) {
                const PictureFormat f = {.width = 2, .height = 2, .bit_depth = depth, .full_range = full};
                const ConstPicture picture = {{plane.data(), plane.data(), plane.data()}, {8, 8, 8}};
                const device::SampleFormat format = device::source_picture(f, picture).format;
                for (const bool chroma : {false, true}) {
                    const device::SampleScale &scale = chroma ? format.chroma : format.luma;
                    const int count = depth == 8 ? 256 : 65536; // codes above the depth's, too
                    const Buffer to(place, static_cast<std::size_t>(count) * sizeof(float));
                    launch("clv_check_normalise", count, NormaliseParams{scale, to.get<float>(), count});
                    const std::vector<float> got = fetch(to, static_cast<std::size_t>(count));
                    const float offset = scale.bias_in - 8388608.0F;
                    long wrong = 0;
                    for (int code = 0; code < count; code++) {
                        const float wanted = (static_cast<float>(code) - offset) / scale.span - scale.centre;
                        wrong += std::bit_cast<std::uint32_t>(got[static_cast<std::size_t>(code)]) !=
                                 std::bit_cast<std::uint32_t>(wanted);
                    }
                    report.expect(wrong == 0, "normalise: " + std::to_string(wrong) + " codes of depth " +
                                                  std::to_string(depth) + (full ? " full" : " limited"));
                }
            }
    }

    /// A grid has at most 65535 rows of blocks; a picture may have more.
    void tall() const {
        const PictureFormat f = {.width = 2, .height = 1 << 20};
        Random random(1);
        TestPicture picture = TestPicture::blank(
            f, {{f.height, 2, 2, 0, 0}, {f.chroma_height(), 1, 1, 0, 0}, {f.chroma_height(), 1, 1, 0, 0}});
        TestPicture again = TestPicture::blank(
            f, {{f.height, 2, 2, 0, 0}, {f.chroma_height(), 1, 1, 0, 0}, {f.chroma_height(), 1, 1, 0, 0}});
        const DevicePlanes from(place, picture);
        DevicePlanes to(place, again);
        const int h = f.chroma_height();
        const Buffer memory(place, static_cast<std::size_t>(6 * h) * 2);
        conversions.space_to_depth(place, f, from.view, contiguous(memory.get(), Element::f16, 6, h, 1));
        const void *data = memory.get();
        conversions.depth_to_space(place, contiguous(data, Element::f16, 6, h, 1), 1, f, to.view,
                                   Dither::round);
        to.fetch();
        report.expect(equal(again, picture), "a picture of 2x1048576 there and back");
    }

    void refusals() const {
        const Buffer memory(place, 4096);
        auto *const data = memory.get<std::uint8_t>();
        const PictureFormat good = {.width = 8, .height = 8};
        const auto refused = [&](PictureFormat f, Picture picture, Tensor tensor, const char *what) {
            bool thrown = false;
            try {
                conversions.space_to_depth(place, f, picture, tensor);
            } catch (const Error &error) {
                thrown = std::strlen(error.what()) > 20;
            }
            report.expect(thrown, std::string("misuse is refused: ") + what);
        };
        const Picture planes = {{data, data + 64, data + 80}, {8, 4, 4}};
        const auto tensor = [&](int channels, int size, Element element = Element::f32) {
            return contiguous(data + 1024, element, channels, size, size);
        };
        refused(good, planes, tensor(5, 4), "channels");
        refused(good, planes, tensor(6, 3), "tensor too small");
        refused(good, planes, tensor(6, 4, Element::bf16), "bf16");
        refused({.width = 0, .height = 8}, planes, tensor(6, 4), "no width");
        refused({.width = 8, .height = 8, .bit_depth = 7}, planes, tensor(6, 4), "bit depth");
        refused(good, {{data, data + 64, nullptr}, {8, 4, 4}}, tensor(6, 4), "missing plane");
        refused(good, {{data + 56, data + 64, data + 80}, {-8, 4, 4}}, tensor(6, 4), "negative stride");
        refused({.width = 4, .height = 4, .bit_depth = 10}, {{data + 1, data + 64, data + 96}, {8, 4, 4}},
                tensor(6, 4), "odd address");
    }
};

} // namespace
} // namespace clv::pixels::test

int main(int argc, char **argv) {
    using namespace clv::pixels::test;
    return clv::cuda::test::run_rounds(argc, argv, "check_cuda_pixels", 100,
                                       [](const clv::cuda::Place &place, std::uint64_t seed, int rounds) {
                                           Report report;
                                           {
                                               clv::pixels::device::Conversions conversions(place);
                                               const clv::cuda::Module kernels(
                                                   place, clv_image_check_pixels_kernels);
                                               const Suite suite{place, conversions, kernels, report};
                                               suite.normalise();
                                               for (int i = 0; i < rounds; i++) {
                                                   Random random(seed + static_cast<std::uint64_t>(i));
                                                   suite.unpack(random, false);
                                                   suite.pack(random, false);
                                                   suite.unpack(random, true);
                                                   suite.pack(random, true);
                                                   suite.read(random);
                                                   suite.write(random);
                                               }
                                               suite.tall();
                                               suite.refusals();
                                           }
                                           return report.finish();
                                       });
}
