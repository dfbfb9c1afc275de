// SPDX-License-Identifier: BSD-2-Clause
// The mesh that explains how features moved.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "mesh/mesh.h"
#include "mesh/tracker.h"

namespace clv::mesh {

struct SolverOptions {
    double shape = 1.0; ///< weight of the deformation
    double time = 0.1;  ///< weight of the temporal prior
    double scale = 1.0; ///< robust scale of the reprojection error, luma samples at 720 lines
    int iterations = 4; ///< of reweighting
};

struct Solution {
    Mesh mesh;                ///< from the current picture to the previous one
    std::vector<bool> inlier; ///< of each match
    int inliers = 0;
    double residual = 0; ///< root mean square reprojection error of the inliers, luma samples
    double cost_features = 0;
    double cost_shape = 0;
    double cost_time = 0;
    /// Whether the features determine the motion; if not, the mesh is what the prior says.
    bool trusted = false;
};

/// Minimises, over the grid's vertices,
///   robust reprojection error of the features + deformation (as similar as possible: Liu et al., Content-
///   preserving warps, SIGGRAPH 2009) + distance from what the last picture's motion and the global
///   homography predict,
/// as sparse least squares, reweighted. The global homography comes first (RANSAC on normalised points,
/// refined on its inliers); with few or no features it degrades to a similarity, a translation, the identity.
/// Features that no smooth mesh explains are outliers. Motion below what can be measured is none: the mesh is
/// then exactly the identity. Deterministic. One thread at a time.
class Solver {
public:
    Solver(Grid grid, int width, int height, const SolverOptions &options);
    ~Solver();

    Solution solve(std::span<const Match> matches);
    /// Forgets the last picture's motion: after a cut.
    void reset();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace clv::mesh
