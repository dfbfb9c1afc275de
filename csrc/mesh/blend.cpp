// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/blend.h"

#include <algorithm>

namespace clv::mesh {
namespace {

constexpr int kRows = 8; ///< rows of blocks that a thread takes at once

/// Weights 0..1 of the fill for the samples of a row of the hole's box.
struct Weights {
    const Hole &hole;
    const uint8_t *distance; ///< null: no feather
    int width;
    float step;

    float at(int x, int y) const {
        if (!hole.luma[static_cast<size_t>(y) * width + x])
            return 0;
        if (!distance)
            return 1;
        const auto d = distance[static_cast<size_t>(y - hole.box.y0) * hole.box.width() + (x - hole.box.x0)];
        return std::min(static_cast<float>(d) * step, 1.F);
    }
};

template <typename Sample>
Sample mixed(Sample now, Sample fill, float correction, float weight, float maximum) {
    const auto own = static_cast<float>(now);
    const float value = own + weight * (static_cast<float>(fill) + correction - own);
    return static_cast<Sample>(std::clamp(value, 0.F, maximum) + 0.5F);
}

template <typename Sample>
void blend_row(const Frame &canvas, const Membrane &membrane, const Weights &weights, int row,
               std::vector<float> &line, Frame &result) {
    const Shape &shape = result.shape();
    const Box &box = weights.hole.box;
    const auto maximum = static_cast<float>(shape.maximum());
    line.resize(static_cast<size_t>(box.width()) + 2);
    for (int y = std::max(2 * row, box.y0); y < std::min(2 * row + 2, box.y1); y++) {
        membrane.row(0, y, box.x0, box.x1, line.data());
        const Sample *fill = canvas.row<Sample>(0, y);
        Sample *to = result.row<Sample>(0, y);
        for (int x = box.x0; x < box.x1; x++)
            if (const float weight = weights.at(x, y); weight > 0)
                to[x] = mixed(to[x], fill[x], line[static_cast<size_t>(x - box.x0)], weight, maximum);
    }
    const int first = box.x0 / 2;
    const int last = (box.x1 + 1) / 2;
    const auto inside = [&](int x, int y) { return x >= box.x0 && x < box.x1 && y >= box.y0 && y < box.y1; };
    for (int plane = 1; plane < 3; plane++) {
        membrane.row(plane, row, first, last, line.data());
        const Sample *fill = canvas.row<Sample>(plane, row);
        Sample *to = result.row<Sample>(plane, row);
        for (int column = first; column < last; column++) {
            float weight = 0;
            for (int y = 2 * row; y < 2 * row + 2; y++)
                for (int x = 2 * column; x < 2 * column + 2; x++)
                    if (inside(x, y))
                        weight = std::max(weight, weights.at(x, y));
            if (weight > 0)
                to[column] = mixed(to[column], fill[column], line[static_cast<size_t>(column - first)],
                                   weight, maximum);
        }
    }
}

} // namespace

void Blender::blend(const Frame &canvas, const Membrane &membrane, const Hole &hole, int feather,
                    Frame &result, pixels::ThreadPool &pool) {
    if (hole.box.empty())
        return;
    const Shape &shape = result.shape();
    if (feather > 0) {
        distance_.resize(static_cast<size_t>(hole.box.width()) * static_cast<size_t>(hole.box.height()));
        distance_inside(hole.luma.data(), shape.width, shape.height, hole.box, feather + 1, distance_.data());
    }
    const Weights weights{hole, feather > 0 ? distance_.data() : nullptr, shape.width,
                          1 / static_cast<float>(feather + 1)};
    pool.parallel_for(hole.box.y0 / 2, (hole.box.y1 + 1) / 2, kRows, [&](int first, int last) {
        std::vector<float> line;
        for (int row = first; row < last; row++)
            if (shape.wide())
                blend_row<uint16_t>(canvas, membrane, weights, row, line, result);
            else
                blend_row<uint8_t>(canvas, membrane, weights, row, line, result);
    });
}

} // namespace clv::mesh
