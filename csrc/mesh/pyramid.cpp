// SPDX-License-Identifier: BSD-2-Clause
//
// Level 0 is smoothed by [1 2 1] / 4 along both axes: a box average leaves aliases above half of the sampling
// rate, and linear interpolation between samples is biased by what is near it. Each further level is [1 4 6 4
// 1] / 16 (Burt and Adelson 1983), every other sample.

#include "mesh/pyramid.h"

#include <algorithm>
#include <cstring>

namespace clv::mesh {
namespace {

constexpr int rows_per_piece = 16;
constexpr int widest = 4096; // of a reduced row: far above what reduction_of() leaves

void smooth_row(const GrayView &luma, int y, float *to) {
    const auto row = [&](int i) { return luma.data + std::clamp(i, 0, luma.height - 1) * luma.stride; };
    const uint8_t *above = row(y - 1), *here = row(y), *below = row(y + 1);
    const int width = luma.width;
    alignas(64) uint16_t sums[widest + 2];
    for (int x = 0; x < width; x++)
        sums[x + 1] = static_cast<uint16_t>(above[x] + 2 * here[x] + below[x]);
    sums[0] = sums[1];
    sums[width + 1] = sums[width];
    for (int x = 0; x < width; x++)
        to[x] = static_cast<float>(sums[x] + 2 * sums[x + 1] + sums[x + 2]) * (1.0F / 16);
}

void halve_row(const PyramidLevel &from, int y, float *to, int width) {
    // Margins of `from` are extended already and wider than the two samples that are needed.
    const float *rows[5];
    for (int i = 0; i < 5; i++)
        rows[i] = from.at(0, 2 * y + i - 2);
    alignas(64) float sums[widest + 4];
    const int count = 2 * width + 3;
    for (int x = 0; x < count; x++)
        sums[x] =
            rows[0][x - 2] + rows[4][x - 2] + 4 * (rows[1][x - 2] + rows[3][x - 2]) + 6 * rows[2][x - 2];
    for (int x = 0; x < width; x++) {
        const float *s = sums + 2 * x;
        to[x] = (s[0] + s[4] + 4 * (s[1] + s[3]) + 6 * s[2]) * (1.0F / 256);
    }
}

} // namespace

void PyramidLevel::resize(int width, int height) {
    width_ = width;
    height_ = height;
    stride_ = (width + 2 * pyramid_margin + 15) / 16 * 16;
    // A row more than are used: vectors are loaded whole past the end of the last one.
    data_.assign(
        static_cast<std::size_t>(stride_) * static_cast<std::size_t>(height + 2 * pyramid_margin + 1), 0);
}

void PyramidLevel::extend(int first, int last) {
    for (int y = first; y < last; y++) {
        float *row = at(0, y);
        std::fill_n(row - pyramid_margin, pyramid_margin, row[0]);
        std::fill_n(row + width_, stride_ - width_ - pyramid_margin, row[width_ - 1]);
    }
    const auto bytes = sizeof(float) * static_cast<std::size_t>(stride_);
    for (int i = 1; i <= pyramid_margin; i++) {
        if (first == 0)
            std::memcpy(at(-pyramid_margin, -i), at(-pyramid_margin, 0), bytes);
        if (last == height_)
            std::memcpy(at(-pyramid_margin, height_ - 1 + i), at(-pyramid_margin, height_ - 1), bytes);
    }
}

void Pyramid::resize(int width, int height, int levels, int least_side) {
    levels_.clear();
    for (int n = 0; n < levels && (n == 0 || std::min(width, height) >= least_side); n++) {
        levels_.emplace_back().resize(width, height);
        width = (width + 1) / 2;
        height = (height + 1) / 2;
    }
}

void Pyramid::build(const GrayView &luma, pixels::ThreadPool &pool) {
    PyramidLevel &base = levels_[0];
    pool.parallel_for(0, base.height(), rows_per_piece, [&](int first, int last) {
        for (int y = first; y < last; y++)
            smooth_row(luma, y, base.at(0, y));
        base.extend(first, last);
    });
    for (std::size_t n = 1; n < levels_.size(); n++) {
        const PyramidLevel &from = levels_[n - 1];
        PyramidLevel &to = levels_[n];
        pool.parallel_for(0, to.height(), rows_per_piece, [&](int first, int last) {
            for (int y = first; y < last; y++)
                halve_row(from, y, to.at(0, y), to.width());
            to.extend(first, last);
        });
    }
}

void dilate(const uint8_t *from, ptrdiff_t from_stride, int width, int height, int radius, uint8_t *scratch,
            uint8_t *to) {
    // Downwards into scratch, then along the rows: each pass widens by `step`, and radii add up.
    const auto largest = [](uint8_t a, uint8_t b, uint8_t c) { return std::max(std::max(a, b), c); };
    for (int y = 0; y < height; y++) {
        uint8_t *out = scratch + static_cast<ptrdiff_t>(y) * width;
        const int top = std::max(y - radius, 0), bottom = std::min(y + radius, height - 1);
        std::memcpy(out, from + top * from_stride, static_cast<std::size_t>(width));
        for (int i = top + 1; i <= bottom; i++) {
            const uint8_t *row = from + i * from_stride;
            for (int x = 0; x < width; x++)
                out[x] = std::max(out[x], row[x]);
        }
    }
    uint8_t line[2][widest];
    for (int y = 0; y < height; y++) {
        uint8_t *out = to + static_cast<ptrdiff_t>(y) * width;
        std::memcpy(line[0], scratch + static_cast<ptrdiff_t>(y) * width, static_cast<std::size_t>(width));
        int now = 0;
        for (int done = 0, step = 1; done < radius; done += step, step = std::min(2 * step, radius - done)) {
            const uint8_t *a = line[now];
            uint8_t *b = line[1 - now];
            for (int x = 0; x < std::min(step, width); x++)
                b[x] = std::max(a[x], x + step < width ? a[x + step] : a[x]);
            for (int x = step; x < width - step; x++)
                b[x] = largest(a[x - step], a[x], a[x + step]);
            for (int x = std::max(width - step, std::min(step, width)); x < width; x++)
                b[x] = std::max(a[x - step], a[x]);
            now = 1 - now;
        }
        std::memcpy(out, line[now], static_cast<std::size_t>(width));
    }
}

void HolePyramid::resize(const Pyramid &like) {
    levels_.resize(static_cast<std::size_t>(like.levels()));
    for (int n = 0; n < like.levels(); n++) {
        Level &of = levels_[static_cast<std::size_t>(n)];
        of.width = like[n].width();
        of.height = like[n].height();
        of.data.assign(static_cast<std::size_t>(of.width) * static_cast<std::size_t>(of.height), 0);
    }
    scratch_.resize(levels_[0].data.size());
}

void HolePyramid::build(const GrayView &hole) {
    Level &base = levels_[0];
    empty_ = true;
    for (int y = 0; y < base.height && empty_; y++) {
        const uint8_t *row = hole.data + y * hole.stride;
        unsigned any = 0;
        for (int x = 0; x < base.width; x++)
            any |= row[x];
        empty_ = any == 0;
    }
    if (empty_)
        return;
    // As far as the smoothing of the luma carries the hole's samples, less its faint outermost taps.
    dilate(hole.data, hole.stride, base.width, base.height, 1, scratch_.data(), base.data.data());
    for (std::size_t n = 1; n < levels_.size(); n++) {
        const Level &from = levels_[n - 1];
        Level &to = levels_[n];
        for (int y = 0; y < to.height; y++) {
            for (int x = 0; x < to.width; x++) {
                unsigned any = 0;
                for (int v = std::max(2 * y - 1, 0); v <= std::min(2 * y + 1, from.height - 1); v++)
                    for (int u = std::max(2 * x - 1, 0); u <= std::min(2 * x + 1, from.width - 1); u++)
                        any |= from.data[static_cast<std::size_t>(v * from.width + u)];
                to.data[static_cast<std::size_t>(y * to.width + x)] = static_cast<uint8_t>(any);
            }
        }
    }
}

} // namespace clv::mesh
