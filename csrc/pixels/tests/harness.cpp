// SPDX-License-Identifier: BSD-2-Clause

#include "harness.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace clv::pixels::test {
namespace {

std::uint8_t noise(std::size_t place) {
    return static_cast<std::uint8_t>((place * 0x9e3779b97f4a7c15ull) >> 56);
}

} // namespace

void Report::expect(bool good, const std::string &what) {
    if (good) {
        passed_++;
        return;
    }
    if (failed_++ < 40)
        std::printf("FAILED: %s\n", what.c_str());
}

int Report::finish() const {
    std::printf("%ld passed, %ld failed\n", passed_, failed_);
    return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;
}

RowLayout RowLayout::random(Random &random, int rows, std::ptrdiff_t row_bytes, std::ptrdiff_t unit) {
    RowLayout out{.rows = rows, .row_bytes = row_bytes};
    std::ptrdiff_t gap = 0;
    if (!random.one_in(3)) {
        gap = unit * random.between(0, 70);
        out.before = unit * random.between(0, 70);
        out.after = random.between(0, 70);
    }
    out.stride = row_bytes + gap;
    if (random.one_in(4))
        out.stride = -out.stride;
    return out;
}

std::size_t RowLayout::size() const {
    const std::ptrdiff_t body = rows > 0 ? (rows - 1) * std::abs(stride) + row_bytes : 0;
    return static_cast<std::size_t>(before + body + after);
}

std::ptrdiff_t RowLayout::offset(int row) const {
    return before + (stride >= 0 ? row * stride : (row - (rows - 1)) * stride);
}

Rows::Rows(const RowLayout &layout) : layout_(layout), bytes_(new std::uint8_t[layout.size()]) {
    for (std::size_t i = 0; i < layout.size(); i++)
        bytes_[i] = noise(i);
}

bool Rows::equals(const Rows &other) const {
    return layout_.size() == other.layout_.size() &&
           std::memcmp(bytes_.get(), other.bytes_.get(), layout_.size()) == 0;
}

bool Rows::outside_untouched(int begin, int end) const {
    std::vector<bool> mine(layout_.size());
    for (int y = begin; y < end; y++)
        std::fill_n(mine.begin() + layout_.offset(y), layout_.row_bytes, true);
    for (std::size_t i = 0; i < mine.size(); i++)
        if (!mine[i] && bytes_[i] != noise(i))
            return false;
    return true;
}

std::vector<std::pair<int, int>> plane_sizes(const PictureFormat &f) {
    const int w = f.chroma_width();
    const int h = f.chroma_height();
    if (f.semi_planar)
        return {{f.width, f.height}, {2 * w, h}};
    return {{f.width, f.height}, {w, h}, {w, h}};
}

std::vector<RowLayout> TestPicture::random_layouts(const PictureFormat &format, Random &random) {
    std::vector<RowLayout> out;
    for (const auto &[width, height] : plane_sizes(format))
        out.push_back(RowLayout::random(random, height, width * format.bytes_per_sample(), 1));
    return out;
}

TestPicture TestPicture::blank(const PictureFormat &format, const std::vector<RowLayout> &layouts) {
    TestPicture out;
    out.format = format;
    for (const RowLayout &layout : layouts)
        out.planes.emplace_back(layout);
    return out;
}

TestPicture::TestPicture(const PictureFormat &f, Random &random) {
    *this = blank(f, random_layouts(f, random));
    const int max_code = (1 << f.bit_depth) - 1;
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? f.chroma_height() : f.height); y++)
            for (int x = 0; x < (p ? f.chroma_width() : f.width); x++)
                set_code(p, x, y, static_cast<int>(random.bits() & 0xffff) & max_code);
}

ConstPicture TestPicture::view() const {
    ConstPicture out;
    for (std::size_t p = 0; p < planes.size(); p++) {
        out.data[p] = planes[p].row(0);
        out.stride[p] = planes[p].layout().stride;
    }
    return out;
}

Picture TestPicture::view() {
    Picture out;
    for (std::size_t p = 0; p < planes.size(); p++) {
        out.data[p] = planes[p].row(0);
        out.stride[p] = planes[p].layout().stride;
    }
    return out;
}

namespace {

struct Place {
    std::size_t plane;
    std::ptrdiff_t offset;
    int shift;
};

Place place(const PictureFormat &f, int plane, int x) {
    const bool pair = f.semi_planar && plane > 0;
    const int sample = pair ? 2 * x + plane - 1 : x;
    const int shift = f.msb_aligned && f.bit_depth > 8 ? 16 - f.bit_depth : 0;
    return {static_cast<std::size_t>(pair ? 1 : plane), sample * f.bytes_per_sample(), shift};
}

} // namespace

int TestPicture::code(int plane, int x, int y) const {
    const Place at = place(format, plane, x);
    const std::uint8_t *p = planes[at.plane].row(y) + at.offset;
    if (format.bit_depth == 8)
        return *p;
    std::uint16_t sample;
    std::memcpy(&sample, p, sizeof sample);
    return sample >> at.shift;
}

void TestPicture::set_code(int plane, int x, int y, int code) {
    const Place at = place(format, plane, x);
    std::uint8_t *p = planes[at.plane].row(y) + at.offset;
    const auto sample = static_cast<std::uint16_t>(code << at.shift);
    if (format.bit_depth == 8)
        *p = static_cast<std::uint8_t>(code);
    else
        std::memcpy(p, &sample, sizeof sample);
}

PictureFormat random_format(Random &random, int max_size) {
    PictureFormat f;
    f.width = random.between(1, max_size);
    f.height = random.between(1, max_size);
    f.semi_planar = random.one_in(2);
    static constexpr int depths[] = {8, 8, 8, 10, 10, 10, 9, 12, 16};
    f.bit_depth = depths[random.between(0, 8)];
    f.msb_aligned = random.one_in(2);
    f.full_range = random.one_in(2);
    return f;
}

std::string describe(const PictureFormat &f) {
    return std::to_string(f.width) + "x" + std::to_string(f.height) +
           (f.semi_planar ? " semi-planar " : " planar ") + std::to_string(f.bit_depth) + " bit" +
           (f.msb_aligned ? " msb" : "") + (f.full_range ? " full" : " limited");
}

int level_count() {
    return 3;
}

const Kernels *level(int index) {
    static constexpr CpuLevel levels[] = {CpuLevel::reference, CpuLevel::avx2, CpuLevel::avx512};
    return kernels_for(levels[index]);
}

} // namespace clv::pixels::test
