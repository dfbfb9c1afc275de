// SPDX-License-Identifier: BSD-2-Clause
// The warp that carries background from one picture to the next.
#pragma once

#include <vector>

#include <Eigen/Core>

namespace clv::mesh {

/// Luma samples of the full picture; sample centres are at integers.
using Point = Eigen::Vector2f;

struct Grid {
    int columns = 16; ///< cells, 1..32
    int rows = 9;     ///< 1..18

    int vertices() const { return (columns + 1) * (rows + 1); }
    bool operator==(const Grid &) const = default;
};

/// Where a point of one picture lies in another: a homography, plus the bilinear interpolation of what the
/// corners of the point's cell are displaced by. It reproduces any homography exactly, is continuous over the
/// cells' edges, and within a cell equals the homography through the four moved corners up to second order of
/// the displacements (a homography for each cell by itself would tear at the edges). Outside the picture the
/// border cells go on.
class Mesh {
public:
    Mesh() = default;
    /// The identity.
    Mesh(Grid grid, int width, int height);
    /// `displacements`: row by row, grid.vertices() of them; empty for none.
    Mesh(Grid grid, int width, int height, const Eigen::Matrix3d &homography,
         std::vector<Point> displacements);

    Point operator()(const Point &point) const;
    /// The map of row `y` at columns [first, last): the inner loop of everything that is warped.
    void row(int y, int first, int last, Point *to) const;

    /// Exactly no motion: samples may be copied.
    bool is_identity() const { return identity_; }
    Grid grid() const { return grid_; }
    int width() const { return width_; }
    int height() const { return height_; }
    const Eigen::Matrix3d &homography() const { return homography_; }
    /// Of vertex (column, row), which lies at (column * width / columns - 0.5, ...).
    Point displacement(int column, int row) const;

private:
    Grid grid_;
    int width_ = 0;
    int height_ = 0;
    bool identity_ = true;
    Eigen::Matrix3d homography_ = Eigen::Matrix3d::Identity();
    std::vector<Point> displacements_;
};

} // namespace clv::mesh
