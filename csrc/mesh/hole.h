// SPDX-License-Identifier: BSD-2-Clause
// Which samples of a picture are to vanish.
#pragma once

#include <cstdint>
#include <vector>

#include "clarivid/clarivid.h"
#include "mesh/store.h"

namespace clv::mesh {

/// The hole of one picture. Buffers keep their size from picture to picture.
struct Hole {
    explicit Hole(const Shape &shape);

    std::vector<uint8_t> luma; ///< 1 in the hole, dilated; width x height
    Box box;                   ///< that the hole lies in, in luma samples; empty when there is none
    Box region;                ///< that hole and skirt lie in, in blocks
    int64_t samples = 0;       ///< of luma in the hole
    size_t bytes() const { return luma.size() + scratch_.size(); }

    /// Reads `mask` (stretched over the picture, nearest sample), grows it by `dilate` samples on every side
    /// (a square), and writes the frame's origins: unknown for blocks with a sample of the hole, skirt for
    /// those within `skirt` blocks of one, else seen. `mask` may be null.
    void read(const clv_mask *mask, int dilate, int skirt, Frame &frame);

private:
    std::vector<uint8_t> scratch_;
};

/// Grows the ones among width x height bytes of 0 and 1 by `radius` to every side; exact. `box` holds them,
/// and is grown along. `scratch` has as many bytes.
void dilate(uint8_t *bytes, int width, int height, int radius, Box &box, uint8_t *scratch);

/// Steps (also diagonal ones) to the nearest sample outside of the hole: 1 at its border, at most `limit`;
/// the picture's border is no border of the hole. Written for the samples of `box`, row by row of
/// box.width().
void distance_inside(const uint8_t *hole, int width, int height, const Box &box, int limit, uint8_t *distance,
                     std::vector<uint8_t> &scratch);

} // namespace clv::mesh
