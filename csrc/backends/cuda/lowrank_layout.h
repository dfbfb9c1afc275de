// SPDX-License-Identifier: BSD-2-Clause
//
// What the host and the kernel of the pre-encoding net must agree on: tiles, shared memory, the order of
// weights, parameters. lowrank.cu tells why.
//
//      a tile, three layers                     positions of a row     of a column    shared memory
//      +--------------------------------+
//      | picture     x0-4 ...           |       68, 4 more at x0       rows + 6       1 block of 8 channels
//      |  +--------------------------+  |
//      |  | layer 1     x0-2         |  |       64                     rows + 4       2 blocks
//      |  |  +--------------------+  |  |
//      |  |  | layer 2     x0-1   |  |  |       64, 62 of them right   rows + 2       2 blocks
//      |  |  |  +--------------+  |  |  |
//      |  |  |  | layer 3  x0  |  |  |  |       64, 60 of them right   rows           the picture that is
//      written
//
// Every layer computes 64 positions of a row, four runs of 16, so that each is a matrix of a product. Those
// on the right of a layer of which the layer before has not all neighbours are wrong, and nothing that is
// written depends on them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pixels/cuda/device_picture.h"

#ifdef __CUDACC__
#define CLV_LOWRANK_BOTH __host__ __device__
#else
#define CLV_LOWRANK_BOTH
#endif

namespace clv::cuda::lowrank {

inline constexpr int kMinLayers = 2;
inline constexpr int kMaxLayers = 4;
inline constexpr int kMaxChannels = 16; ///< of inner layers: two blocks of eight
inline constexpr int kPictureChannels = 6;
inline constexpr int kTaps = 9;

/// Knobs. The threads of a multiprocessor, in one block or in some: its 65536 registers are 128 for each of
/// 512, of which the compiler takes 94 to 126; with 640 it still spills nothing, with 768 a few. kRun:
/// positions that a thread reads at once, 2 or 4. How tiles are chosen: lowrank_plan.cpp.
inline constexpr int kMostThreads = 512;
inline constexpr int kRun = 4;

inline constexpr int kColumns = 64;
inline constexpr int kColumnsOfWarp = 16;
inline constexpr int kGroups = kColumns / kColumnsOfWarp;
inline constexpr int kPartThreads = 32 * kGroups; ///< of a block; each part has a share of the rows
inline constexpr int kMostParts = kMostThreads / kPartThreads;

inline constexpr int kPosition = 16; ///< bytes of a block of eight channels at a position
inline constexpr int kLeft = 4;      ///< columns of the picture on the left of a tile
inline constexpr int kPicturePitch = kLeft + kColumns;
inline constexpr int kPictureRow = kPicturePitch * kPosition;
inline constexpr int kBlockRow = kColumns * kPosition;
inline constexpr int kHiddenRow = 2 * kBlockRow; ///< [row][block][column][8 channels]
/// Behind a buffer: a run's right neighbours in its last row, which are read and count for nothing.
inline constexpr int kSlack = 128;

/// Positions across that a tile writes: what is left of 64 by all layers but the first, in multiples of four,
/// so that what a thread reads at once is aligned.
CLV_LOWRANK_BOTH constexpr int tile_columns(int layers) {
    return (kColumns - 2 * (layers - 1)) / 4 * 4;
}

/// Rows of a layer's output, layer 0 being the picture.
CLV_LOWRANK_BOTH constexpr int rows_of(int layer, int layers, int rows) {
    return rows + 2 * (layers - layer);
}

// Shared memory: the picture, then the outputs of inner layers in two buffers in turn.
CLV_LOWRANK_BOTH constexpr int buffer_at(int layer, int layers, int rows) {
    const int picture = rows_of(0, layers, rows) * kPictureRow + kSlack;
    const int first = rows_of(1, layers, rows) * kHiddenRow + kSlack;
    return layer == 0 ? 0 : layer % 2 == 1 ? picture : picture + first;
}
CLV_LOWRANK_BOTH constexpr int shared_bytes(int layers, int rows) {
    const int last = layers > 2 ? 2 : 1;
    return buffer_at(last, layers, rows) + rows_of(last, layers, rows) * kHiddenRow + kSlack;
}

// Weights, in the order in which lanes need them, sixteen bytes each at a time: [chunk][lane][4] words of two
// halves, from a whole chunk on for each layer.
CLV_LOWRANK_BOTH constexpr int words_of(int layer, int layers) {
    const int tiles = layer == layers ? 1 : 2;             // of eight channels of output
    return layer == 1 ? 3 * 3 * tiles : kTaps * 2 * tiles; // the first: three steps of k = 8 a row of taps
}
CLV_LOWRANK_BOTH constexpr int chunks_of(int layer, int layers) {
    return (words_of(layer, layers) + 3) / 4;
}
CLV_LOWRANK_BOTH constexpr int first_chunk(int layer, int layers) {
    int sum = 0;
    for (int i = 1; i < layer; i++)
        sum += chunks_of(i, layers);
    return sum;
}
CLV_LOWRANK_BOTH constexpr int chunk_count(int layers) {
    return first_chunk(layers + 1, layers);
}

struct Params {
    pixels::device::SourcePicture in;
    pixels::device::TargetPicture out;
    const void *weights; ///< [chunk_count][32][4] words
    const float *bias;   ///< [layers][kMaxChannels]
    std::int32_t width;  ///< of the tensor, in positions
    std::int32_t height;
    std::int32_t tiles_across;
    std::int32_t rows; ///< of a tile
    std::int32_t kind; ///< pixels::device::kind_of
    std::int32_t dither;
    float slope; ///< of LeakyReLU
    float limit; ///< of a value's change, before the strength
    float strength;
    // The picture is kept as (code - middle) * unit, unit being 1 / 2^bits: exact in a half.
    float unit;
    float middle[2];    ///< (middle - offset) * unit, of luma and of chroma
    float from_kept[2]; ///< times this are the net's values
};

} // namespace clv::cuda::lowrank
