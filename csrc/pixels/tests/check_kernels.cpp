// SPDX-License-Identifier: BSD-2-Clause
//
// Every conversion at every level against two things: the formulas and the layout written out once more in
// double precision, and (to the last bit, padding included) the reference kernels.

#include "harness.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

namespace clv::pixels::test {
namespace {

struct Range {
    double offset, span;
};

Range range_of(const PictureFormat &f, bool chroma) {
    const double unit = std::pow(2.0, f.bit_depth - 8);
    const double top = 256.0 * unit - 1.0;
    if (f.full_range)
        return chroma ? Range{128.0 * unit, top} : Range{0.0, top};
    return chroma ? Range{128.0 * unit, 224.0 * unit} : Range{16.0 * unit, 219.0 * unit};
}

std::ptrdiff_t size_of(Element element) {
    return element == Element::f32 ? 4 : 2;
}

double decode(Element element, const std::uint8_t *p) {
    if (element == Element::f32) {
        float value;
        std::memcpy(&value, p, sizeof value);
        return static_cast<double>(value);
    }
    std::uint16_t h;
    std::memcpy(&h, p, sizeof h);
    const double sign = h & 0x8000 ? -1.0 : 1.0;
    const int mantissa_bits = element == Element::f16 ? 10 : 7;
    const int bias = element == Element::f16 ? 15 : 127;
    const int exponent = (h & 0x7fff) >> mantissa_bits;
    const double mantissa = h & ((1 << mantissa_bits) - 1);
    if (exponent == 2 * bias + 1)
        return mantissa > 0 ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
    if (exponent == 0)
        return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

/// Half a unit in the last place of a value about one.
double precision(Element element) {
    return element == Element::f32 ? 1.5e-7 : element == Element::f16 ? 5.0e-4 : 4.0e-3;
}

/// A tensor whose rows all lie in one RowLayout, channel after channel.
struct TestTensor {
    TestTensor(Element e, int c, int h, int w, const RowLayout &layout)
        : element(e), channels(c), height(h), width(w), rows(layout) {}

    static RowLayout random_layout(Random &random, Element e, int c, int h, int w) {
        RowLayout out = RowLayout::random(random, c * h, w * size_of(e), size_of(e));
        if (out.stride < 0)
            out.stride = -out.stride;
        return out;
    }
    template <typename Void>
    BasicTensor<Void> view() {
        const std::ptrdiff_t stride = rows.layout().stride / size_of(element);
        return {rows.row(0), element, channels, height, width, stride, stride * height};
    }
    std::uint8_t *at(int c, int y, int x) { return rows.row(c * height + y) + x * size_of(element); }
    double value(int c, int y, int x) { return decode(element, at(c, y, x)); }

    void fill(Random &random) {
        for (int y = 0; y < channels * height; y++)
            for (int x = 0; x < width; x++)
                set(rows.row(y) + x * size_of(element), random);
    }

    Element element;
    int channels, height, width;
    Rows rows;

private:
    void set(std::uint8_t *p, Random &random) const {
        if (element != Element::f32) { // any bits are a value; mostly those about 0.5 and below
            auto bits = static_cast<std::uint16_t>(random.bits());
            if (!random.one_in(16))
                bits =
                    static_cast<std::uint16_t>((bits & 0x83ff) | (element == Element::f16 ? 0x3400 : 0x3e80));
            std::memcpy(p, &bits, sizeof bits);
            return;
        }
        float value = random.real(-0.7f, 0.7f);
        if (random.one_in(16)) {
            using Limits = std::numeric_limits<float>;
            const float odd[] = {Limits::quiet_NaN(),
                                 -Limits::quiet_NaN(),
                                 Limits::infinity(),
                                 -Limits::infinity(),
                                 Limits::max(),
                                 Limits::lowest(),
                                 Limits::denorm_min(),
                                 -0.0f,
                                 3.0e9f,
                                 -3.0e9f,
                                 0.5f,
                                 -0.5f};
            value = odd[random.between(0, 11)];
        }
        std::memcpy(p, &value, sizeof value);
    }
};

// ---- the layout and the formulas, written out

struct Origin {
    int plane, x, y; ///< of the sample that a channel of a position stands for
};

Origin origin(int channel, int scale, int i, int j) {
    const int side = 2 * scale;
    if (channel < side * side)
        return {0, side * j + channel % side, side * i + channel / side};
    const int rest = channel - side * side;
    const int in_plane = rest % (scale * scale);
    return {1 + rest / (scale * scale), scale * j + in_plane % scale, scale * i + in_plane / scale};
}

double threshold(Dither dither, int x, int y) {
    if (dither == Dither::round)
        return 0.5;
    static constexpr int bayer[8][8] = {{0, 32, 8, 40, 2, 34, 10, 42},  {48, 16, 56, 24, 50, 18, 58, 26},
                                        {12, 44, 4, 36, 14, 46, 6, 38}, {60, 28, 52, 20, 62, 30, 54, 22},
                                        {3, 35, 11, 43, 1, 33, 9, 41},  {51, 19, 59, 27, 49, 17, 57, 25},
                                        {15, 47, 7, 39, 13, 45, 5, 37}, {63, 31, 55, 23, 61, 29, 53, 21}};
    return (bayer[y % 8][x % 8] + 0.5) / 64.0;
}

/// Whether `code` is right for `x`; next to a rounding threshold its neighbour is too.
bool code_fits(const PictureFormat &f, const Range &range, double centre, double x, double threshold,
               int code) {
    const double top = std::pow(2.0, f.bit_depth) - 1.0;
    if (std::isnan(x))
        return code == 0;
    const double exact = (x + centre) * range.span + range.offset + threshold;
    const double slack = 3e-7 * (top + 1.0);
    const auto clamped = [top](double v) { return std::fmin(std::fmax(std::floor(v), 0.0), top); };
    return code >= clamped(exact - slack) && code <= clamped(exact + slack);
}

bool s2d_fits(const TestPicture &picture, TestTensor &tensor, int begin, int end) {
    const PictureFormat &f = picture.format;
    for (int c = 0; c < 6; c++)
        for (int i = begin; i < end; i++)
            for (int j = 0; j < tensor.width; j++) {
                const Origin at = origin(c, 1, i, j);
                const int width = at.plane ? f.chroma_width() : f.width;
                const int height = at.plane ? f.chroma_height() : f.height;
                const int code =
                    picture.code(at.plane, std::min(at.x, width - 1), std::min(at.y, height - 1));
                const Range range = range_of(f, at.plane > 0);
                const double x = (code - range.offset) / range.span - (at.plane ? 0.0 : 0.5);
                if (std::abs(x - tensor.value(c, i, j)) > precision(tensor.element))
                    return false;
            }
    return true;
}

bool d2s_fits(TestTensor &tensor, int scale, const TestPicture &picture, Dither dither, int begin, int end) {
    const PictureFormat &f = picture.format;
    for (int c = 0; c < tensor.channels; c++)
        for (int i = begin; i < end; i++)
            for (int j = 0; j < tensor.width; j++) {
                const Origin at = origin(c, scale, i, j);
                if (at.x >= (at.plane ? f.chroma_width() : f.width) ||
                    at.y >= (at.plane ? f.chroma_height() : f.height))
                    continue;
                if (!code_fits(f, range_of(f, at.plane > 0), at.plane ? 0.0 : 0.5, tensor.value(c, i, j),
                               threshold(dither, at.x, at.y), picture.code(at.plane, at.x, at.y)))
                    return false;
            }
    return true;
}

// ---- one round each

Element random_element(Random &random) {
    static constexpr Element kinds[] = {Element::f32, Element::f32, Element::f16, Element::bf16};
    return kinds[random.between(0, 3)];
}

int size_limit(Random &random) {
    return random.one_in(12) ? 700 : random.one_in(3) ? 12 : 200;
}

void rows_to_do(Random &random, int height, int *begin, int *end) {
    *begin = random.one_in(2) ? 0 : random.between(0, height);
    *end = random.one_in(2) ? height : random.between(*begin, height);
}

void round_s2d(Report &report, Random &random) {
    const PictureFormat f = random_format(random, size_limit(random));
    const Element element = random_element(random);
    const TestPicture picture(f, random);
    const int pad = random.one_in(2) ? 0 : random.between(0, 9);
    const int h = f.chroma_height() + pad;
    const int w = f.chroma_width() + (random.one_in(2) ? pad : random.between(0, 40));
    const RowLayout layout = TestTensor::random_layout(random, element, 6, h, w);
    int begin, end;
    rows_to_do(random, h, &begin, &end);

    TestTensor expected(element, 6, h, w, layout);
    space_to_depth(f, picture.view(), expected.view<void>(), begin, end, reference_kernels);
    const std::string what = "space_to_depth " + describe(f);
    report.expect(expected.rows.outside_untouched(), what + ": reference writes beyond its rows");
    report.expect(s2d_fits(picture, expected, begin, end), what + ": reference against the formula");
    for (int l = 1; l < level_count(); l++)
        if (const Kernels *with = level(l)) {
            TestTensor got(element, 6, h, w, layout);
            space_to_depth(f, picture.view(), got.view<void>(), begin, end, *with);
            report.expect(got.rows.equals(expected.rows), what + ": " + with->name + " differs");
        }
}

void round_d2s(Report &report, Random &random) {
    const int scale = random.one_in(5) ? random.between(3, 4) : random.between(1, 2);
    PictureFormat f = random_format(random, size_limit(random));
    const Element element = random_element(random);
    const Dither dither = random.one_in(2) ? Dither::round : Dither::ordered;
    const int side = 2 * scale;
    const int h = (f.height + side - 1) / side + random.between(0, 1);
    const int w = (f.width + side - 1) / side + random.between(0, 3);
    const int channels = 6 * scale * scale;
    TestTensor tensor(element, channels, h, w, TestTensor::random_layout(random, element, channels, h, w));
    tensor.fill(random);
    const std::vector<RowLayout> layouts = TestPicture::random_layouts(f, random);
    int begin, end;
    rows_to_do(random, h, &begin, &end);

    TestPicture expected = TestPicture::blank(f, layouts);
    depth_to_space(tensor.view<const void>(), scale, f, expected.view(), dither, begin, end,
                   reference_kernels);
    const std::string what = "depth_to_space x" + std::to_string(scale) + " " + describe(f);
    for (std::size_t p = 0; p < expected.planes.size(); p++) {
        const int step = p ? scale : side;
        const int rows = expected.planes[p].layout().rows;
        report.expect(
            expected.planes[p].outside_untouched(std::min(step * begin, rows), std::min(step * end, rows)),
            what + ": reference writes beyond its rows");
    }
    report.expect(d2s_fits(tensor, scale, expected, dither, begin, end),
                  what + ": reference against the formula");
    for (int l = 1; l < level_count(); l++)
        if (const Kernels *with = level(l)) {
            TestPicture got = TestPicture::blank(f, layouts);
            depth_to_space(tensor.view<const void>(), scale, f, got.view(), dither, begin, end, *with);
            for (std::size_t p = 0; p < got.planes.size(); p++)
                report.expect(got.planes[p].equals(expected.planes[p]),
                              what + " plane " + std::to_string(p) + ": " + with->name + " differs");
        }
}

void round_luma(Report &report, Random &random) {
    const PictureFormat f = random_format(random, size_limit(random));
    const Element element = random_element(random);
    const Dither dither = random.one_in(2) ? Dither::round : Dither::ordered;
    const TestPicture picture(f, random);
    const int h = f.height + random.between(0, 3);
    const int w = f.width + random.between(0, 20);
    const RowLayout layout = TestTensor::random_layout(random, element, 1, h, w);
    int begin, end;
    rows_to_do(random, h, &begin, &end);
    const Range range = range_of(f, false);
    const std::string what = "luma " + describe(f);

    TestTensor expected(element, 1, h, w, layout);
    luma_to_tensor(f, picture.view(), expected.view<void>(), begin, end, reference_kernels);
    bool fits = true;
    for (int i = begin; i < end; i++)
        for (int j = 0; j < w; j++) {
            const int code = picture.code(0, std::min(j, f.width - 1), std::min(i, f.height - 1));
            fits = fits && std::abs((code - range.offset) / range.span - expected.value(0, i, j)) <=
                               precision(element);
        }
    report.expect(fits, what + ": reference to tensor against the formula");

    TestTensor random_values(element, 1, h, w, layout);
    random_values.fill(random);
    const auto values = random_values.view<const void>();
    const std::vector<RowLayout> layouts = TestPicture::random_layouts(f, random);
    TestPicture written = TestPicture::blank(f, layouts);
    tensor_to_luma(values, f, written.view(), dither, begin, end, reference_kernels);
    fits = written.planes[0].outside_untouched(std::min(begin, f.height), std::min(end, f.height)) &&
           written.planes[1].outside_untouched(0, 0);
    for (int i = begin; i < std::min(end, f.height); i++)
        for (int j = 0; j < f.width; j++)
            fits = fits && code_fits(f, range, 0.0, random_values.value(0, i, j), threshold(dither, j, i),
                                     written.code(0, j, i));
    report.expect(fits, what + ": reference to plane against the formula");

    for (int l = 1; l < level_count(); l++)
        if (const Kernels *with = level(l)) {
            TestTensor tensor(element, 1, h, w, layout);
            luma_to_tensor(f, picture.view(), tensor.view<void>(), begin, end, *with);
            report.expect(tensor.rows.equals(expected.rows), what + " to tensor: " + with->name + " differs");
            TestPicture plane = TestPicture::blank(f, layouts);
            tensor_to_luma(values, f, plane.view(), dither, begin, end, *with);
            report.expect(plane.planes[0].equals(written.planes[0]),
                          what + " to plane: " + with->name + " differs");
        }
}

void round_limit(Report &report, Random &random) {
    const int count = random.between(0, 100);
    TestTensor source(Element::f32, 1, 1, count,
                      TestTensor::random_layout(random, Element::f32, 1, 1, count));
    source.fill(random);
    const RowLayout layout = TestTensor::random_layout(random, Element::f32, 1, 1, count);
    for (int l = 0; l < level_count(); l++)
        if (const Kernels *with = level(l)) {
            TestTensor got(Element::f32, 1, 1, count, layout);
            with->limit(static_cast<const float *>(source.view<const void>().data),
                        static_cast<float *>(got.view<void>().data), count, -0.25f, 0.75f);
            bool fits = got.rows.outside_untouched();
            for (int i = 0; i < count; i++) {
                const double x = source.value(0, 0, i);
                const double wanted = std::isnan(x) ? 0.0 : std::fmin(std::fmax(x, -0.25), 0.75);
                fits = fits && std::abs(got.value(0, 0, i) - wanted) == 0.0;
            }
            report.expect(fits, std::string("limit: ") + with->name + " against the formula");
        }
}

/// Every code there is comes back unchanged, dithered or not, in f32 (and in f16 up to 9 bits).
void every_code_survives(Report &report, const Kernels &with, PictureFormat f, Element element) {
    const int codes = 1 << f.bit_depth;
    f.width = 256;
    f.height = std::max(2, 4 * codes / 256);
    Random random(1);
    TestPicture picture(f, random);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? f.chroma_height() : f.height); y++)
            for (int x = 0; x < (p ? f.chroma_width() : f.width); x++)
                picture.set_code(p, x, y, (y * (p ? f.chroma_width() : f.width) + x) % codes);
    std::vector<float> memory(static_cast<std::size_t>(6 * f.chroma_width() * f.chroma_height()));
    const Tensor tensor = contiguous(memory.data(), element, 6, f.chroma_height(), f.chroma_width());
    const ConstTensor back =
        contiguous(static_cast<const void *>(memory.data()), element, 6, tensor.height, tensor.width);
    space_to_depth(f, picture.view(), tensor, 0, tensor.height, with);
    for (const Dither dither : {Dither::round, Dither::ordered}) {
        if (dither == Dither::ordered && element != Element::f32)
            continue;
        TestPicture again(f, random);
        depth_to_space(back, 1, f, again.view(), dither, 0, tensor.height, with);
        bool same = true;
        for (int p = 0; p < 3; p++)
            for (int y = 0; y < (p ? f.chroma_height() : f.height); y++)
                for (int x = 0; x < (p ? f.chroma_width() : f.width); x++)
                    same = same && picture.code(p, x, y) == again.code(p, x, y);
        report.expect(same, std::string("every code survives: ") + with.name + " " + describe(f));
    }
}

void misuse_is_refused(Report &report) {
    const PictureFormat good = {.width = 8, .height = 8};
    std::vector<float> memory(6 * 16);
    std::vector<std::uint8_t> plane(64);
    const Picture picture = {{plane.data(), plane.data(), plane.data()}, {8, 4, 4}};
    const auto refused = [&](PictureFormat f, int channels, int size, int begin, int end, const char *what) {
        bool thrown = false;
        try {
            space_to_depth(f, picture, contiguous(memory.data(), Element::f32, channels, size, size), begin,
                           end);
        } catch (const std::invalid_argument &) {
            thrown = true;
        }
        report.expect(thrown, std::string("misuse is refused: ") + what);
    };
    refused(good, 5, 4, 0, 4, "channels");
    refused(good, 6, 3, 0, 3, "tensor too small");
    refused(good, 6, 4, 0, 5, "rows beyond the tensor");
    refused(good, 6, 4, -1, 4, "negative row");
    refused({.width = 0, .height = 8}, 6, 4, 0, 4, "no width");
    refused({.width = 8, .height = 8, .bit_depth = 7}, 6, 4, 0, 4, "bit depth");
}

} // namespace

void check_kernels(Report &report, std::uint64_t seed, int rounds) {
    for (int i = 0; i < rounds; i++) {
        Random random(seed + static_cast<std::uint64_t>(i));
        round_s2d(report, random);
        round_d2s(report, random);
        round_luma(report, random);
        round_limit(report, random);
    }
    for (int l = 0; l < level_count(); l++)
        for (int variant = 0; level(l) && variant < 16; variant++)
            for (const int depth : {8, 10, 12}) {
                PictureFormat f;
                f.bit_depth = depth;
                f.semi_planar = variant & 1;
                f.msb_aligned = variant & 2;
                f.full_range = variant & 4;
                const Element element = variant & 8 ? Element::f16 : Element::f32;
                if (element == Element::f32 || depth == 8)
                    every_code_survives(report, *level(l), f, element);
            }
    misuse_is_refused(report);
}

} // namespace clv::pixels::test
