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
// Lanes run along tiles, so that no value changes its lane on the way, whatever the number of channels. To
// that end rows lie in four planes, by the phase of x, and what a lane needs of six columns are six loads:
//
//     x             -1 |  0   1   2   3 |  4   5   6   7 |  8 ..       plane 0:  0  4  8 ..
//     plane, tile  3-1 | 0 0 1 0 2 0 3 0| 0 1 1 1 2 1 3 1| 0 2         plane 1:  1  5  9 ..
//                  `------ six columns of tile 0 -----'                ..
//
// Roofline, of 32 channels in and out. A position needs 9 * 32 * 32 / 4 = 2304 multiply-adds, 144 vectors of
// 16; spread() does 32 * 144 operations for the 16 positions of 16 tiles, gather() 32 * 116, together 33 a
// position. The whole net of 32 channels and two blocks: 423 vectors of multiply-adds and 105 other
// operations a position, at 1080p 0.27 G in all: 37 ms on a core that does two of them a clock at 3.7 GHz
// (Sapphire Rapids), 81 ms on one that does one (Zen 4) if nothing else overlaps.
//
// Bytes: a strip of 48 tiles, 768 positions, has 216 KiB of v, as many of m, and 144 KiB of u, which go
// through L2: v and m are written and read once, u is read, 1.3 KB a position, 9 bytes for each vector of
// multiply-adds. Of one of the 36 products, 6 KB of v stay in L1 while all of its 4 KB of u pass.
//
// Measured on Sapphire Rapids, 82 ms for the net at 1080p: multiply() 44 %, spread() 21 %, gather() 15 % and
// finish() 7 %. A call of multiply() takes 1.3 times its multiply-adds, spread() three times its operations,
// of which L2 has a third and loads across two lines of the cache a sixth.
//
// bf16 is left out. VDPBF16PS multiplies twice as much as an FMA, but Sapphire Rapids starts one every other
// clock and two FMAs every clock: half the rate. Where it starts as often as an FMA, multiply() would take
// half its instructions. Rounding u and v costs 8 dB more than a convolution in bf16 loses (simulated, 32
// channels, two blocks); f32 gives the reference's pixels.
//
// All levels do the same operations in the same order: their results are the same to the last bit.
#pragma once

#include <cstddef>

namespace clv::cpu {

constexpr int kTile = 4;      ///< positions of a tile, and planes of a row
constexpr int kTileTaps = 6;  ///< rows and columns that it is computed from
constexpr int kProducts = 36; ///< of a tile, for each pair of channels
constexpr int kOutputs = 8;   ///< output channels that are multiplied at once: channels are a multiple of it
constexpr int kMaxTiles = 48; ///< side by side, in a strip of any level
constexpr int kMaxTileLanes = 16; ///< of any level

/// Values from one channel to the next in what spread() and multiply() write: a line of the cache more than
/// its products have, lest those of all channels lie in the same few sets of it.
constexpr ptrdiff_t kChannelStep = kProducts * kMaxTiles + 16;

/// `vectors` vectors of tiles side by side.
struct SpreadJob {
    const float *const *rows; ///< [6] at channel 0, plane 0, first tile
    ptrdiff_t plane;          ///< values from a plane to the next; a channel has kTile of them
    int channels;
    int vectors;
    float *out; ///< [channels][36][kMaxTiles], channels kChannelStep apart
};

struct MultiplyJob {
    const float *values; ///< as spread() gives them
    int in_channels;
    int out_channels; ///< a multiple of kOutputs
    int vectors;
    const float *weights; ///< [36][out_channels / kOutputs][in_channels][kOutputs]
    const float *bias;    ///< [out_channels]
    float *out;           ///< [out_channels][36][kMaxTiles], likewise
};

/// LeakyReLU, and for a residual block what it is added to.
struct GatherJob {
    const float *products; ///< as multiply() gives them
    int channels;
    int vectors;
    ptrdiff_t plane;
    float slope;              ///< of LeakyReLU, 0..1
    const float *const *base; ///< [4] rows that are added, as SpreadJob::rows; null: none
    float *const *out;        ///< [4], likewise
};

/// The end: positions in their order, added to a base.
struct FinishJob {
    const float *products;
    int channels;
    int vectors;
    const float *const *base; ///< [channels][4] rows of positions
    float *const *out;        ///< [channels][4]
};

/// The kernels of one instruction set.
struct Winograd {
    int lanes;   ///< tiles of a vector
    int vectors; ///< that jobs have at most
    void (*spread)(const SpreadJob &job);
    void (*multiply)(const MultiplyJob &job);
    void (*gather)(const GatherJob &job);
    void (*finish)(const FinishJob &job);
};

} // namespace clv::cpu
