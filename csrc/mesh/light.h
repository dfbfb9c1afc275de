// SPDX-License-Identifier: BSD-2-Clause
// What time does to the light: remembered samples are shown in the light of now.
#pragma once

#include <array>
#include <vector>

#include "mesh/blocks.h"
#include "mesh/diffuse.h"
#include "mesh/store.h"
#include "mesh/warp.h"

namespace clv::mesh {

using Lights = std::array<Light, 3>;

/// second(first(code)).
Lights chained(const Lights &first, const Lights &second);

/// Where two pictures are compared: a block of now, and the way from it to then, in luma samples.
struct LightPlace {
    Point way;
    int column = 0;
    int row = 0;
};

/// Fewer of them determine no light.
inline constexpr size_t kEnoughPlaces = 64;
/// Blocks on a lattice that both pictures show as background. `field` takes points of `now` to `past`.
void find_light_places(const Frame &past, const Field &field, const Frame &now,
                       std::vector<LightPlace> &places);
/// No more of them are found.
size_t most_light_places(const Shape &shape);

/// Finds how each plane's codes changed from `past` to `now`, on background that both show (origin seen),
/// with outliers left out; `field` takes points of `now` to `past`. Means and spreads are matched (a gain
/// fitted to samples that do not lie exactly on each other would come out too small). Changes that round to
/// nothing are none. Returns false, with `lights` untouched, when too little is seen in both.
bool match_lights(const Frame &past, const Field &field, const Frame &now, Lights &lights);

/// Smooth correction of what is remembered: differences on the skirt, where now's samples are seen and old
/// ones still remembered, spread over the hole. The cheap form of gradient-domain blending: the fill keeps
/// its texture and meets its surroundings. Cells of kCell x kCell blocks.
class Membrane {
public:
    static constexpr int kCell = 4;

    explicit Membrane(const Shape &shape);

    /// Zero everywhere, and nothing before it.
    void reset();
    /// `canvas` holds what is remembered, `now` the picture: their difference counts where blocks are
    /// Blocks::comparable(). `back`: from the picture to the one before, whose membrane is mixed in.
    void update(const Blocks &blocks, const Frame &canvas, const Frame &now, const Field &back);

    /// Correction of samples [first, last) of a row of a plane.
    void row(int plane, int y, int first, int last, float *to) const;
    size_t bytes() const { return 3 * 5 * sums_[0].size() * sizeof(float); }

private:
    void add_block(const Frame &canvas, const Frame &now, int column, int row);
    void spread(const Box &region, const Field &back);

    Shape shape_;
    int columns_;
    int rows_;
    bool warm_ = false; ///< whether there is a membrane of the picture before
    Box cells_;         ///< that hold something; zero elsewhere
    std::array<std::vector<float>, 3> sums_;
    std::array<std::vector<float>, 3> weights_;
    std::array<std::vector<float>, 3> surface_;
    std::array<std::vector<float>, 3> before_;
    PullPush pyramid_;
};

} // namespace clv::mesh
