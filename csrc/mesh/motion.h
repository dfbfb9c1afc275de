// SPDX-License-Identifier: BSD-2-Clause
// How a picture follows from the one before it.
#pragma once

#include <vector>

#include "mesh/hole.h"
#include "mesh/picture_ops.h"
#include "mesh/solver.h"
#include "mesh/tracker.h"
#include "pixels/thread_pool.h"

namespace clv::mesh {

struct Motion {
    Tracks tracks;
    Solution solution;
    bool cut = false; ///< nothing to do with the picture before
    double track_ms = 0;
    double solve_ms = 0;
};

/// Tracker, solver and the verdict on cuts. One thread at a time.
class Follower {
public:
    Follower(const pixels::PictureFormat &format, const Grid &grid, pixels::ThreadPool &pool);

    /// `picture` was given to the import() of `ops`.
    Motion follow(PictureOps &ops, const pixels::ConstPicture &picture, const Hole &hole);
    size_t bytes() const { return 4 * luma_.size(); }

private:
    bool is_cut(const Tracks &tracks, const Mesh &mesh) const;

    pixels::PictureFormat format_;
    pixels::ThreadPool &pool_;
    Tracker tracker_;
    Solver solver_;
    Mesh still_;
    int reduction_;
    int width_; ///< of the reduced picture
    int height_;
    bool first_ = true;
    std::vector<uint8_t> luma_;
    std::vector<uint8_t> hole_;
    std::vector<uint8_t> luma_before_;
    std::vector<uint8_t> hole_before_;
};

} // namespace clv::mesh
