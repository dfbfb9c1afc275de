// SPDX-License-Identifier: BSD-2-Clause
// The fill meets the picture.
#pragma once

#include <vector>

#include "mesh/hole.h"
#include "mesh/light.h"
#include "mesh/store.h"

namespace clv::mesh {

/// Puts the fill into pictures; keeps its buffers.
class Blender {
public:
    /// In `result`, a copy of `now`: samples of the hole become those of `canvas` corrected by `membrane`.
    /// Over the first `feather` samples in from the hole's border they are mixed with the picture's own. A
    /// chroma sample belongs to the hole when any sample of its block does.
    void blend(const Frame &canvas, const Membrane &membrane, const Hole &hole, int feather, Frame &result,
               pixels::ThreadPool &pool);

private:
    std::vector<uint8_t> distance_;
    std::vector<uint8_t> scratch_;
};

} // namespace clv::mesh
