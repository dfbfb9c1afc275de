// SPDX-License-Identifier: BSD-2-Clause

#include "mesh/corners.h"

#include <algorithm>
#include <cmath>

namespace clv::mesh {
namespace {

constexpr int side = most_cell + 2 * most_corner_radius;

struct Tensor {
    float xx[side][side], xy[side][side], yy[side][side];
};

void products(const PyramidLevel &luma, int left, int top, int width, int height, Tensor &to) {
    const ptrdiff_t stride = luma.stride();
    for (int y = 0; y < height; y++) {
        const float *at = luma.at(left, top + y);
        for (int x = 0; x < width; x++) {
            const float gx = 0.5F * (at[x + 1] - at[x - 1]);
            const float gy = 0.5F * (at[x + stride] - at[x - stride]);
            to.xx[y][x] = gx * gx;
            to.xy[y][x] = gx * gy;
            to.yy[y][x] = gy * gy;
        }
    }
}

// Adds up `count` rows from row `top`, then `count` neighbours.
void box_row(const float (*rows)[side], int top, int count, int width, float *out) {
    float sums[side];
    std::copy_n(rows[top], side, sums);
    for (int i = 1; i < count; i++)
        for (int x = 0; x < side; x++)
            sums[x] += rows[top + i][x];
    for (int x = 0; x < width; x++)
        out[x] = sums[x];
    for (int i = 1; i < count; i++)
        for (int x = 0; x < width; x++)
            out[x] += sums[x + i];
}

} // namespace

int find_corners(const PyramidLevel &luma, const uint8_t *blocked, const Cell &cell,
                 const CornerSearch &search, std::span<const Point> taken, std::span<Corner> found) {
    const int width = std::min(cell.right - cell.left, most_cell);
    const int height = std::min(cell.bottom - cell.top, most_cell);
    if (width <= 0 || height <= 0)
        return 0;
    const int r = std::min(search.radius, most_corner_radius);
    const int window = 2 * r + 1;
    Tensor tensor{};
    products(luma, cell.left - r, cell.top - r, width + 2 * r, height + 2 * r, tensor);

    float score[most_cell][most_cell];
    const float scale = 1.0F / static_cast<float>(window * window);
    for (int y = 0; y < height; y++) {
        float xx[side], xy[side], yy[side];
        box_row(tensor.xx, y, window, width, xx);
        box_row(tensor.xy, y, window, width, xy);
        box_row(tensor.yy, y, window, width, yy);
        const uint8_t *no = blocked + static_cast<ptrdiff_t>(cell.top + y) * luma.width() + cell.left;
        for (int x = 0; x < width; x++) {
            const float difference = 0.5F * (xx[x] - yy[x]);
            const float root = std::sqrt(difference * difference + xy[x] * xy[x]);
            const float least = (0.5F * (xx[x] + yy[x]) - root) * scale;
            score[y][x] = no[x] ? 0.0F : least;
        }
    }

    const float reach = search.distance * search.distance;
    const auto clear_around = [&](float px, float py) {
        const float cx = px - static_cast<float>(cell.left), cy = py - static_cast<float>(cell.top);
        const int first = std::max(static_cast<int>(std::ceil(cy - search.distance)), 0);
        const int last = std::min(static_cast<int>(std::floor(cy + search.distance)), height - 1);
        for (int y = first; y <= last; y++) {
            const float dy = static_cast<float>(y) - cy;
            for (int x = 0; x < width; x++) {
                const float dx = static_cast<float>(x) - cx;
                if (dx * dx + dy * dy < reach)
                    score[y][x] = 0;
            }
        }
    };
    for (const Point &at : taken)
        clear_around(at.x(), at.y());

    int count = 0;
    while (count < static_cast<int>(found.size())) {
        Corner best;
        best.score = search.least;
        for (int y = 0; y < height; y++) {
            const float row_best = *std::max_element(score[y], score[y] + width);
            if (row_best > best.score) {
                const auto x = static_cast<int>(std::find(score[y], score[y] + width, row_best) - score[y]);
                best = {cell.left + x, cell.top + y, row_best};
            }
        }
        if (best.score <= search.least)
            break;
        found[static_cast<std::size_t>(count++)] = best;
        clear_around(static_cast<float>(best.x), static_cast<float>(best.y));
    }
    return count;
}

} // namespace clv::mesh
