// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_colour [--seed N] [--rounds N]
// The kernels for nets on RGB and on luma alone against pixels/colour.h, which is zimg: over all formats,
// ranges, matrices, chroma sites, scales and elements, on small pictures of any size, stride and alignment.
//   chroma of luma nets    every byte is the host's
//   picture -> R'G'B'      values within a few units in the last place of f32 (f16: of the same nearest half)
//   R'G'B' -> picture      codes within 1, and nearly all the same; the fraction is printed and bounded

#include "cuda/tests/device.h"
#include "pixels/colour.h"
#include "pixels/cuda/colour_cuda.h"
#include "pixels/cuda/tests/check_cuda.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace clv::pixels::test {
namespace {

using clv::cuda::Place;

struct Case {
    PictureFormat format;
    int scale;
    Element element;
    Dither dither;
    std::string text() const {
        static constexpr const char *matrices[] = {"601", "709", "2020"};
        static constexpr const char *sites[] = {"left", "centre", "top-left"};
        return describe(format) + " BT." + matrices[static_cast<int>(format.matrix)] + " " +
               sites[static_cast<int>(format.chroma_site)] + " x" + std::to_string(scale) +
               (element == Element::f32 ? " f32" : " f16") + (dither == Dither::ordered ? " dithered" : "");
    }
};

/// Every format, range, matrix and site; scales, elements and sizes take turns.
std::vector<Case> cases(Random &random) {
    std::vector<Case> out;
    int turn = random.between(0, 15);
    for (const int kind : {0, 1, 2, 3})
        for (const bool full : {false, true})
            for (const Matrix matrix : {Matrix::bt601, Matrix::bt709, Matrix::bt2020ncl})
                for (const ChromaSite site : {ChromaSite::left, ChromaSite::centre, ChromaSite::top_left}) {
                    const int limit = random.one_in(8) ? 150 : random.one_in(4) ? 6 : 45;
                    PictureFormat f = {.width = random.between(1, limit), .height = random.between(1, limit)};
                    f.semi_planar = kind % 2 == 1;
                    f.bit_depth = kind < 2 ? 8 : 10;
                    f.msb_aligned = kind == 3;
                    f.full_range = full;
                    f.matrix = matrix;
                    f.chroma_site = site;
                    out.push_back({f, 1 + turn % 4, turn / 4 % 2 ? Element::f16 : Element::f32,
                                   random.one_in(3) ? Dither::ordered : Dither::round});
                    turn += 5; // prime to 8: all pairs come
                }
    return out;
}

/// R'G'B' that a net may give, nonsense included.
float random_colour(Random &random) {
    using Limits = std::numeric_limits<float>;
    if (!random.one_in(64))
        return random.real(-0.2f, 1.2f);
    const float odd[] = {Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), 60000.0f, -0.0f, 1.0f};
    return odd[random.between(0, 5)];
}

struct Suite {
    const Place &place;
    Report &report;
    long codes = 0;
    long different = 0;

    void to_rgb(const Case &c, Random &random) const {
        const PictureFormat &f = c.format;
        TestPicture picture = TestPicture::blank(f, device_layouts(f, random));
        test::fill(picture, random);
        const int w = f.width + (random.one_in(2) ? 0 : random.between(0, 70));
        const int h = f.height + (random.one_in(2) ? 0 : random.between(0, 40));
        std::vector<float> wanted(static_cast<std::size_t>(3 * w * h));
        pixels::RgbConverter(f, w, h, 1, Dither::round).to_tensor(picture.view(), wanted.data());

        TestTensor got(c.element, 3, h, w, TestTensor::layout(random, c.element, 3, h, w));
        const DevicePlanes planes(place, picture);
        DeviceRows memory(place, got.rows);
        const device::RgbConverter converter(place, f, c.scale, c.dither, c.element, c.element);
        converter.to_tensor(planes.view, got.view<void>(memory.first_row()));
        memory.fetch();
        double worst = 0.0;
        for (int y = 0; y < 3 * h; y++)
            for (int x = 0; x < w; x++) {
                const float value = wanted[static_cast<std::size_t>(y * w + x)];
                // In f16 the same last bits may tip the balance between two neighbours.
                const double unit = c.element == Element::f32 ? 0.0 : std::abs(value) / 1024.0 + 1e-7;
                worst = std::max(worst, std::abs(double(got.value(y, x)) - value) - unit / 2.0);
            }
        report.expect(worst < 1.5e-6 && got.rows.outside_untouched(),
                      "to R'G'B' " + c.text() + ": off by " + std::to_string(worst * 1e6) + "e-6");
    }

    void from_rgb(const Case &c, Random &random) {
        const PictureFormat &f = c.format;
        PictureFormat big = f;
        big.width *= c.scale;
        big.height *= c.scale;
        const int w = f.width + random.between(0, 3);
        const int h = f.height + random.between(0, 3);
        const int rows = h * c.scale;
        const int columns = w * c.scale;
        TestTensor tensor(c.element, 3, rows, columns,
                          TestTensor::layout(random, c.element, 3, rows, columns));
        std::vector<float> values;
        for (int y = 0; y < 3 * rows; y++)
            for (int x = 0; x < columns; x++) {
                tensor.set(y, x, random_colour(random));
                values.push_back(tensor.value(y, x));
            }
        const std::vector<RowLayout> layouts = device_layouts(big, random);
        TestPicture wanted = TestPicture::blank(big, layouts);
        TestPicture got = TestPicture::blank(big, layouts);
        pixels::RgbConverter(f, w, h, c.scale, c.dither).from_tensor(values.data(), wanted.view());
        DevicePlanes planes(place, got);
        const DeviceRows memory(place, tensor.rows);
        const device::RgbConverter converter(place, f, c.scale, c.dither, c.element, c.element);
        converter.from_tensor(tensor.view<const void>(memory.first_row()), planes.view);
        planes.fetch();
        report.expect(count(got, wanted) && equal(got, wanted), "from R'G'B' " + c.text());
    }

    /// Whether codes are within 1; those that differ are then made the same.
    bool count(TestPicture &got, const TestPicture &wanted) {
        const PictureFormat &f = wanted.format;
        bool near = true;
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < (p ? f.chroma_height() : f.height); y++)
                for (int x = 0; x < (p ? f.chroma_width() : f.width); x++) {
                    const int off = got.code(p, x, y) - wanted.code(p, x, y);
                    codes++;
                    different += off != 0;
                    near = near && std::abs(off) <= 1;
                    if (off)
                        got.set_code(p, x, y, wanted.code(p, x, y));
                }
        return near;
    }

    void chroma(const Case &c, Random &random) const {
        const PictureFormat &f = c.format;
        TestPicture picture = TestPicture::blank(f, device_layouts(f, random));
        test::fill(picture, random);
        PictureFormat big = f;
        big.width *= c.scale;
        big.height *= c.scale;
        const std::vector<RowLayout> layouts = device_layouts(big, random);
        TestPicture wanted = TestPicture::blank(big, layouts);
        TestPicture got = TestPicture::blank(big, layouts);
        pixels::ChromaScaler(f, c.scale).scale(picture.view(), wanted.view());
        const DevicePlanes from(place, picture);
        DevicePlanes to(place, got);
        const device::ChromaScaler scaler(place, f, c.scale);
        scaler.scale(from.view, to.view);
        to.fetch();
        report.expect(equal(got, wanted), "chroma " + c.text());
    }

    void refusals() const {
        const PictureFormat f = {.width = 8, .height = 8};
        const clv::cuda::Buffer memory(place, 4096);
        auto *const data = memory.get<std::uint8_t>();
        const auto refused = [&](const char *what, auto &&call) {
            bool thrown = false;
            try {
                call();
            } catch (const Error &error) {
                thrown = std::string(error.what()).size() > 20;
            }
            report.expect(thrown, std::string("misuse is refused: ") + what);
        };
        const ConstPicture planes = {{data, data + 64, data + 80}, {8, 4, 4}};
        refused("scale 5", [&] {
            const device::RgbConverter converter(place, f, 5, Dither::round, Element::f32, Element::f32);
        });
        refused("bf16", [&] {
            const device::RgbConverter converter(place, f, 2, Dither::round, Element::bf16, Element::f32);
        });
        const device::RgbConverter converter(place, f, 2, Dither::round, Element::f32, Element::f16);
        const auto tensor = [&](Element element, int channels, int size) {
            return contiguous(static_cast<void *>(data + 1024), element, channels, size, size);
        };
        refused("another element", [&] { converter.to_tensor(planes, tensor(Element::f16, 3, 8)); });
        refused("channels", [&] { converter.to_tensor(planes, tensor(Element::f32, 1, 8)); });
        refused("a tensor too small", [&] { converter.to_tensor(planes, tensor(Element::f32, 3, 7)); });
        refused("a missing plane", [&] {
            converter.to_tensor({{data, data + 64, nullptr}, {8, 4, 4}}, tensor(Element::f32, 3, 8));
        });
    }
};

} // namespace
} // namespace clv::pixels::test

int main(int argc, char **argv) {
    using namespace clv::pixels::test;
    return clv::cuda::test::run_rounds(
        argc, argv, "check_cuda_colour", 1,
        [](const clv::cuda::Place &place, std::uint64_t seed, int rounds) {
            Report report;
            Suite suite{place, report};
            for (int i = 0; i < rounds; i++) {
                Random random(seed + static_cast<std::uint64_t>(i));
                for (const Case &c : cases(random)) {
                    suite.to_rgb(c, random);
                    suite.from_rgb(c, random);
                    suite.chroma(c, random);
                }
            }
            suite.refusals();
            std::printf("%ld of %ld codes from R'G'B' differ, by 1\n", suite.different, suite.codes);
            report.expect(suite.different * 1000 <= suite.codes, "at most one code in a thousand differs");
            return report.finish();
        });
}
