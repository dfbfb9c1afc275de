// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/motion.h"

#include <chrono>
#include <cmath>

#include "mesh/luma.h"

namespace clv::mesh {
namespace {

constexpr int kSmallest = 32; ///< side of a picture below which motion is not looked for

double milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

/// Likeness of two lists of samples whatever their light: their correlation.
struct Likeness {
    double count = 0;
    double a = 0;
    double b = 0;
    double aa = 0;
    double bb = 0;
    double ab = 0;

    void add(double x, double y) {
        count++;
        a += x;
        b += y;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    double spread_a() const { return std::sqrt(std::max(aa / count - a / count * (a / count), 0.0)); }
    double spread_b() const { return std::sqrt(std::max(bb / count - b / count * (b / count), 0.0)); }
    double correlation() const {
        return (ab / count - a / count * (b / count)) / std::max(spread_a() * spread_b(), 1e-6);
    }
};

} // namespace

Follower::Follower(const pixels::PictureFormat &format, const Grid &grid, pixels::ThreadPool &pool)
    : format_(format), pool_(pool), tracker_(format.width, format.height, TrackerOptions{}, pool),
      solver_(grid, format.width, format.height, SolverOptions{}), still_(grid, format.width, format.height),
      reduction_(tracker_.reduction()), width_(tracker_.reduced_width()), height_(tracker_.reduced_height()) {
    const size_t size = static_cast<size_t>(width_) * static_cast<size_t>(height_);
    for (auto *plane : {&luma_, &hole_, &luma_before_, &hole_before_})
        plane->assign(size, 0);
}

Motion Follower::follow(PictureOps &ops, const pixels::ConstPicture &picture, const Hole &hole) {
    Motion motion;
    motion.solution.mesh = still_;
    if (width_ < kSmallest || height_ < kSmallest)
        return motion;
    const auto start = std::chrono::steady_clock::now();
    luma_.swap(luma_before_);
    hole_.swap(hole_before_);
    reduce_mask(hole.luma.data(), format_.width, format_.width, format_.height, reduction_, hole_.data(),
                width_, pool_);
    ops.reduced_luma(picture, luma_.data()); // may have to be waited for
    const GrayView luma{luma_.data(), width_, width_, height_};
    const GrayView covered{hole_.data(), width_, width_, height_};
    motion.tracks = tracker_.advance(luma, covered);
    motion.track_ms = milliseconds_since(start);
    if (first_) {
        first_ = false;
        return motion;
    }
    const auto solving = std::chrono::steady_clock::now();
    motion.solution = solver_.solve(motion.tracks.matches);
    motion.cut = is_cut(motion.tracks, motion.solution.mesh);
    motion.solve_ms = milliseconds_since(solving);
    if (motion.cut) {
        tracker_.reset();
        solver_.reset();
        tracker_.advance(luma, covered);
        motion.solution = {};
        motion.solution.mesh = still_;
        motion.tracks.matches.clear();
    }
    return motion;
}

bool Follower::is_cut(const Tracks &tracks, const Mesh &mesh) const {
    constexpr int kLattice = 6;
    constexpr double kEnough = 50; // samples in both pictures
    constexpr double kFlat = 3;    // spread in codes that tells nothing
    Likeness likeness;
    Likeness still; // without the mesh, which may have gone astray
    for (int y = kLattice / 2; y < height_; y += kLattice)
        for (int x = kLattice / 2; x < width_; x += kLattice) {
            const size_t at = static_cast<size_t>(y) * width_ + x;
            if (hole_[at])
                continue;
            if (!hole_before_[at])
                still.add(luma_[at], luma_before_[at]);
            const auto side = static_cast<float>(reduction_);
            const Point here(static_cast<float>(x) * side + (side - 1) / 2,
                             static_cast<float>(y) * side + (side - 1) / 2);
            const Point from = mesh(here);
            const int from_x = static_cast<int>(std::floor((from.x() + 0.5F) / side));
            const int from_y = static_cast<int>(std::floor((from.y() + 0.5F) / side));
            if (from_x < 0 || from_y < 0 || from_x >= width_ || from_y >= height_)
                continue;
            const size_t there = static_cast<size_t>(from_y) * width_ + from_x;
            if (!hole_before_[there])
                likeness.add(luma_[at], luma_before_[there]);
        }
    if (still.count < kEnough)
        return false;
    const bool flat = still.spread_a() < kFlat;
    const bool flat_before = still.spread_b() < kFlat;
    if (flat && flat_before) // black to white is a cut as good as any, but there is nothing to remember
        return false;
    if (flat != flat_before) // to or from one colour, at once
        return tracks.difference > 24;
    const double alike =
        std::max(still.correlation(), likeness.count >= kEnough ? likeness.correlation() : -1.0);
    const int features = tracks.lost + static_cast<int>(tracks.matches.size());
    const double lost = features > 0 ? static_cast<double>(tracks.lost) / features : 1;
    if (alike < 0.35)
        return lost > 0.4 || tracks.histogram_correlation < 0.6F;
    return alike < 0.6 && lost > 0.6 && tracks.histogram_correlation < 0.8F;
}

} // namespace clv::mesh
