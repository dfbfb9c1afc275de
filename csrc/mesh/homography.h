// SPDX-License-Identifier: BSD-2-Clause
// One global motion from pairs of points of which some are wrong.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <Eigen/Core>

#include "mesh/mesh.h"

namespace clv::mesh {

/// In the order of what they can express.
enum class Motion : uint8_t { identity, translation, similarity, homography };

struct MotionFit {
    Motion motion = Motion::identity;
    Eigen::Matrix3d matrix = Eigen::Matrix3d::Identity(); ///< maps points of `from` to points of `to`
    int inliers = 0;
    double residual = 0; ///< root mean square distance of the inliers, samples
    double spread = 0;   ///< standard deviation of the picture's worst corner that the inliers leave, samples
};

struct MotionLimits {
    double threshold = 2.0; ///< of an inlier's distance, samples
    double noise = 0.1;     ///< least standard deviation to believe in of one point, samples
    double spread = 1.0;    ///< most standard deviation of a corner; above, a poorer kind of motion is taken
    Motion most = Motion::homography;
};

/// Fits global motions; keeps its memory. One thread at a time; deterministic.
class MotionFitter {
public:
    /// `width`, `height`: of the picture that both points lie in.
    MotionFitter(int width, int height);

    /// The richest motion that the points determine: a homography, a similarity, a translation, the identity.
    /// `guess` is tried first, before random samples.
    MotionFit fit(std::span<const Point> from, std::span<const Point> to, const MotionLimits &limits,
                  const Eigen::Matrix3d &guess = Eigen::Matrix3d::Identity());
    /// Of each point of the last fit.
    const std::vector<uint8_t> &inlier() const { return inlier_; }

private:
    struct Consensus {
        Eigen::Matrix3d matrix;
        double cost;
    };

    Consensus search(Motion motion, const Eigen::Matrix3d &guess);
    bool refine(Motion motion, Eigen::Matrix3d &matrix, double &spread);
    double cost(const Eigen::Matrix3d &matrix, double limit) const;
    bool sane(const Eigen::Matrix3d &matrix) const;
    Eigen::Matrix3d to_picture(const Eigen::Matrix3d &matrix) const;
    int mark(const Eigen::Matrix3d &matrix, double &residual);

    int width_;
    int height_;
    double scale_; ///< samples to normalised coordinates, which lie around -1..1 about the picture's centre
    double threshold_ = 0;                             ///< normalised
    double noise_ = 0;                                 ///< normalised
    std::vector<float> from_x_, from_y_, to_x_, to_y_; ///< normalised
    std::vector<uint8_t> inlier_;
};

} // namespace clv::mesh
