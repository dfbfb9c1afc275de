// SPDX-License-Identifier: BSD-2-Clause
// What the host works out for the kernel of the pre-encoding net.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/lowrank_chain.h"

namespace clv::cuda::lowrank {

/// How a picture is divided.
struct Tiling {
    int tiles_across = 0;
    int tiles_down = 0;
    int rows = 0;   ///< of a tile, in positions; its columns are tile_columns()
    int shared = 0; ///< bytes
    int parts = 0;  ///< of a block, kPartThreads each
    int blocks = 0; ///< that a multiprocessor holds at a time
    int tiles() const { return tiles_across * tiles_down; }
};

/// The tiling of a tensor of width x height positions that should be the fastest. Rows 0: a tile of one row
/// has no room in the shared memory.
Tiling choose_tiling(int layers, int width, int height, int multiprocessors, std::size_t shared_per_block,
                     std::size_t shared_per_multiprocessor);

/// Weights as Params::weights has them; those of the first layer times `input_scale`, one for each channel.
std::vector<std::uint32_t> arrange_weights(const std::vector<ChainLayer> &chain,
                                           const std::vector<float> &input_scale);
/// Biases as Params::bias has them.
std::vector<float> arrange_biases(const std::vector<ChainLayer> &chain);

} // namespace clv::cuda::lowrank
