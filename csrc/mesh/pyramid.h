// SPDX-License-Identifier: BSD-2-Clause
// The reduced luma at halved sizes, smoothed, with margins so that a window may hang over the border.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "mesh/tracker.h"
#include "pixels/thread_pool.h"

namespace clv::mesh {

/// Samples around every level that repeat its border.
inline constexpr int pyramid_margin = 16;

/// One level: single precision, so that what smoothing gains over 8 bit is kept.
class PyramidLevel {
public:
    void resize(int width, int height);
    int width() const { return width_; }
    int height() const { return height_; }
    ptrdiff_t stride() const { return stride_; }
    /// x in [-pyramid_margin, width + pyramid_margin), y alike.
    float *at(int x, int y) { return data_.data() + (y + pyramid_margin) * stride_ + x + pyramid_margin; }
    const float *at(int x, int y) const {
        return data_.data() + (y + pyramid_margin) * stride_ + x + pyramid_margin;
    }
    /// Repeats the border samples of rows [first, last) to the left and right; the first and last row also
    /// upwards and downwards.
    void extend(int first, int last);

private:
    int width_ = 0;
    int height_ = 0;
    ptrdiff_t stride_ = 0;
    std::vector<float> data_;
};

/// Sample (x, y) of level n lies at (x, y) * 2^n of level 0.
class Pyramid {
public:
    /// At most `levels`; none whose shorter side is below `least_side`, but always one.
    void resize(int width, int height, int levels, int least_side);
    void build(const GrayView &luma, pixels::ThreadPool &pool);
    int levels() const { return static_cast<int>(levels_.size()); }
    const PyramidLevel &operator[](int level) const { return levels_[static_cast<std::size_t>(level)]; }

private:
    std::vector<PyramidLevel> levels_;
};

/// For each level of a pyramid of the same sizes, what of it the hole reaches.
class HolePyramid {
public:
    void resize(const Pyramid &like);
    void build(const GrayView &hole);
    bool empty() const { return empty_; }
    bool operator()(int level, int x, int y) const {
        const Level &of = levels_[static_cast<std::size_t>(level)];
        return of.data[static_cast<std::size_t>(y) * static_cast<std::size_t>(of.width) +
                       static_cast<std::size_t>(x)] != 0;
    }

private:
    struct Level {
        int width = 0;
        int height = 0;
        std::vector<uint8_t> data;
    };
    std::vector<Level> levels_;
    std::vector<uint8_t> scratch_;
    bool empty_ = true;
};

/// Largest value within `radius` samples along both axes; `scratch` and `to` have width * height bytes. `to`
/// may be `from`.
void dilate(const uint8_t *from, ptrdiff_t from_stride, int width, int height, int radius, uint8_t *scratch,
            uint8_t *to);

} // namespace clv::mesh
