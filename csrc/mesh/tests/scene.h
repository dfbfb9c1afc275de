// SPDX-License-Identifier: BSD-2-Clause
// Pictures whose motion is known, and what the mesh's checks share.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "mesh/mesh.h"
#include "mesh/tracker.h"

namespace clv::mesh::test {

class Report {
public:
    void expect(bool good, const std::string &what) {
        good ? passed_++ : failed_++;
        if (!good)
            std::printf("FAILED: %s\n", what.c_str());
    }
    int finish() const {
        std::printf("%ld passed, %ld failed\n", passed_, failed_);
        return failed_ ? EXIT_FAILURE : EXIT_SUCCESS;
    }

private:
    long passed_ = 0;
    long failed_ = 0;
};

using Random = std::mt19937;

inline double uniform(Random &random, double low, double high) {
    return low + (high - low) * (static_cast<double>(random()) / 4294967296.0);
}

/// Smooth noise of several sizes, periodic, known between its samples as well: 16..235.
class Texture {
public:
    explicit Texture(uint32_t seed);
    /// Cubic interpolation (Keys 1981).
    float operator()(double x, double y) const;

private:
    static constexpr int size = 1024;
    std::vector<float> data_;
};

/// A plane of 8 bit samples.
struct Plane {
    Plane(int w, int h, uint8_t value = 0)
        : width(w), height(h), data(static_cast<size_t>(w) * static_cast<size_t>(h), value) {}
    uint8_t *row(int y) { return data.data() + static_cast<ptrdiff_t>(y) * width; }
    const uint8_t *row(int y) const { return data.data() + static_cast<ptrdiff_t>(y) * width; }
    GrayView view() const { return {data.data(), width, width, height}; }

    int width, height;
    std::vector<uint8_t> data;
};

/// Value of the picture at a place of it.
using Scene = std::function<double(double x, double y)>;

/// Each sample the mean of 2x2 places in it, as a sensor does it, plus noise of `sigma` codes.
Plane render(int width, int height, const Scene &scene, double sigma = 0, uint32_t seed = 1);

/// About the picture's centre: turned by `degrees`, enlarged by `zoom`, shifted, tilted.
Eigen::Matrix3d motion(int width, int height, double dx, double dy, double degrees = 0, double zoom = 1,
                       double tilt_x = 0, double tilt_y = 0);

Eigen::Vector2d apply(const Eigen::Matrix3d &h, double x, double y);

struct Error {
    double mean = 0;
    double worst = 0;
};

/// Distance of the mesh from the truth at places all over the picture that the truth leaves in the picture.
Error error_of(const Mesh &mesh, const std::function<Eigen::Vector2d(double, double)> &truth);

} // namespace clv::mesh::test
