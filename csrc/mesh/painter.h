// SPDX-License-Identifier: BSD-2-Clause
// What invents the background that no picture has shown.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pixels/pixels.h"

namespace clv::mesh {

/// Paints holes. One thread at a time.
class Painter {
public:
    virtual ~Painter() = default;

    /// Fills the samples of `picture` where `hole` is not 0, and leaves the others as they are.
    /// `picture`: planar 4:2:0 of the format given at construction but of any size (an excerpt around the
    /// hole); `hole`: one byte a luma sample, of the same size, `hole_stride` bytes a row. A hole that covers
    /// everything is filled with middle grey. Throws Error(CLV_ERR_INFERENCE).
    virtual void paint(const pixels::Picture &picture, int width, int height, const uint8_t *hole,
                       ptrdiff_t hole_stride) = 0;
};

} // namespace clv::mesh
