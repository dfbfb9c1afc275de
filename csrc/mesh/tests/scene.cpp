// SPDX-License-Identifier: BSD-2-Clause

#include "scene.h"

#include <algorithm>
#include <cmath>

namespace clv::mesh::test {
namespace {

double keys(double t) {
    t = std::abs(t);
    if (t < 1)
        return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

} // namespace

Texture::Texture(uint32_t seed) : data_(static_cast<size_t>(size) * size) {
    Random random(seed);
    std::vector<double> sum(data_.size(), 0);
    for (const int step : {4, 8, 16, 64}) {
        const int count = size / step;
        std::vector<double> knots(static_cast<size_t>(count) * static_cast<size_t>(count));
        for (double &knot : knots)
            knot = uniform(random, -1, 1);
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++) {
                double value = 0;
                for (int v = -1; v <= 2; v++)
                    for (int u = -1; u <= 2; u++) {
                        const int kx = (x / step + u + count) % count, ky = (y / step + v + count) % count;
                        value += knots[static_cast<size_t>(ky * count + kx)] *
                                 keys(static_cast<double>(x % step) / step - u) *
                                 keys(static_cast<double>(y % step) / step - v);
                    }
                sum[static_cast<size_t>(y * size + x)] += value * (step == 4 ? 14 : step == 8 ? 22 : 30);
            }
    }
    for (size_t i = 0; i < sum.size(); i++)
        data_[i] = static_cast<float>(std::clamp(126 + sum[i], 16.0, 235.0));
}

float Texture::operator()(double x, double y) const {
    const double fx = std::floor(x), fy = std::floor(y);
    const int ix = static_cast<int>(fx), iy = static_cast<int>(fy);
    float wx[4], wy[4];
    for (int i = 0; i < 4; i++) {
        wx[i] = static_cast<float>(keys(x - fx - (i - 1)));
        wy[i] = static_cast<float>(keys(y - fy - (i - 1)));
    }
    float sum = 0;
    for (int v = 0; v < 4; v++) {
        const float *row = data_.data() + static_cast<ptrdiff_t>((iy + v - 1) & (size - 1)) * size;
        float line = 0;
        for (int u = 0; u < 4; u++)
            line += wx[u] * row[(ix + u - 1) & (size - 1)];
        sum += wy[v] * line;
    }
    return sum;
}

Plane render(int width, int height, const Scene &scene, double sigma, uint32_t seed) {
    Plane out(width, height);
    Random random(seed);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double value = 0;
            for (const double v : {-0.25, 0.25})
                for (const double u : {-0.25, 0.25})
                    value += 0.25 * scene(x + u, y + v);
            if (sigma > 0) // the sum of four is near enough to a normal distribution
                for (int i = 0; i < 4; i++)
                    value += uniform(random, -1, 1) * sigma * std::sqrt(3.0 / 4);
            out.row(y)[x] = static_cast<uint8_t>(std::clamp(value + 0.5, 0.0, 255.0));
        }
    return out;
}

Eigen::Matrix3d motion(int width, int height, double dx, double dy, double degrees, double zoom,
                       double tilt_x, double tilt_y) {
    const double cx = 0.5 * (width - 1), cy = 0.5 * (height - 1);
    const double angle = degrees * 3.14159265358979323846 / 180;
    const double c = zoom * std::cos(angle), s = zoom * std::sin(angle);
    Eigen::Matrix3d there, back, turn;
    there << 1, 0, -cx, 0, 1, -cy, 0, 0, 1;
    back << 1, 0, cx + dx, 0, 1, cy + dy, 0, 0, 1;
    turn << c, -s, 0, s, c, 0, tilt_x / width, tilt_y / height, 1;
    return back * turn * there;
}

Eigen::Vector2d apply(const Eigen::Matrix3d &h, double x, double y) {
    const Eigen::Vector3d at = h * Eigen::Vector3d(x, y, 1);
    return at.head<2>() / at.z();
}

Error error_of(const Mesh &mesh, const std::function<Eigen::Vector2d(double, double)> &truth) {
    Error error;
    int count = 0;
    const auto look = [&](int x, int y) {
        const Eigen::Vector2d right = truth(x, y);
        if (right.x() < 0 || right.y() < 0 || right.x() > mesh.width() - 1 || right.y() > mesh.height() - 1)
            return;
        const Point found = mesh(Point(static_cast<float>(x), static_cast<float>(y)));
        const double distance = (found.cast<double>() - right).norm();
        error.mean += distance;
        error.worst = std::isfinite(distance) ? std::max(error.worst, distance) : HUGE_VAL;
        count++;
    };
    for (int y = 0; y < mesh.height(); y += 8)
        for (int x = 0; x < mesh.width(); x += 8)
            look(x, y);
    for (const int y : {0, mesh.height() - 1})
        for (const int x : {0, mesh.width() - 1})
            look(x, y);
    error.mean /= std::max(count, 1);
    return error;
}

} // namespace clv::mesh::test
