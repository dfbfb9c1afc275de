// SPDX-License-Identifier: BSD-2-Clause
// Features in the visible background, followed from picture to picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "mesh/mesh.h"
#include "pixels/thread_pool.h"

namespace clv::mesh {

/// A view of one 8 bit plane; owns nothing.
struct GrayView {
    const uint8_t *data = nullptr;
    ptrdiff_t stride = 0;
    int width = 0;
    int height = 0;
};

/// The same feature in the previous picture and in this one, in luma samples of the full picture.
struct Match {
    Point previous;
    Point current;
    float error = 0; ///< forward-backward distance, luma samples of the full picture
    int age = 0;     ///< pictures that it has been followed for
    uint32_t id = 0;
};

struct TrackerOptions {
    int per_cell = 3;            ///< features wanted in each cell of a 16x9 grid, spread evenly
    int window = 11;             ///< side of the patch in reduced samples, odd
    int levels = 4;              ///< of the pyramid
    float backward_limit = 0.5F; ///< largest forward-backward distance in reduced samples
};

struct Tracks {
    std::vector<Match> matches; ///< none on the first picture
    int lost = 0;               ///< features of the previous picture that were not found again
    /// Mean absolute difference of the reduced luma of the visible background from the previous picture's,
    /// without motion compensation, in code values; for telling cuts.
    float difference = 0;
    /// Correlation of the two pictures' histograms of visible luma, -1..1; for telling cuts.
    float histogram_correlation = 1;
};

/// Pyramidal Lucas-Kanade (Bouguet 2001) on corners (Shi and Tomasi 1994), checked forward and backward. Each
/// feature is matched against its patch in the picture where it was found, so errors do not add up while it
/// lives; a new patch is taken when that one no longer fits. One thread at a time.
class Tracker {
public:
    /// `width`, `height`: of the full picture; `pool` must outlive the tracker.
    Tracker(int width, int height, const TrackerOptions &options, pixels::ThreadPool &pool);
    ~Tracker();

    /// `luma`: the reduced luma of reduced_width() x reduced_height(); `hole` of the same size, not 0 where
    /// nothing may be tracked, or without data for none. Both are read before this returns.
    Tracks advance(const GrayView &luma, const GrayView &hole);
    /// Forgets everything: after a cut.
    void reset();

    int reduced_width() const;
    int reduced_height() const;
    /// Full luma samples per reduced one: 1, 2, 3, 4, ...
    int reduction() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace clv::mesh
