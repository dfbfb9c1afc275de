// SPDX-License-Identifier: BSD-2-Clause
// Patches around features, and where they lie in another picture.
//
// Inverse compositional Lucas-Kanade (Baker and Matthews, IJCV 2004) for a translation, a gain and an offset.
// The patch T and its gradient G are fixed, so with T' = T less its mean, and G' = G less its parts along 1
// and along T', all that an iteration needs of the picture J, sampled at the current place, is three sums
// over the window:
//
//     J ~ gain T(x + d) + offset   =>   <G', J> = gain H d,   <T', J> = gain <T', T'>,   H = <G', G'>
//
// Neither gain nor offset of the light moves the result. A zoom and a turn that are known (the camera's) are
// allowed for to first order: they add <G', zoom G . x + turn G . R90 x> to the first of the sums. Samples in
// a hole or outside of the picture have weight 0 in G' and T', and so are never looked at again.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "mesh/pyramid.h"

namespace clv::mesh {

/// Side of a window, and the vectors of four floats that a row of it takes.
struct Window {
    explicit Window(int wanted);
    int side;
    int half;
    int quads;
    std::vector<float> weight; ///< of a window's samples, rows as long as a patch's; 0 beyond the side
    float total = 0;           ///< sum of weight

    int floats() const { return side * quads * 4; } ///< of one of the three arrays of a patch
};

/// What of one level of a patch is not samples.
struct PatchLevel {
    float inverse[3] = {};  ///< of H: xx, xy, yy
    float energy = 0;       ///< <T', T'>
    float known[2][4] = {}; ///< <G', G . B x> of x and y for each entry of B
    float offset_x = 0;     ///< the feature's place less the patch's centre, which lies on a sample
    float offset_y = 0;
    float texture = 0; ///< smaller eigenvalue of H for each sample of the window
    bool usable = false;
};

inline constexpr int most_levels = 6;

struct Patch {
    PatchLevel level[most_levels];
};

/// Samples of `count` patches of `levels` levels: T', G'x, G'y of each.
class PatchStore {
public:
    PatchStore(const Window &window, int levels, int count)
        : window_(window), levels_(levels),
          data_(3 * static_cast<std::size_t>(window.floats()) * static_cast<std::size_t>(levels * count) +
                4) {}

    /// Three arrays of window.floats(), one after the other.
    float *at(int patch, int level) {
        return data_.data() + 3 * static_cast<std::size_t>(window_.floats()) *
                                  static_cast<std::size_t>(patch * levels_ + level);
    }

private:
    Window window_;
    int levels_;
    std::vector<float> data_;
};

/// Takes the patch of level `level` around the feature at (x, y) of level 0. Not usable without texture, or
/// where hole and border leave too little.
void take_patch(const Window &window, const PyramidLevel &from, const HolePyramid &holes, int level, float x,
                float y, PatchLevel &patch, float *samples);

/// B, row by row: what the neighbourhood of a feature went through since its patch was taken.
using Distortion = std::array<float, 4>;

struct Aligned {
    bool found = false;
    float correlation = 0; ///< of T and J, -1..1; only of level 0
};

/// Moves (x, y) of level 0 to where the patch of level `level` fits best; leaves it where that fails.
Aligned align_patch(const Window &window, const PyramidLevel &in, int level, const PatchLevel &patch,
                    const float *samples, const Distortion &distortion, float &x, float &y);

} // namespace clv::mesh
