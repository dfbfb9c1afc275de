// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/diffuse.h"

#include <algorithm>
#include <cmath>

namespace clv::mesh {

void PullPush::resize(int width, int height) {
    used_ = 0;
    for (;; width = (width + 1) / 2, height = (height + 1) / 2) {
        if (levels_.size() == used_)
            levels_.emplace_back();
        Level &level = levels_[used_++];
        level.width = width;
        level.height = height;
        const size_t size = static_cast<size_t>(width) * static_cast<size_t>(height);
        if (level.values.size() < size) {
            level.values.resize(size);
            level.weights.resize(size);
        }
        if (width <= 1 && height <= 1)
            break;
    }
}

void PullPush::pull(const Level &fine, Level &coarse) {
    for (int y = 0; y < coarse.height; y++)
        for (int x = 0; x < coarse.width; x++) {
            float sum = 0;
            float weight = 0;
            for (int dy = 0; dy < 2 && 2 * y + dy < fine.height; dy++)
                for (int dx = 0; dx < 2 && 2 * x + dx < fine.width; dx++) {
                    const size_t at = static_cast<size_t>(2 * y + dy) * fine.width + (2 * x + dx);
                    sum += fine.weights[at] * fine.values[at];
                    weight += fine.weights[at];
                }
            const size_t to = static_cast<size_t>(y) * coarse.width + x;
            coarse.values[to] = weight > 0 ? sum / weight : 0;
            coarse.weights[to] = std::min(weight, 1.F);
        }
}

void PullPush::push(const Level &coarse, Level &fine) {
    for (int y = 0; y < fine.height; y++) {
        // Fine centres lie a quarter of a coarse sample off the coarse one's: 3/4 of it, 1/4 of its
        // neighbour.
        const int near_y = y / 2;
        const int far_y = std::clamp(near_y + (y % 2 ? 1 : -1), 0, coarse.height - 1);
        const float *near_row = &coarse.values[static_cast<size_t>(near_y) * coarse.width];
        const float *far_row = &coarse.values[static_cast<size_t>(far_y) * coarse.width];
        for (int x = 0; x < fine.width; x++) {
            const size_t at = static_cast<size_t>(y) * fine.width + x;
            const float weight = fine.weights[at];
            if (weight >= 1)
                continue;
            const int near_x = x / 2;
            const int far_x = std::clamp(near_x + (x % 2 ? 1 : -1), 0, coarse.width - 1);
            const float up = 0.5625F * near_row[near_x] + 0.1875F * (near_row[far_x] + far_row[near_x]) +
                             0.0625F * far_row[far_x];
            fine.values[at] = up + weight * (fine.values[at] - up);
        }
    }
}

void PullPush::fill(float otherwise) {
    for (size_t i = 0; i + 1 < used_; i++)
        pull(levels_[i], levels_[i + 1]);
    Level &top = levels_[used_ - 1];
    if (top.weights[0] <= 0)
        top.values[0] = otherwise;
    for (size_t i = used_ - 1; i > 0; i--)
        push(levels_[i], levels_[i - 1]);
}

template <typename Sample>
void Diffusion::paint_plane(uint8_t *data, ptrdiff_t stride, int width, int height, const uint8_t *hole,
                            ptrdiff_t hole_stride) {
    surface_.resize(width, height);
    float *values = surface_.values();
    float *weights = surface_.weights();
    for (int y = 0; y < height; y++) {
        const auto *row = reinterpret_cast<const Sample *>(data + y * stride);
        const size_t at = static_cast<size_t>(y) * width;
        for (int x = 0; x < width; x++) {
            values[at + x] = static_cast<float>(row[x]);
            weights[at + x] = hole[y * hole_stride + x] ? 0.F : 1.F;
        }
    }
    surface_.fill(static_cast<float>(1 << (bit_depth_ - 1)));
    const auto maximum = static_cast<float>((1 << bit_depth_) - 1);
    for (int y = 0; y < height; y++) {
        auto *row = reinterpret_cast<Sample *>(data + y * stride);
        const size_t at = static_cast<size_t>(y) * width;
        for (int x = 0; x < width; x++)
            if (hole[y * hole_stride + x])
                row[x] = code_of<Sample>(std::clamp(values[at + x], 0.F, maximum));
    }
}

void Diffusion::paint(const pixels::Picture &picture, int width, int height, const uint8_t *hole,
                      ptrdiff_t hole_stride) {
    const int columns = (width + 1) / 2;
    const int rows = (height + 1) / 2;
    blocks_.assign(static_cast<size_t>(columns) * static_cast<size_t>(rows), 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            if (hole[y * hole_stride + x])
                blocks_[static_cast<size_t>(y / 2) * columns + x / 2] = 1;
    for (int plane = 0; plane < 3; plane++) {
        const bool luma = plane == 0;
        const auto paint_one = [&](auto sample) {
            paint_plane<decltype(sample)>(picture.data[plane], picture.stride[plane], luma ? width : columns,
                                          luma ? height : rows, luma ? hole : blocks_.data(),
                                          luma ? hole_stride : columns);
        };
        if (bit_depth_ > 8)
            paint_one(uint16_t{});
        else
            paint_one(uint8_t{});
    }
}

} // namespace clv::mesh
