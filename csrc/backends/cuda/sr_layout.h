// SPDX-License-Identifier: BSD-2-Clause
//
// What the host and the kernel of the super-resolution net must agree on: tiles, shared memory, the order of
// weights, parameters. sr.cpp tells how the net is divided into launches and why.
//
// Activations lie in planes of eight channels, [channels/8][rows][columns][8] halves: 16 bytes a position and
// plane, so that a tile's row is read in one piece and a matrix of ldmatrix is 128 contiguous bytes.
//
// A block of threads runs the convolutions of a launch one after the other on one tile, in place. A layer's
// output is smaller than its input by one position on each side, and begins at the tile's first position
// again: row s of the output needs rows s to s + 2 of the input.
//
//      64 columns                               shared memory of clv_sr_layers_*
//      +--------+--------+--------+--------+    constants  weights and biases of the launch's layers, for
//      | warp 0 | warp 1 | warp 2 | warp 3 |               the kernel's life
//      | 4 runs, one below the other       |    tile       C/8 planes of rows x 64 x 16 bytes
//      +--------+--------+--------+--------+    picture    where the head is computed: (rows + 2) x 74
//      | warp 4 | warp 5 | warp 6 | warp 7 |               words, of two halves each
//      +--------+--------+--------+--------+
//      :            8 n + 2 rows           :
//
// A run is sixteen positions side by side. Eight rows are a band; then comes the next one. Results stay in
// registers until all warps have read what the band needs; no later band reads rows 0..7 of it, so one
// barrier is enough.
//
// A warp computes all channels of its runs. With four of them it reads six rows for twelve (three rows of
// weights each), and its weights serve 64 positions.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define CLV_SR_BOTH __host__ __device__
#else
#define CLV_SR_BOTH
#endif

namespace clv::cuda::sr {

inline constexpr int kTaps = 9;
inline constexpr int kWidth = 64;  ///< columns of a tile
inline constexpr int kRun = 16;    ///< positions: the rows (M) of a product
inline constexpr int kRunRows = 4; ///< runs of a warp in a band
inline constexpr int kColumns = kWidth / kRun;
inline constexpr int kWarps = 8;
inline constexpr int kThreads = 32 * kWarps;
inline constexpr int kBandRows = kWarps / kColumns * kRunRows;
inline constexpr int kTailColumns = 8; ///< four outputs and four columns of zeros
/// Words between rows of the picture: those that the lanes of a warp read lie in different banks.
inline constexpr int kPicturePitch = 74;
inline constexpr int kHeadRow = 4;     ///< places in the depth of the head's product for a row of three taps
inline constexpr float kCentre = 0.5F; ///< is taken from luma before the head

/// Rows of a tile that n bands fill with the output of its first layer.
CLV_SR_BOTH constexpr int tile_rows(int bands) {
    return bands * kBandRows + 2;
}

/// Of the fragments of B of a convolution. A lane has four bytes for a product of depth eight.
CLV_SR_BOTH constexpr int weight_bytes(int channels, int columns) {
    return kTaps * (channels / 8) * (columns / 8) * 128;
}
/// The same of the head: one product of depth 16.
CLV_SR_BOTH constexpr int head_bytes(int channels) {
    return channels / 8 * 256;
}

/// What a launch does: LeakyReLU(head) or activations that are there already, blocks, and perhaps the tail.
struct Layers {
    std::int32_t blocks;
    std::int32_t head, tail; ///< 1 or 0

    CLV_SR_BOTH constexpr int convolutions() const { return blocks + tail; } ///< each takes a border of one
};

/// Where things lie in shared memory, from its start; constants lie so in global memory, too. All are
/// multiples of 16.
struct Memory {
    int head, blocks, tail;               ///< weights
    int head_bias, block_bias, tail_bias; ///< float[Channels], [blocks][Channels], [kTailColumns]
    int constants;                        ///< bytes of all these
    int tile, plane, picture;
    int bytes;
};

CLV_SR_BOTH constexpr Memory memory_of(const Layers &layers, int channels, int rows) {
    Memory m{};
    m.head = 0;
    m.blocks = m.head + layers.head * head_bytes(channels);
    m.tail = m.blocks + layers.blocks * weight_bytes(channels, channels);
    m.head_bias = m.tail + layers.tail * weight_bytes(channels, kTailColumns);
    m.block_bias = m.head_bias + layers.head * channels * 4;
    m.tail_bias = m.block_bias + layers.blocks * channels * 4;
    m.constants = m.tail_bias + layers.tail * kTailColumns * 4;
    m.tile = (m.constants + 127) / 128 * 128;
    m.plane = rows * kWidth * 16;
    // The last run of the last row looks at two positions beyond it, for columns that nobody needs.
    m.picture = m.tile + channels / 8 * m.plane + 2 * 16;
    m.bytes = m.picture + layers.head * (rows + 2) * kPicturePitch * 4;
    m.bytes = (m.bytes + 15) / 16 * 16;
    return m;
}

/// The picture in positions, and how the tiles of a launch cover it.
struct Grid {
    std::int32_t height, width;
    std::int32_t pitch;                   ///< positions from a row of activations to the next
    std::int32_t rows;                    ///< of a tile in shared memory
    std::int32_t tile_height, tile_width; ///< of what comes out of it
    std::int32_t across;                  ///< tiles in a row of tiles
    std::int32_t tiles;                   ///< tiles in all
    std::int32_t backward;                ///< 1: the last tile first
    std::int64_t plane;                   ///< positions from a plane of activations to the next
};

/// The grid of a picture, those tiles at the right and lower edge not all used.
inline Grid grid_of(int height, int width, const Layers &layers, int rows) {
    Grid grid{};
    grid.height = height;
    grid.width = width;
    grid.pitch = (width + 7) / 8 * 8; // rows start at whole lines of 128 bytes
    grid.plane = static_cast<std::int64_t>(grid.pitch) * height;
    grid.rows = rows;
    grid.tile_height = rows - 2 * layers.convolutions();
    grid.tile_width = kWidth - 2 * layers.convolutions();
    if (grid.tile_height < 1 || grid.tile_width < 1)
        return grid;
    grid.across = (width + grid.tile_width - 1) / grid.tile_width;
    grid.tiles = grid.across * ((height + grid.tile_height - 1) / grid.tile_height);
    return grid;
}

/// Positions of the picture.
struct Window {
    int y, x, height, width;
};

/// What comes out of the n-th tile.
CLV_SR_BOTH inline Window window_of(const Grid &grid, int n) {
    const int tile = grid.backward ? grid.tiles - 1 - n : n;
    const int row = tile / grid.across;
    const int y = row * grid.tile_height;
    const int x = (tile - row * grid.across) * grid.tile_width;
    const int below = grid.height - y;
    const int right = grid.width - x;
    return {y, x, below < grid.tile_height ? below : grid.tile_height,
            right < grid.tile_width ? right : grid.tile_width};
}

struct LayersParams {
    Grid grid;
    Layers layers;
    Memory memory;
    const void *constants;
    const float *x; ///< luma, [height][width]: for the head, and what the tail adds to
    const void *in; ///< activations, where there is no head
    void *to;       ///< activations, where there is no tail
    float *out;     ///< [2 height][2 width], where there is one
    float slope;    ///< of LeakyReLU, 0..1
};

} // namespace clv::cuda::sr
