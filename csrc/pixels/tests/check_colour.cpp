// SPDX-License-Identifier: BSD-2-Clause
//
// colour.h against the formulas of BT.601, BT.709 and BT.2020 (equations of luma and colour differences, and
// their quantisation) in double precision, on flat colours and on gradients. A gradient that is linear in
// each plane comes out of any decent chroma filter as it went in, but only if every chroma sample is taken to
// lie where its siting says: so gradients test the filters and the siting at once.

#include "harness.h"

#include "pixels/colour.h"

#include <cmath>
#include <limits>
#include <stdexcept>

namespace clv::pixels::test {
namespace {

struct Colour {
    double a, b, c;
};

struct Weights {
    double red, blue;
};

Weights weights(Matrix matrix) {
    switch (matrix) {
    case Matrix::bt601:
        return {0.299, 0.114};
    case Matrix::bt709:
        return {0.2126, 0.0722};
    case Matrix::bt2020ncl:
        return {0.2627, 0.0593};
    }
    return {};
}

/// Codes (not rounded) of an R'G'B' colour.
Colour to_codes(const PictureFormat &f, const Colour &rgb) {
    const auto [kr, kb] = weights(f.matrix);
    const double y = kr * rgb.a + (1.0 - kr - kb) * rgb.b + kb * rgb.c;
    const double u = (rgb.c - y) / (2.0 * (1.0 - kb));
    const double v = (rgb.a - y) / (2.0 * (1.0 - kr));
    const double unit = std::pow(2.0, f.bit_depth - 8);
    if (f.full_range) {
        const double top = 256.0 * unit - 1.0;
        return {y * top, u * top + 128.0 * unit, v * top + 128.0 * unit};
    }
    return {(219.0 * y + 16.0) * unit, (224.0 * u + 128.0) * unit, (224.0 * v + 128.0) * unit};
}

Colour to_rgb(const PictureFormat &f, const Colour &codes) {
    const auto [kr, kb] = weights(f.matrix);
    const double unit = std::pow(2.0, f.bit_depth - 8);
    const double top = 256.0 * unit - 1.0;
    const double y = f.full_range ? codes.a / top : (codes.a / unit - 16.0) / 219.0;
    const double u = f.full_range ? (codes.b - 128.0 * unit) / top : (codes.b / unit - 128.0) / 224.0;
    const double v = f.full_range ? (codes.c - 128.0 * unit) / top : (codes.c / unit - 128.0) / 224.0;
    const double red = y + 2.0 * (1.0 - kr) * v;
    const double blue = y + 2.0 * (1.0 - kb) * u;
    return {red, (y - kr * red - kb * blue) / (1.0 - kr - kb), blue};
}

double part(const Colour &colour, int p) {
    return p == 0 ? colour.a : p == 1 ? colour.b : colour.c;
}

PictureFormat random_colour_format(Random &random, int max_size) {
    static constexpr Matrix matrices[] = {Matrix::bt601, Matrix::bt709, Matrix::bt2020ncl};
    static constexpr ChromaSite sites[] = {ChromaSite::left, ChromaSite::centre, ChromaSite::top_left};
    PictureFormat f = random_format(random, max_size);
    f.bit_depth = random.one_in(2) ? 8 : 10;
    f.matrix = matrices[random.between(0, 2)];
    f.chroma_site = sites[random.between(0, 2)];
    return f;
}

int width_of(const PictureFormat &f, int plane) {
    return plane ? f.chroma_width() : f.width;
}
int height_of(const PictureFormat &f, int plane) {
    return plane ? f.chroma_height() : f.height;
}

/// Where a chroma sample lies, in luma samples.
double luma_x(const PictureFormat &f, int u) {
    return 2.0 * u + (f.chroma_site == ChromaSite::centre ? 0.5 : 0.0);
}
double luma_y(const PictureFormat &f, int v) {
    return 2.0 * v + (f.chroma_site == ChromaSite::top_left ? 0.0 : 0.5);
}

std::string describe_colour(const PictureFormat &f) {
    return describe(f) + " matrix " + std::to_string(static_cast<int>(f.matrix)) + " site " +
           std::to_string(static_cast<int>(f.chroma_site));
}

std::size_t at(int width, int height, int p, int y, int x) {
    return (static_cast<std::size_t>(p) * static_cast<std::size_t>(height) + static_cast<std::size_t>(y)) *
               static_cast<std::size_t>(width) +
           static_cast<std::size_t>(x);
}

bool guards_untouched(const TestPicture &picture) {
    bool good = true;
    for (const Rows &rows : picture.planes)
        good = good && rows.outside_untouched();
    return good;
}

/// A flat colour becomes the RGB of the formula everywhere, padding included, and comes back as the same
/// codes.
void round_flat(Report &report, Random &random) {
    const PictureFormat f = random_colour_format(random, 60);
    const int scale = random.between(1, 4);
    const int w = f.width + random.between(0, 9);
    const int h = f.height + random.between(0, 9);
    const Colour wanted = {random.real(0, 1), random.real(0, 1), random.real(0, 1)};
    const Colour exact = to_codes(f, wanted);
    const Colour codes = {std::floor(exact.a + 0.5), std::floor(exact.b + 0.5), std::floor(exact.c + 0.5)};
    const Colour rgb = to_rgb(f, codes);
    const std::string what = "flat colour " + describe_colour(f);

    TestPicture picture(f, random);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < height_of(f, p); y++)
            for (int x = 0; x < width_of(f, p); x++)
                picture.set_code(p, x, y, static_cast<int>(part(codes, p)));

    RgbConverter converter(f, w, h, scale, Dither::round);
    std::vector<float> tensor(at(w, h, 3, 0, 0), std::numeric_limits<float>::quiet_NaN());
    converter.to_tensor(picture.view(), tensor.data());
    double worst = 0.0;
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const double error = std::abs(static_cast<double>(tensor[at(w, h, p, y, x)]) - part(rgb, p));
                worst = error <= worst ? worst : error; // NaN stays
            }
    report.expect(worst < 1e-5, what + ": RGB is off by " + std::to_string(worst));

    const PictureFormat &big = converter.output_format();
    report.expect(big.width == f.width * scale && big.height == f.height * scale, what + ": output size");
    std::vector<float> result(at(w * scale, h * scale, 3, 0, 0));
    for (int p = 0; p < 3; p++)
        std::fill_n(result.begin() + static_cast<std::ptrdiff_t>(at(w * scale, h * scale, p, 0, 0)),
                    at(w * scale, h * scale, 1, 0, 0), static_cast<float>(part(rgb, p)));
    TestPicture back = TestPicture::blank(big, TestPicture::random_layouts(big, random));
    converter.from_tensor(result.data(), back.view());
    bool same = true;
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < height_of(big, p); y++)
            for (int x = 0; x < width_of(big, p); x++)
                same = same && back.code(p, x, y) == static_cast<int>(part(codes, p));
    report.expect(same, what + " x" + std::to_string(scale) + ": codes differ on the way back");
    report.expect(guards_untouched(back), what + ": writes beyond the picture");
}

constexpr int margin = 8; ///< of a gradient's edges, where filters see the replicated border

/// 10-bit codes that are linear in the luma position and exact integers at every sample.
int gradient_code(const PictureFormat &f, int p, double x, double y) {
    static constexpr double slope_x[] = {2.0, 4.0, -2.0};
    static constexpr double slope_y[] = {1.0, -2.0, 2.0};
    const double base = f.bit_depth == 10 ? 400.0 : 100.0;
    const double step = f.bit_depth == 10 ? 2.0 : 0.5;
    return static_cast<int>(std::floor(base + (slope_x[p] * x + slope_y[p] * y) * step + 0.5));
}

/// The same, as real number, at any luma position.
double gradient(const PictureFormat &f, int p, double x, double y) {
    static constexpr double slope_x[] = {2.0, 4.0, -2.0};
    static constexpr double slope_y[] = {1.0, -2.0, 2.0};
    const double base = f.bit_depth == 10 ? 400.0 : 100.0;
    return base + (slope_x[p] * x + slope_y[p] * y) * (f.bit_depth == 10 ? 2.0 : 0.5);
}

void round_gradient(Report &report, Random &random) {
    PictureFormat f = random_colour_format(random, 1);
    f.width = random.between(30, 45);
    f.height = random.between(30, 45);
    const std::string what = "gradient " + describe_colour(f);

    TestPicture picture(f, random);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < height_of(f, p); y++)
            for (int x = 0; x < width_of(f, p); x++)
                picture.set_code(p, x, y, gradient_code(f, p, p ? luma_x(f, x) : x, p ? luma_y(f, y) : y));

    RgbConverter converter(f, f.width, f.height, 1, Dither::round);
    std::vector<float> tensor(at(f.width, f.height, 3, 0, 0));
    converter.to_tensor(picture.view(), tensor.data());
    // With 8 bits the codes themselves are rounded: allow for it.
    const double slack = f.bit_depth == 10 ? 1e-4 : 2.2 / 219.0;
    double worst = 0.0;
    for (int y = margin; y < f.height - margin; y++)
        for (int x = margin; x < f.width - margin; x++) {
            const Colour rgb = to_rgb(f, {gradient(f, 0, x, y), gradient(f, 1, x, y), gradient(f, 2, x, y)});
            for (int p = 0; p < 3; p++)
                worst =
                    std::fmax(worst, std::abs(static_cast<double>(tensor[at(f.width, f.height, p, y, x)]) -
                                              part(rgb, p)));
        }
    report.expect(worst < slack, what + ": RGB is off by " + std::to_string(worst));

    for (int y = 0; y < f.height; y++)
        for (int x = 0; x < f.width; x++) {
            const Colour rgb = to_rgb(f, {gradient(f, 0, x, y), gradient(f, 1, x, y), gradient(f, 2, x, y)});
            for (int p = 0; p < 3; p++)
                tensor[at(f.width, f.height, p, y, x)] = static_cast<float>(part(rgb, p));
        }
    TestPicture back(f, random);
    converter.from_tensor(tensor.data(), back.view());
    worst = 0.0;
    for (int p = 0; p < 3; p++) {
        const int edge = p ? margin / 2 : margin;
        for (int y = edge; y < height_of(f, p) - edge; y++)
            for (int x = edge; x < width_of(f, p) - edge; x++)
                worst = std::fmax(worst, std::abs(back.code(p, x, y) - gradient(f, p, p ? luma_x(f, x) : x,
                                                                                p ? luma_y(f, y) : y)));
    }
    report.expect(worst < 0.51, what + ": codes are off by " + std::to_string(worst));
}

/// A picture stretched over a tensor of any size: flat colours stay, and gradients lie where they lay.
void round_rgb_scaler(Report &report, Random &random) {
    PictureFormat f = random_colour_format(random, 1);
    f.width = random.between(40, 80);
    f.height = random.between(40, 80);
    const int w = random.between(12, 120);
    const int h = random.between(12, 120);
    const std::string what =
        "rgb scaled to " + std::to_string(w) + "x" + std::to_string(h) + " " + describe_colour(f);

    TestPicture picture(f, random);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < height_of(f, p); y++)
            for (int x = 0; x < width_of(f, p); x++)
                picture.set_code(p, x, y, gradient_code(f, p, p ? luma_x(f, x) : x, p ? luma_y(f, y) : y));
    RgbScaler scaler(f, w, h);
    std::vector<float> tensor(at(w, h, 3, 0, 0), std::numeric_limits<float>::quiet_NaN());
    scaler.to_tensor(picture.view(), tensor.data());

    double worst = 0.0;
    bool whole = true;
    for (int v = 0; v < h; v++)
        for (int u = 0; u < w; u++) {
            const double x = (u + 0.5) * f.width / w - 0.5;
            const double y = (v + 0.5) * f.height / h - 0.5;
            const Colour rgb = to_rgb(f, {gradient(f, 0, x, y), gradient(f, 1, x, y), gradient(f, 2, x, y)});
            const bool inner = x >= margin && x < f.width - margin && y >= margin && y < f.height - margin;
            for (int p = 0; p < 3; p++) {
                const auto value = static_cast<double>(tensor[at(w, h, p, v, u)]);
                whole = whole && std::isfinite(value);
                if (inner)
                    worst = std::fmax(worst, std::abs(value - part(rgb, p)));
            }
        }
    // Between whole ratios a triangle's samples reproduce a slope to a fraction of a sample: here a sample is
    // about 0.02. Codes were rounded at 8 bits.
    report.expect(worst < (f.bit_depth == 10 ? 6e-3 : 3.0 / 219.0),
                  what + ": RGB is off by " + std::to_string(worst));
    report.expect(whole, what + ": not all of the tensor is written");
}

/// The scaled chroma planes show the same gradient at the bigger picture's luma positions.
void round_chroma_scaler(Report &report, Random &random) {
    PictureFormat f = random_colour_format(random, 1);
    f.width = random.between(30, 45);
    f.height = random.between(30, 45);
    const int scale = random.between(1, 4);
    const std::string what = "chroma x" + std::to_string(scale) + " " + describe_colour(f);

    TestPicture picture(f, random);
    for (int p = 1; p < 3; p++)
        for (int y = 0; y < f.chroma_height(); y++)
            for (int x = 0; x < f.chroma_width(); x++)
                picture.set_code(p, x, y, gradient_code(f, p, luma_x(f, x), luma_y(f, y)));
    ChromaScaler scaler(f, scale);
    const PictureFormat &big = scaler.output_format();
    TestPicture result = TestPicture::blank(big, TestPicture::random_layouts(big, random));
    scaler.scale(picture.view(), result.view());
    double worst = 0.0;
    for (int p = 1; p < 3; p++)
        for (int v = margin * scale / 2; v < big.chroma_height() - margin * scale / 2; v++)
            for (int u = margin * scale / 2; u < big.chroma_width() - margin * scale / 2; u++) {
                // The centre of luma sample X of the big picture lies at (X + 0.5) / scale - 0.5 of the small
                // one.
                const double x = (luma_x(big, u) + 0.5) / scale - 0.5;
                const double y = (luma_y(big, v) + 0.5) / scale - 0.5;
                worst = std::fmax(worst, std::abs(result.code(p, u, v) - gradient(f, p, x, y)));
            }
    // zimg rounds between the two passes; at 8 bits the gradient itself was rounded; a windowed sinc's
    // weights do not reproduce a slope exactly.
    report.expect(worst < (f.bit_depth == 10 ? 1.3 : 1.5),
                  what + ": codes are off by " + std::to_string(worst));
    report.expect(guards_untouched(result), what + ": writes beyond the planes");
    report.expect(result.planes[0].outside_untouched(0, 0), what + ": writes luma");
}

/// Planar and semi-planar, tight and padded: memory layout never changes a value. Any size, any colour.
void round_layouts(Report &report, Random &random) {
    PictureFormat f = random_colour_format(random, 80);
    const int scale = random.between(1, 3);
    const TestPicture picture(f, random);
    PictureFormat other = f;
    other.semi_planar = !f.semi_planar;
    other.msb_aligned = !f.msb_aligned;
    TestPicture twin(other, random);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < height_of(f, p); y++)
            for (int x = 0; x < width_of(f, p); x++)
                twin.set_code(p, x, y, picture.code(p, x, y));
    const std::string what = "memory layout " + describe_colour(f);

    RgbConverter first(f, f.width, f.height, scale, Dither::ordered);
    RgbConverter second(other, f.width, f.height, scale, Dither::ordered);
    std::vector<float> a(at(f.width, f.height, 3, 0, 0));
    std::vector<float> b(a.size());
    first.to_tensor(picture.view(), a.data());
    second.to_tensor(twin.view(), b.data());
    report.expect(a == b, what + ": to_tensor");

    std::vector<float> wild(at(f.width * scale, f.height * scale, 3, 0, 0));
    for (float &value : wild) {
        value = random.real(-0.1f, 1.1f);
        if (random.one_in(50))
            value = random.one_in(2) ? std::numeric_limits<float>::quiet_NaN()
                                     : std::numeric_limits<float>::infinity() * random.real(-1.0f, 1.0f);
    }
    const PictureFormat &big = first.output_format();
    TestPicture c = TestPicture::blank(big, TestPicture::random_layouts(big, random));
    const PictureFormat &other_big = second.output_format();
    TestPicture d = TestPicture::blank(other_big, TestPicture::random_layouts(other_big, random));
    first.from_tensor(wild.data(), c.view());
    second.from_tensor(wild.data(), d.view());
    ChromaScaler chroma(f, scale);
    ChromaScaler other_chroma(other, scale);
    bool same = true;
    const auto compare = [&] {
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < height_of(big, p); y++)
                for (int x = 0; x < width_of(big, p); x++)
                    same = same && c.code(p, x, y) == d.code(p, x, y);
    };
    compare();
    report.expect(same, what + ": from_tensor");
    chroma.scale(picture.view(), c.view());
    other_chroma.scale(twin.view(), d.view());
    compare();
    report.expect(same, what + ": chroma");
    report.expect(guards_untouched(c) && guards_untouched(d), what + ": writes beyond the picture");
}

/// Dither keeps the mean: a flat value between two codes becomes both, in proportion.
void dither_keeps_the_mean(Report &report) {
    const PictureFormat f = {.width = 64, .height = 64};
    RgbConverter converter(f, 64, 64, 1, Dither::ordered);
    std::vector<float> grey(at(64, 64, 3, 0, 0), static_cast<float>((100.3 - 16.0) / 219.0));
    Random random(7);
    TestPicture picture(f, random);
    converter.from_tensor(grey.data(), picture.view());
    double sum = 0.0;
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++)
            sum += picture.code(0, x, y);
    const double mean = sum / (64.0 * 64.0);
    report.expect(std::abs(mean - 100.3) < 0.05, "dither keeps the mean: " + std::to_string(mean));
}

void misuse_is_refused(Report &report) {
    const auto refused = [&](auto &&make, const char *what) {
        bool thrown = false;
        try {
            make();
        } catch (const std::invalid_argument &) {
            thrown = true;
        }
        report.expect(thrown, std::string("colour misuse is refused: ") + what);
    };
    const PictureFormat f = {.width = 16, .height = 16};
    refused([&] { RgbConverter(f, 15, 16, 1, Dither::round); }, "tensor too small");
    refused([&] { RgbConverter(f, 16, 16, 5, Dither::round); }, "scale");
    refused([&] { RgbScaler(f, 0, 16); }, "scaled to no width");
    refused([&] { RgbScaler(f, 16, 16).to_tensor({}, nullptr); }, "scaled from no data");
    refused([&] { ChromaScaler({.width = 0, .height = 16}, 2); }, "no width");
    refused([&] { ChromaScaler(f, 2).scale({}, {}); }, "no data");
}

} // namespace

void check_colour(Report &report, std::uint64_t seed, int rounds) {
    for (int i = 0; i < rounds; i++) {
        Random random(seed + static_cast<std::uint64_t>(i));
        round_flat(report, random);
        round_gradient(report, random);
        round_chroma_scaler(report, random);
        round_rgb_scaler(report, random);
        round_layouts(report, random);
    }
    dither_keeps_the_mean(report);
    misuse_is_refused(report);
}

} // namespace clv::pixels::test
