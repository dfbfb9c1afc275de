// SPDX-License-Identifier: BSD-2-Clause
// What people who tune the filter look at.
#pragma once

#include <vector>

#include "mesh/hole.h"
#include "mesh/memory.h"
#include "mesh/mesh.h"
#include "mesh/store.h"
#include "mesh/tracker.h"

namespace clv::mesh {

/// Tints the hole red.
void show_mask(const Hole &hole, Frame &frame);
/// The grid, bent by what the mesh says beyond its homography (enlarged), and at each vertex the motion since
/// the previous picture (enlarged as well).
void show_mesh(const Mesh &mesh, Frame &frame);
/// Features with their tails: inliers green, outliers red.
void show_tracks(const std::vector<Match> &matches, const std::vector<bool> &inlier, Frame &frame);
/// The hole: green where its background was seen a moment ago, through yellow to red after kOldest pictures;
/// blue where it is yet to be seen (looking ahead), magenta where it is painted, cyan where it is diffused.
void show_age(const Hole &hole, const Memory &memory, Frame &frame);

inline constexpr int kOldest = 250;

} // namespace clv::mesh
