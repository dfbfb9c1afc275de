// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/blend.h"

#include <algorithm>

namespace clv::mesh {
namespace {

constexpr int kRows = 8; ///< rows of blocks that a thread takes at once

template <typename Sample>
Sample mixed(Sample now, Sample fill, float correction, float weight, float maximum) {
    const auto own = static_cast<float>(now);
    const float value = own + weight * (static_cast<float>(fill) + correction - own);
    return code_of<Sample>(std::clamp(value, 0.F, maximum));
}

/// What a thread needs room for.
struct Line {
    std::vector<float> correction;
    std::vector<uint8_t> depth;
};

template <typename Sample>
void blend_samples(const Sample *fill, const Line &line, const uint8_t *depth, float step, float maximum,
                   int count, Sample *to) {
    for (int x = 0; x < count; x++) {
        const float weight = static_cast<float>(depth[x]) * step;
        to[x] = mixed(to[x], fill[x], line.correction[static_cast<size_t>(x)], weight, maximum);
    }
}

/// `depth`: of the samples of `box`, 0 outside of the hole; times `step` it is the fill's weight.
template <typename Sample>
void blend_row(const Frame &canvas, const Membrane &membrane, const Box &box, const uint8_t *depth,
               float step, int row, Line &line, Frame &result) {
    const auto maximum = static_cast<float>(result.shape().maximum());
    const auto depth_row = [&](int y) { return depth + static_cast<ptrdiff_t>(y - box.y0) * box.width(); };
    const int first = box.x0 / 2;
    const int last = (box.x1 + 1) / 2;
    line.correction.resize(static_cast<size_t>(box.width()) + 2);
    line.depth.assign(static_cast<size_t>(last - first), 0);
    for (int y = std::max(2 * row, box.y0); y < std::min(2 * row + 2, box.y1); y++) {
        membrane.row(0, y, box.x0, box.x1, line.correction.data());
        const uint8_t *here = depth_row(y);
        blend_samples(canvas.row<Sample>(0, y) + box.x0, line, here, step, maximum, box.width(),
                      result.row<Sample>(0, y) + box.x0);
        for (int x = box.x0; x < box.x1; x++) {
            uint8_t &block = line.depth[static_cast<size_t>(x / 2 - first)];
            block = std::max(block, here[x - box.x0]);
        }
    }
    for (int plane = 1; plane < 3; plane++) {
        membrane.row(plane, row, first, last, line.correction.data());
        blend_samples(canvas.row<Sample>(plane, row) + first, line, line.depth.data(), step, maximum,
                      last - first, result.row<Sample>(plane, row) + first);
    }
}

} // namespace

void Blender::blend(const Frame &canvas, const Membrane &membrane, const Hole &hole, int feather,
                    Frame &result, pixels::ThreadPool &pool) {
    if (hole.box.empty())
        return;
    const Shape &shape = result.shape();
    distance_.resize(static_cast<size_t>(hole.box.width()) * static_cast<size_t>(hole.box.height()));
    distance_inside(hole.luma.data(), shape.width, shape.height, hole.box, feather + 1, distance_.data(),
                    scratch_);
    const float step = 1 / static_cast<float>(feather + 1);
    pool.parallel_for(hole.box.y0 / 2, (hole.box.y1 + 1) / 2, kRows, [&](int first, int last) {
        Line line;
        for (int row = first; row < last; row++)
            if (shape.wide())
                blend_row<uint16_t>(canvas, membrane, hole.box, distance_.data(), step, row, line, result);
            else
                blend_row<uint8_t>(canvas, membrane, hole.box, distance_.data(), step, row, line, result);
    });
}

} // namespace clv::mesh
