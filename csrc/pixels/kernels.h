// SPDX-License-Identifier: BSD-2-Clause
//
// The two row kernels that every conversion is made of, and the table through which they are called.
//
// A row of samples of a picture is an interleave of K rows of a tensor:
//
//     picture row   a0 b0 c0 d0 a1 b1 c1 d1 a2 b2 c2 d2 ...        (K = 4)
//     tensor rows   a0 a1 a2 ... | b0 b1 b2 ... | c0 c1 c2 ... | d0 d1 d2 ...
//
// so space-to-depth is "unpack" and depth-to-space is "pack" for all layouts:
//
//                        luma row      chroma row, planar     chroma row, semi-planar
//     s2d                K = 2         K = 1                  K = 2  (u, v)
//     d2s, scale s       K = 2s        K = s                  K = 2s (u0, v0, u1, v1, ...)
//     luma <-> tensor    K = 1
//
// Each level (reference, AVX2, AVX-512) fills the same table with results identical to the last bit: all of
// them do the same IEEE operations in the same order, nothing is contracted into an FMA.
#pragma once

#include "pixels.h"

namespace clv::pixels {

constexpr int max_scale = 4;
constexpr int max_interleave = 2 * max_scale;
constexpr int bias_period = 8; ///< of the dither pattern in positions, for every K

/// x = (float(code >> shift) - offset) / span - centre
struct UnpackParams {
    float offset;
    float span;
    float centre;
    int shift; ///< two-byte samples only: 6 for p010
};

/// One position's worth of offset + rounding threshold. Doubled, so that sixteen lanes load it at once.
using Bias = float[2 * bias_period];

/// code = clamp(floor(x * span + bias[k][i % 8]), 0, max_code) << shift, NaN -> 0
struct PackParams {
    float span;
    float max_code;
    int shift;
    const Bias *bias; ///< [K]
};

/// src: `count` * K samples; dst[k]: `count` elements each.
using UnpackRow = void (*)(const std::uint8_t *src, void *const *dst, std::ptrdiff_t count,
                           const UnpackParams &params);

/// dst: `samples` samples (not always a multiple of K: the last position may be cropped);
/// src[k]: ceil(samples / K) elements each, of which those that no sample needs may be read.
using PackRow = void (*)(std::uint8_t *dst, const void *const *src, std::ptrdiff_t samples,
                         const PackParams &params);

/// dst = src limited to low..high, NaN -> 0. For values that go on into arithmetic that is not ours.
using LimitRow = void (*)(const float *src, float *dst, std::ptrdiff_t count, float low, float high);

constexpr int element_kinds = 3; ///< Element
constexpr int sample_kinds = 2;  ///< one byte, two bytes

struct Kernels {
    const char *name;
    LimitRow limit;
    UnpackRow unpack[element_kinds][sample_kinds][3];              ///< [2]: K = 1, 2; [0] unused
    PackRow pack[element_kinds][sample_kinds][max_interleave + 1]; ///< K = 1, 2, 3, 4, 6, 8; others null
};

enum class CpuLevel : std::uint8_t { reference, avx2, avx512 };

/// The table of a level, or null when this build or this machine lacks it.
const Kernels *kernels_for(CpuLevel level);

extern const Kernels reference_kernels;
#ifdef CLARIVID_PIXELS_X86
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
#endif

} // namespace clv::pixels
