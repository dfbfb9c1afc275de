// SPDX-License-Identifier: BSD-2-Clause
//
// What the host and the kernels of the super-resolution net must agree on: tiles, shared memory, the order of
// weights, parameters. sr.cpp tells how the net is divided into kernels and why.
//
// Activations lie in blocks of eight channels, [channels/8][rows][pitch][8] halves: 16 bytes a position and
// block, so that a tile's row is read in one piece and a matrix of ldmatrix is 128 contiguous bytes.
//
// A block of threads holds a tile of W x H positions with a border of one; its runs of sixteen positions are
// the rows (M) of the products:
//
//      W = 32, H = 12, 8 warps              shared memory of clv_sr_block_*
//      +--+---------------+---------------+--+    weights   9 taps x C x C halves, for the kernel's life
//      |  |            border             |  |    x         C/8 planes of (H+2) x (W+2) x 16 bytes; then y
//      +--+---------------+---------------+--+    picture   (H+4) x (W+4) x 16 bytes, where the head is
//      |  | warp 0        | warp 1        |  |              computed
//      |  |  3 runs of 16,| warp 3        |  |    sums, biases, gates
//      |  |  one below    | warp 5        |  |
//      |  |  the other    | warp 7        |  |
//      +--+---------------+---------------+--+
//
// A warp computes all channels of its runs: with three runs each of its weights is used for 48 positions, and
// shared memory moves 3 KB for 18 products of 16x8x16, in less time than tensor cores take for them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pixels/cuda/device_picture.h"

#ifdef __CUDACC__
#define CLV_SR_BOTH __host__ __device__
#else
#define CLV_SR_BOTH
#endif

namespace clv::cuda::sr {

inline constexpr int kPictureChannels = 6;
inline constexpr int kOutputChannels = 24; ///< of the tail: scale 2
inline constexpr int kGateStride = 4;      ///< a window of 3x3 at every fourth place, both ways
inline constexpr int kTaps = 9;
/// Products of depth 16 in the head: two taps of eight channels (six and two of zero) each, the tenth being
/// nothing.
inline constexpr int kHeadSteps = 5;
inline constexpr int kMaxPriors = 2;

/// A tile's sides are multiples of four, so that the gate's windows, rows 4i..4i+2, lie inside.
template <int W, int H, int Warps>
struct Tile {
    static constexpr int width = W;
    static constexpr int height = H;
    static constexpr int threads = 32 * Warps;
    static constexpr int warps = Warps;
    static constexpr int warps_across = W / 16;
    static constexpr int runs = H / (Warps / warps_across); ///< of a warp
    static constexpr int x_width = W + 2;
    static constexpr int x_height = H + 2;
    static constexpr int x_positions = x_width * x_height;
    static constexpr int picture_width = W + 4;
    static constexpr int picture_positions = picture_width * (H + 4);
    /// Between planes of the base, in values: eight banks from a plane to the next.
    static constexpr int base_plane = W * H + 8;
    static_assert(W % 16 == 0 && H % 4 == 0 && Warps % warps_across == 0 && H % (Warps / warps_across) == 0);
};
using Large = Tile<32, 12, 8>; ///< 95 KiB with 48 channels: two blocks on Hopper, one on Ada
using Medium = Tile<32, 8, 8>; ///< 80 KiB: two on an A100
using Small = Tile<16, 8, 4>;  ///< 62 KiB: one on Turing

/// Of the fragments of B, for the whole of a layer: `steps` products in depth, `columns` output channels.
CLV_SR_BOTH constexpr int weight_bytes(int steps, int columns) {
    return steps * columns / 8 * 256;
}

/// Where things lie in shared memory, from its start. All are multiples of 16.
template <class T, int Channels>
struct BlockMemory {
    static constexpr int weights = 0;
    static constexpr int x = weights + weight_bytes(kTaps * Channels / 16, Channels);
    static constexpr int x_plane = T::x_positions * 16;
    static constexpr int picture = x + Channels / 8 * x_plane;
    static constexpr int sums = picture + T::picture_positions * 16; ///< float[Channels]
    static constexpr int bias = sums + 4 * Channels;                 ///< float[Channels]
    static constexpr int head_bias = bias + 4 * Channels;            ///< float[Channels]
    static constexpr int gates = head_bias + 4 * Channels;           ///< half[kMaxPriors][Channels]
    static constexpr int last = gates + kMaxPriors * 2 * Channels;   ///< whether this block was the last
    static constexpr int bytes = last + 16;
};

template <class T, int Channels>
struct TailMemory {
    static constexpr int weights = 0;
    static constexpr int x = weights + weight_bytes(kTaps * Channels / 16, kOutputChannels);
    static constexpr int x_plane = T::x_positions * 16;
    static constexpr int base = x + Channels / 8 * x_plane;                  ///< float[6][base_plane]
    static constexpr int bias = base + kPictureChannels * T::base_plane * 4; ///< float[kOutputChannels]
    static constexpr int gates = bias + 4 * kOutputChannels;
    static constexpr int head_bias = gates + kMaxPriors * 2 * Channels;
    static constexpr int picture = head_bias + 4 * Channels; ///< where the head is computed here
    static constexpr int bytes = picture + T::picture_positions * 16;
};

/// The tensor in positions, and how tiles cover it.
struct Grid {
    std::int32_t height, width;
    std::int32_t pitch;    ///< positions from a row to the next
    std::int32_t across;   ///< tiles in a row of tiles
    std::int32_t tiles;    ///< tiles in all
    std::int32_t backward; ///< 1: the last tile first
    std::int64_t plane;    ///< positions from a block of channels to the next
};

/// The grid with tiles of this size over it, those at the right and lower edge not all used.
inline Grid tiled(Grid grid, int tile_width, int tile_height) {
    grid.across = (grid.width + tile_width - 1) / tile_width;
    grid.tiles = grid.across * ((grid.height + tile_height - 1) / tile_height);
    return grid;
}

struct Corner {
    int y, x;
};

/// The first position of the n-th tile.
CLV_SR_BOTH inline Corner corner_of(const Grid &grid, int n, int tile_width, int tile_height) {
    const int tile = grid.backward ? grid.tiles - 1 - n : n;
    const int row = tile / grid.across;
    return {row * tile_height, (tile - row * grid.across) * tile_width};
}

/// x of a layer: what is remembered, or the head of the picture, plus gated outputs of blocks.
struct Input {
    pixels::device::SourcePicture picture;
    const void *head_weights;     ///< fragments; null: x is read
    const float *head_bias;       ///< [Channels]
    const void *x;                ///< activations, when there is no head
    const void *y[kMaxPriors];    ///< activations of the blocks since
    const void *gate[kMaxPriors]; ///< half[Channels]
    std::int32_t priors;          ///< how many of them
    std::int32_t kind;            ///< pixels::device::kind_of() the picture
    float slope;                  ///< of LeakyReLU, 0..1
};

/// The gate of a block: mean |high-pass| of each channel, then two small layers.
struct Gate {
    float *partial;           ///< [blocks of threads][Channels]; null: no gate
    unsigned int *finished;   ///< blocks that are; 0 before and after
    const float *down_weight; ///< [Channels][hidden], transposed; zeros beyond the real channels
    const float *down_bias;   ///< [hidden]
    const float *up_weight;   ///< [hidden][Channels], transposed
    const float *up_bias;     ///< [Channels]
    void *out;                ///< half[Channels]
    std::int32_t hidden;
    float share; ///< 1 / windows of the picture
};

struct BlockParams {
    Grid grid;
    Input input;
    const void *weights; ///< fragments
    const float *bias;   ///< [Channels]
    void *x_out;         ///< where x is remembered, or null
    void *y_out;
    Gate gate;
};

struct TailParams {
    Grid grid;
    Input input;
    const void *weights;
    const float *bias;                 ///< [kOutputChannels]
    pixels::device::TargetPicture out; ///< of the same kind as the input
};

} // namespace clv::cuda::sr
