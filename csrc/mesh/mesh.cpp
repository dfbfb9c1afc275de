// SPDX-License-Identifier: BSD-2-Clause

#include "mesh/mesh.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace clv::mesh {
namespace {

// A homography's denominator is near 1 wherever a camera could have moved to; far outside of the picture it
// may reach 0, and no position may become infinite there.
constexpr double least_denominator = 1e-2;

// Where along an axis of `cells` cells over `size` samples a coordinate lies: the cell (clamped to the border
// cells, which go on outside) and the place in it.
struct Place {
    int cell;
    float offset;
};

Place place(float coordinate, int cells, int size) {
    const float at = (coordinate + 0.5F) * static_cast<float>(cells) / static_cast<float>(size);
    const float last = static_cast<float>(cells - 1);
    const float cell = std::clamp(std::floor(at), 0.0F, last);
    return {static_cast<int>(cell), at - cell};
}

Point mix(const Point &a, const Point &b, float t) {
    return a + t * (b - a);
}

} // namespace

Mesh::Mesh(Grid grid, int width, int height) : grid_(grid), width_(width), height_(height) {}

Mesh::Mesh(Grid grid, int width, int height, const Eigen::Matrix3d &homography,
           std::vector<Point> displacements)
    : grid_(grid), width_(width), height_(height), homography_(homography),
      displacements_(std::move(displacements)) {
    const auto still = [](const Point &d) { return d.x() == 0.0F && d.y() == 0.0F; };
    if (std::all_of(displacements_.begin(), displacements_.end(), still))
        displacements_.clear();
    identity_ = displacements_.empty() && homography_ == Eigen::Matrix3d::Identity();
}

Point Mesh::displacement(int column, int row) const {
    if (displacements_.empty())
        return Point::Zero();
    return displacements_[static_cast<std::size_t>(row) * static_cast<std::size_t>(grid_.columns + 1) +
                          static_cast<std::size_t>(column)];
}

Point Mesh::operator()(const Point &point) const {
    if (identity_)
        return point;
    const Eigen::Vector3d moved = homography_ * Eigen::Vector3d(point.x(), point.y(), 1.0);
    const double scale = 1.0 / std::max(moved.z(), least_denominator);
    Point out = (moved.head<2>() * scale).cast<float>();
    if (!displacements_.empty()) {
        const Place x = place(point.x(), grid_.columns, width_);
        const Place y = place(point.y(), grid_.rows, height_);
        out += mix(mix(displacement(x.cell, y.cell), displacement(x.cell + 1, y.cell), x.offset),
                   mix(displacement(x.cell, y.cell + 1), displacement(x.cell + 1, y.cell + 1), x.offset),
                   y.offset);
    }
    return out;
}

void Mesh::row(int y, int first, int last, Point *to) const {
    static_assert(sizeof(Point) == 2 * sizeof(float));
    float *out = to->data();
    if (identity_) {
        for (int x = first; x < last; x++) {
            out[2 * (x - first)] = static_cast<float>(x);
            out[2 * (x - first) + 1] = static_cast<float>(y);
        }
        return;
    }

    // The homography minus the identity, so that in single precision what is rounded is the (small) motion:
    //   (N(x) - x D(x)) / D(x) with D = d0 + d1 x, and the numerator a quadratic in x.
    const Eigen::Matrix3d &h = homography_;
    const double v = y;
    const double d0 = h(2, 1) * v + h(2, 2);
    const double d1 = h(2, 0);
    const float ax0 = static_cast<float>(h(0, 1) * v + h(0, 2));
    const float ax1 = static_cast<float>(h(0, 0) - d0);
    const float ax2 = static_cast<float>(-d1);
    const float ay0 = static_cast<float>(h(1, 1) * v + h(1, 2) - v * d0);
    const float ay1 = static_cast<float>(h(1, 0) - v * d1);
    const float fd0 = static_cast<float>(d0);
    const float fd1 = static_cast<float>(d1);
    const float fy = static_cast<float>(y);
    constexpr float least = static_cast<float>(least_denominator);

    // Within a cell the displacement is b + s x along a row; without displacements one segment is the row.
    const Place in_y = place(fy, grid_.rows, height_);
    for (int x = first; x < last;) {
        int end = last;
        float bx = 0.0F, by = 0.0F, sx = 0.0F, sy = 0.0F;
        if (!displacements_.empty()) {
            const Place in_x = place(static_cast<float>(x), grid_.columns, width_);
            if (in_x.cell + 1 < grid_.columns) {
                // The first sample at or past the cell's right edge; rounding must not stop us from moving
                // on.
                const double edge = static_cast<double>(in_x.cell + 1) * width_ / grid_.columns - 0.5;
                end = std::clamp(static_cast<int>(std::ceil(edge)), x + 1, last);
            }
            const Point left =
                mix(displacement(in_x.cell, in_y.cell), displacement(in_x.cell, in_y.cell + 1), in_y.offset);
            const Point right = mix(displacement(in_x.cell + 1, in_y.cell),
                                    displacement(in_x.cell + 1, in_y.cell + 1), in_y.offset);
            const float per_sample = static_cast<float>(grid_.columns) / static_cast<float>(width_);
            const Point slope = (right - left) * per_sample;
            const Point base = left + (right - left) * in_x.offset - slope * static_cast<float>(x);
            bx = base.x();
            by = base.y();
            sx = slope.x();
            sy = slope.y();
        }
        for (int i = x; i < end; i++) {
            const float fx = static_cast<float>(i);
            const float denominator = fd0 + fd1 * fx;
            const float scale = 1.0F / (denominator > least ? denominator : least);
            out[2 * (i - first)] = fx + ((ax0 + (ax1 + ax2 * fx) * fx) * scale + (bx + sx * fx));
            out[2 * (i - first) + 1] = fy + ((ay0 + ay1 * fx) * scale + (by + sy * fx));
        }
        x = end;
    }
}

} // namespace clv::mesh
