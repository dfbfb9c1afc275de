// SPDX-License-Identifier: BSD-2-Clause
//
// The inner loops of the CPU backend: 3x3 convolutions of rows. Lanes run along x, so that every lane works
// whatever the number of channels, and the sums of G output channels at P vectors stay in registers: for each
// tap P loads, then for each output channel one broadcast of its weight and P multiply-adds.
//
//                      x ...............
//     tap           -> | v0 | v1 | .. |      acc[g][p] += v[p] * w[tap][g]
//
// G * P + P + 1 registers are alive: 27 of 32 for G = 12, P = 2 with AVX-512.
//
// Quads. Without dilation four rows are computed at once, from six, with Winograd's F(4, 3) along y (Lavin
// and Gray, arXiv:1509.09308, with its matrices): 18 multiplications in the place of 36. Along x nothing is
// transformed.
//
//     six rows d0..d5 of an input channel  ->  v = B' d, once for all output channels
//     six sums m[j] over channels and kx of  v[j] * u[j],  u = G w made when the net is opened
//     four rows  y = A' m
//
//     B' = | 4  0 -5  0  1  0 |   G = |  1/4    0    0  |   A' = | 1  1  1  1  1  0 |
//          | 0 -4 -4  1  1  0 |       | -1/6 -1/6 -1/6  |        | 0  1 -1  2 -2  0 |
//          | 0  4 -4 -1  1  0 |       | -1/6  1/6 -1/6  |        | 0  1  1  4  4  0 |
//          | 0 -2 -1  2  1  0 |       | 1/24 1/12  1/6  |        | 0  1 -1  8 -8  1 |
//          | 0  2 -1 -2  1  0 |       | 1/24 -1/12 1/6  |
//          | 0  4  0 -5  0  1 |       |   0    0    1   |
//
// All levels do the same operations in the same order: their results are the same to the last bit.
#pragma once

#include "winograd.h"

namespace clv::cpu {

constexpr int kQuad = 4;     ///< rows that are computed at once
constexpr int kQuadTaps = 6; ///< rows that they are computed from
constexpr int kStrip = 64;   ///< positions of a row that are transformed at once, so that they stay in L1
constexpr int kStripRow =
    80; ///< values of a transformed row: a strip, one more on either side, whole vectors
/// Of any level: the widest block, in positions, and the most channels.
constexpr int kMaxBlock = 64;
constexpr int kMaxGroup = 12;

/// One row of G output channels, x = first .. last - 1 in whole blocks: up to block - 1 values more are
/// written.
struct RowJob {
    const float *const *taps; ///< [cin * 3] rows of the input at x = 0, in the order ci, ky
    int tap_count;            ///< cin * 3
    int dilation;             ///< kx reads x + (kx - 1) * dilation
    const float *weights;     ///< [cin * 3][3][G]
    const float *bias;        ///< [G]
    const float *const *base; ///< [G] rows that are added; null: LeakyReLU instead
    float slope;              ///< of LeakyReLU, 0..1
    float limit;              ///< what is added to `base` lies in -limit..limit
    float *const *out;        ///< [G] rows at x = 0
    int first;
    int last;
};

/// One strip of four rows of G output channels; kStrip values of each row are written.
struct QuadJob {
    const float *strip;       ///< [6][cin][kStripRow], as transform() gives them
    int in_channels;          ///< cin
    const float *weights;     ///< [6][cin][3][G]
    const float *bias;        ///< [G]
    const float *const *base; ///< [G][4] rows that are added; null: LeakyReLU instead
    float slope;
    float limit;
    float *const *out; ///< [G][4] rows at x = 0
    int first;         ///< x of the strip
};

struct Kernel {
    int channels; ///< G
    int block;    ///< positions that row() does at once
    void (*row)(const RowJob &job);
    void (*quad)(const QuadJob &job);
};

/// The kernels of one instruction set.
struct Level {
    const char *name;
    const Kernel *kernels; ///< from most channels to one
    int count;
    /// Six rows from x = -1 of the strip on -> out[j * stride], kStripRow values each at most.
    void (*transform)(const float *const *rows, int x, float *out, int stride);
    Winograd winograd[kWidths]; ///< for kPadding, 2 kPadding .. channels
};

extern const Level kReference;
#ifdef CLARIVID_CPU_X86
extern const Level kAvx2;
extern const Level kAvx512;
#endif

/// The best level that this processor has.
const Level &best_level();
/// All levels that this processor has, the reference first; `count` is set.
const Level *const *levels(int &count);

} // namespace clv::cpu
