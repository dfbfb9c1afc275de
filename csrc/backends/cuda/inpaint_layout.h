// SPDX-License-Identifier: BSD-2-Clause
//
// What the host and the kernels of the painting net must agree on: parameters and the order of weights.
// inpaint_net.cpp tells how the net is made of them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace clv::cuda::inpaint {

inline constexpr int kChannels = 6; ///< of the folded picture
inline constexpr int kTaps = 9;

// ---- convolutions 3x3
//
// A product: M = 64 positions of the output, N = 64 of its channels, K = taps x input channels in steps of
// 32, four blocks of eight channels. A step in shared memory, four of them in turn:
//
//     A    4 blocks x 64 positions x 16 bytes    gathered with the tap's shift, the stride, the doubling of
//                                                small inputs; zeros beyond the border
//     B    2 x 8 tiles x 32 lanes x 8 bytes      in the order in which lanes hold fragments
//
// Four warps, two by two: 32 positions x 32 channels each, eight products of 16x8x16 in half a step.

inline constexpr int kConvThreads = 128;
inline constexpr int kConvPositions = 64;
inline constexpr int kConvTiles = 8;      ///< of eight output channels, in a block of threads
inline constexpr int kConvStepBlocks = 4; ///< of eight input channels
inline constexpr int kConvStages = 4;
inline constexpr int kConvStepA = kConvStepBlocks * kConvPositions * 16; ///< bytes
inline constexpr int kConvStepB = kConvStepBlocks / 2 * kConvTiles * 32 * 8;
inline constexpr int kConvShared = kConvStages * (kConvStepA + kConvStepB);

/// Activations [blocks][height][width][8] of f16; `halved`: of half the height and width, each taken twice
/// both ways.
struct Source {
    const void *data;
    std::int32_t blocks;
    std::int32_t halved;
};

enum class End : std::int32_t {
    activations, ///< LeakyReLU, f16 in blocks
    gated,       ///< tiles in turn of features and gates: x + LeakyReLU(features) * sigmoid(gates)
    planes,      ///< f32 planes; from channel kChannels on through a sigmoid
    picture,     ///< f32 planes: base + value * mask
};

struct ConvParams {
    Source from[2];
    std::int32_t blocks;                ///< of both sources
    std::int32_t in_height, in_width;   ///< what the taps see: after doubling
    std::int32_t out_height, out_width; ///< in / stride, rounded up
    std::int32_t stride, dilation;
    std::int32_t steps;  ///< ceil(kTaps * blocks / kConvStepBlocks)
    std::int32_t tiles;  ///< of eight output channels
    const void *weights; ///< [groups of kConvTiles tiles][steps] of kConvStepB bytes
    const float *bias;   ///< [tiles * 8]
    float slope;
    End end;
    void *to;
    const void *x;           ///< of `gated`: activations as the result
    const float *base;       ///< of `picture`: [kChannels] planes
    const float *mask;       ///< ... one plane
    std::int32_t out_planes; ///< of `planes` and `picture`: channels that are written
};

// ---- the diffusion, in f32 planes; "sums" are kChannels planes and, behind them, how far places are known

inline constexpr int kPlaneThreads = 256;

/// in: the net's input. sums: the picture where it is known, 0 in the hole, and 1 - hole.
struct SplitParams {
    const float *in;
    float *sums;
    std::int32_t places;
};

/// Means of 2 x 2.
struct HalveParams {
    const float *from;
    float *to;
    std::int32_t height, width; ///< of `to`; `from` has twice as many
};

/// What is filled at 1/8 before its own level: means of squares of all sizes, the widest first.
struct WideParams {
    const float *sums;
    float *to;
    std::int32_t height, width;
};

// A level: a tile of 32 x 32 and as many places around as there are steps of smoothing, in shared memory, so
// that all steps are one kernel. Places near the border of that, but not of the picture, go wrong by one more
// with each step, which stops just short of the tile.
inline constexpr int kTile = 32;
inline constexpr int kMaxSmoothings = 12;
inline constexpr int kLevelThreads = 512;
constexpr int level_shared(int smoothings) {
    const int side = kTile + 2 * smoothings;
    return 4 * side * side * 4; // two turns of what is filled, and of sums: what is known, what is left open
}

struct LevelParams {
    const float *sums;
    const float *filled; ///< of the level before; `halved`: of half the size, enlarged bilinearly
    float *to;
    std::int32_t height, width, halved;
    std::int32_t smoothings;
    float factor; ///< of the trust in what is known
};

/// Means of 4 x 4 of what was filled and of the hole, as one block of activations.
struct ShrinkParams {
    const float *filled;
    const float *hole;
    void *to;
    std::int32_t height, width; ///< of `to`
};

/// The refining stage's input: guess = filled + change * hole; guess, filled, hole and edges as activations.
struct JoinParams {
    const float *filled;
    const float *hole;
    const float *change; ///< kChannels planes of a quarter of the size, and those edges behind them
    float *guess;
    void *to; ///< two blocks
    std::int32_t height, width;
};

} // namespace clv::cuda::inpaint
