// SPDX-License-Identifier: BSD-2-Clause
// What the kernels around a painting net take (excerpt.cu); the geometry is that of core/excerpt.h.
#pragma once

#include <cstdint>

namespace clv::cuda::excerpt {

inline constexpr int kAcross = 32; ///< threads of a block
inline constexpr int kDown = 8;

/// code = value * span + offset
struct Scale {
    float span;
    float offset;
};

struct Params {
    std::uint8_t *plane[3];
    std::int64_t stride[3];
    std::int32_t width, height; ///< of the picture, in luma samples
    std::int32_t two_bytes;     ///< samples are uint16_t
    const std::uint8_t *hole;   ///< a byte a luma sample
    std::int64_t hole_stride;

    std::int32_t left, top; ///< where the net looks
    double step;
    std::int32_t rows, columns;     ///< of the net's tensors
    void *in;                       ///< [7][rows][columns]
    const void *out;                ///< [6][rows][columns]
    std::int32_t in_half, out_half; ///< f16
    std::uint32_t *seen;            ///< 1 when the net sees anything that is known; 0 before

    std::int32_t x0, y0, x1, y1; ///< around the hole, in luma samples; even at x0 and y0
    Scale luma, chroma;
    float max_code;
};

} // namespace clv::cuda::excerpt
