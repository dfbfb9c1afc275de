// SPDX-License-Identifier: BSD-2-Clause
//
// The one inner loop of the CPU backend: a row of a 3x3 convolution, for some output channels at once.
//
// Lanes run along x, so that every lane works whatever the number of channels; a block is P vectors wide and
// its G x P sums stay in registers. For each of the 9 * cin taps: P loads, then for each output channel one
// broadcast of its weight and P multiply-adds:
//
//                      x ...............
//     taps[ci*3+ky] -> | v0 | v1 | .. |      acc[g][p] += v[p] * w[tap][kx][g]
//
// G * P + P + 1 registers are alive: 27 of 32 for G = 12, P = 2 with AVX-512. All levels do the same fused
// multiply-adds in the same order: their results are the same to the last bit.
#pragma once

#include <cstdint>

namespace clv::cpu {

/// One row of `G` output channels, x = first .. last - 1 in whole blocks: up to block - 1 values more are
/// written.
struct RowJob {
    const float *const *taps; ///< [cin * 3] rows of the input at x = 0, in the order ci, ky
    int tap_count;            ///< cin * 3
    int dilation;             ///< kx reads x + (kx - 1) * dilation
    const float *weights;     ///< [cin * 3][3][G]
    const float *bias;        ///< [G]
    const float *const *base; ///< [G] rows that are added; null: LeakyReLU instead
    float slope;              ///< of LeakyReLU, 0..1
    float *const *out;        ///< [G] rows at x = 0
    int first;
    int last;
};

struct RowKernel {
    int channels; ///< G
    int block;    ///< positions
    void (*run)(const RowJob &job);
};

/// The kernels of one instruction set, from most channels to one.
struct Level {
    const char *name;
    const RowKernel *kernels;
    int count;
};

/// Of any level: the widest block, in positions, and the most channels.
constexpr int kMaxBlock = 128;
constexpr int kMaxGroup = 12;

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
