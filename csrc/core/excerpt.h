// SPDX-License-Identifier: BSD-2-Clause
// What a painting net sees of a picture and what of its output is put back: the geometry, for painters on the
// host and on a device (docs/models.md, layout yuv420_s2d_mask).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/backend.h"
#include "core/model.h"
#include "pixels/pixels.h"

namespace clv {

/// The net's one size for pictures of `format`: their shape, with the bundle's best_size as the long side.
TensorShape painter_input(const Bundle &bundle, const pixels::PictureFormat &format);

/// code = value * span + offset, in the tensor's values (pixels.h).
struct CodeScale {
    float span;
    float offset;
};
CodeScale luma_scale(const pixels::PictureFormat &format);
CodeScale chroma_scale(const pixels::PictureFormat &format);

/// First to one past the last luma sample of a hole; even at the first.
struct HoleBounds {
    int left = 0;
    int right = 0;
    int top = 0;
    int bottom = 0;
    bool empty() const { return right <= left; }
};
HoleBounds hole_bounds(const uint8_t *hole, ptrdiff_t stride, int width, int height);

/// Where the net looks: its luma sample (X, Y) is the area of `step` x `step` samples at
/// (left + X * step, top + Y * step) of the picture; chroma likewise from (left / 2, top / 2).
struct Excerpt {
    int left = 0; ///< even
    int top = 0;
    double step = 1;
};
/// Sizes in luma samples.
Excerpt choose_excerpt(const HoleBounds &bounds, int width, int height, int net_width, int net_height);

/// What one output sample of an average takes: samples [first, first + weights' count).
struct Area {
    int first;
    int count;
    size_t weights; ///< place of the first one in Areas::all_weights()
};

/// Averages over [start + i * step, start + (i + 1) * step) of a row of `size` samples, i = 0..count-1.
/// Beyond its ends the row goes on with its last sample.
class Areas {
public:
    Areas(double start, double step, int count, int size);

    int begin() const { return areas_.front().first; }
    int end() const { return areas_.back().first + areas_.back().count; }
    const Area &operator[](int i) const { return areas_[static_cast<size_t>(i)]; }
    const float *weights(const Area &area) const { return weights_.data() + area.weights; }
    const std::vector<Area> &all() const { return areas_; }
    const std::vector<float> &all_weights() const { return weights_; }

private:
    std::vector<Area> areas_;
    std::vector<float> weights_;
};

/// Catmull-Rom's cubic at `place` of a row of `size` samples, which goes on with its last sample.
struct Taps {
    int index[4];
    float weight[4];

    Taps(double place, int size);
};

/// For samples [first, last) of a plane, of which the net's sample 0 begins at `origin`, in a row of `size`
/// samples of the net.
std::vector<Taps> taps_of(int first, int last, int origin, double step, int size);

} // namespace clv
