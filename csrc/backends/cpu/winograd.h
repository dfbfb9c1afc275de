// SPDX-License-Identifier: BSD-2-Clause
//
// The inner loops of the upscaler: 3x3 convolutions of many channels with Winograd's F(4x4, 3x3) (Lavin and
// Gray, arXiv:1509.09308, with the matrices of kernels.h in both directions): 36 multiplications for the 16
// positions of a tile in the place of 144.
//
//     spread     v = B' d B    six rows and columns of an input channel -> 36 values, once for all outputs
//     multiply   m = sum u v   36 products of matrices, over the input channels; u = G w G' made in advance
//     gather     y = A' m A    16 positions of an output channel
//
// Lanes run along channels, which are padded to 8, 16, 24 or 32: every load and store of a position is
// aligned. Where they need more than one vector, each has a plane of its own:
//
//     row of 24 channels, AVX-512     | 16 channels of x = -1 | of 0 | of 1 | ..  | 8 of x = -1 | 8 of 0 | ..
//
// A strip of tiles goes through a layer at once. multiply() has the sums of all output channels of N tiles in
// registers, so that it can write them where it read v: 27 KiB at most, while the 36 products of u come
// from L2.
//
//     acc[tile] += v[tile][in] * u[in][all outputs]      a multiply-add takes its v from memory, for all
//     lanes
//
// Roofline, of 16 channels in and out, in vectors of 16, for a tile. multiply() has 36 * 16 = 576
// multiply-adds; spread() 124 operations and 36 stores, gather() 148 and 16. A core of Zen 4 starts one such
// multiply-add a clock, 1.7 operations where every other is an addition, and a store takes a clock of theirs
// (measured): 576 + 109 + 103 = 788 clocks, at 1080p and 3.7 GHz 28 ms. Four blocks are 110 ms, of which
// multiply() has 81; head() has 9 multiply-adds a position, 5 ms, tail() as many and a shuffle for each,
// with its transforms 15 ms: 130 ms in all.
//
// Bytes: a strip of twelve tiles takes 36 KiB of u and 19 KB of input from L2 and gives 12 KB back, 7 bytes a
// clock. With v they are more than L1 holds.
//
// Measured on Zen 4 at 1080p, beside other work: 159 ms for four blocks of 16 channels, of which multiply()
// has 51 %, spread() and gather() 24 %, tail() 13 %, head() 4 %; 354 ms for nine. A block whose input and
// output are in L1 takes 863 clocks a tile. Strips of 4, 6 and 8 tiles, or prefetching rows, gained nothing;
// to transform along y and x apart, so that a sixth of v is there at a time, took 5 % longer.
//
// bf16 is left out: rounding u and v to it costs more than a convolution in bf16 loses, and f32 gives the
// reference's pixels.
//
// All levels do the same operations in the same order: their results are the same to the last bit.
#pragma once

#include <cstddef>

namespace clv::cpu {

constexpr int kTile = 4;       ///< rows and columns of a tile
constexpr int kTileTaps = 6;   ///< rows and columns that it is computed from
constexpr int kProducts = 36;  ///< of a tile, for each pair of channels
constexpr int kPadding = 8;    ///< channels are padded to a multiple of it
constexpr int kWidths = 4;     ///< multiples of it that there are kernels for
constexpr int kQuarter = 4;    ///< channels of which the tail keeps the sum on its own
constexpr int kTailLanes = 16; ///< of the tail: quarters, and in each of them the outputs
constexpr int kTaps = 9;       ///< of a position

/// Tiles of a strip, of kPadding, 2 kPadding .. channels.
constexpr int kStripTiles[kWidths] = {12, 12, 8, 6};

/// A strip of a layer. Rows start with the position left of tile 0.
struct StripJob {
    const float *const *rows; ///< [6] of the input
    ptrdiff_t plane;          ///< positions of a row
    int first;                ///< tile, of the input
    int out_first;            ///< tile, of the output's rows
    int tiles;                ///< kStripTiles at most
    float *values;            ///< [channels / lanes][36][kStripTiles][lanes], scratch memory
    const float *weights;     ///< as the functions of Winograd say
    const float *bias;        ///< [channels]
    float slope;              ///< of LeakyReLU, 0..1
    float *const *out;        ///< [4] rows
};

/// A strip of the last layer: pixels of a tile's row go to two rows of the output.
struct TailJob {
    StripJob strip;           ///< bias: [kTailLanes]; slope and out are not read
    const float *const *base; ///< [4] rows of positions from the first tile on
    float *const *out;        ///< [4][2] rows of pixels, likewise
};

/// Positions from one row to another.
struct CopyJob {
    const float *from;
    ptrdiff_t from_plane;
    ptrdiff_t from_first;
    float *to;
    ptrdiff_t to_plane;
    ptrdiff_t to_first;
    int count;
};

/// The kernels for one number of channels.
struct Winograd {
    /// One channel -> all. Weights: [9][channels]. Whole strips are written, whatever `tiles` says.
    void (*head)(const StripJob &job);
    /// All channels -> all, LeakyReLU, added to the input. Weights: [36][channels][channels], in, then out.
    void (*block)(const StripJob &job);
    /// All channels -> 2x2 pixels, added to the base. Weights: [36][channels / 16, rounded up][k][q][output],
    /// where an input channel is the 4 q + k-th of its 16.
    void (*tail)(const TailJob &job);
    void (*copy)(const CopyJob &job);
};

} // namespace clv::cpu
