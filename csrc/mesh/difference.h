// SPDX-License-Identifier: BSD-2-Clause
// How much a picture differs from the one before it, as they lie: for telling cuts.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "mesh/tracker.h"

namespace clv::mesh {

/// Compares each picture with the one before. One thread at a time.
class Difference {
public:
    Difference(int width, int height);

    /// Fills in tracks.difference and tracks.histogram_correlation: what the holes of both pictures leave
    /// visible. The values of a first picture stay what they are.
    void compare(const GrayView &luma, const GrayView &hole, Tracks &tracks);
    /// The next picture is a first one.
    void reset();

private:
    int width_;
    int height_;
    bool first_ = true;
    bool histogram_known_ = false;
    std::array<float, 64> histogram_{}; ///< of the last picture that showed something
    std::vector<uint8_t> luma_;
    std::vector<uint8_t> hole_;
};

} // namespace clv::mesh
