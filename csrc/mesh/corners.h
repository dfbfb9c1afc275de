// SPDX-License-Identifier: BSD-2-Clause
// Corners: places whose displacement a small window determines along both axes.
#pragma once

#include <cstdint>
#include <span>

#include "mesh/pyramid.h"

namespace clv::mesh {

struct Corner {
    int x = 0;
    int y = 0;
    float score = 0; ///< smaller eigenvalue of the mean gradient tensor, (code / sample)^2
};

/// A rectangle of at most most_cell samples along each side, [left, right) x [top, bottom).
struct Cell {
    int left, top, right, bottom;
};
inline constexpr int most_cell = 56;
inline constexpr int most_corner_radius = 4;

struct CornerSearch {
    int radius = 4;      ///< of the window that the tensor is averaged over
    float distance = 8;  ///< between corners, and from `taken`
    float least = 0.25F; ///< score
};

/// The best corners of one cell (Shi and Tomasi, CVPR 1994), best first. `blocked`: of luma's size, not 0
/// where no corner may be; `taken`: features that are there already. Returns how many of `found` it filled.
int find_corners(const PyramidLevel &luma, const uint8_t *blocked, const Cell &cell,
                 const CornerSearch &search, std::span<const Point> taken, std::span<Corner> found);

} // namespace clv::mesh
