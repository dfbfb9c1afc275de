// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/lowrank_plan.h"

#include <algorithm>
#include <climits>

#include "backends/cuda/lowrank_layout.h"
#include "pixels/half.h"

namespace clv::cuda::lowrank {
namespace {

/// Shared memory that a block takes of a multiprocessor beyond what it asks for (from Ampere on).
constexpr std::size_t kReserved = 1024;

/// Time of a tile on a multiprocessor of its own, in units of a row of 64 positions of an inner layer. By
/// counting instructions, to be replaced by measured ones: reading 0.8 rows, layer 1 0.9, those in the middle
/// 1, the last one 1.4; weights, barriers and the wait for the picture 4 rows in all.
double tile_cost(int layers, int rows) {
    double cost = 0.8 * rows_of(0, layers, rows) + 0.9 * rows_of(1, layers, rows) + 1.4 * rows + 4;
    for (int layer = 2; layer < layers; layer++)
        cost += rows_of(layer, layers, rows);
    return cost;
}

/// A block without a neighbour to compute while it waits takes so much longer; alone with half of the
/// threads, more so.
constexpr double kAlone = 1.2;
constexpr double kHalfAlone = 1.5;

int divide_up(int a, int b) {
    return (a + b - 1) / b;
}

std::uint32_t halves(float low, float high) {
    return pixels::f16_from_f32(low) | static_cast<std::uint32_t>(pixels::f16_from_f32(high)) << 16;
}

} // namespace

Tiling choose_tiling(int layers, int width, int height, int multiprocessors, std::size_t shared_per_block,
                     std::size_t shared_per_multiprocessor) {
    Tiling best;
    double least = 0;
    const int across = divide_up(width, tile_columns(layers));
    for (int rows = 1; rows <= height; rows++) {
        const auto shared = static_cast<std::size_t>(shared_bytes(layers, rows));
        if (shared > shared_per_block)
            break;
        // Many small blocks rather than one large, as far as the memory goes.
        const auto fitting = static_cast<int>(shared_per_multiprocessor / (shared + kReserved));
        const int blocks = std::clamp(fitting, 1, kMostParts / 2);
        const int parts = kMostParts / blocks;
        const int down = divide_up(height, rows);
        // Rounds of all that run at a time, of which the last may be half empty.
        const auto tiles = static_cast<std::int64_t>(across) * down;
        const std::int64_t slots = static_cast<std::int64_t>(blocks) * multiprocessors;
        const std::int64_t full = tiles / slots;
        const double round = blocks == 1 ? kAlone : blocks;
        const double last = tiles % slots == 0                ? 0
                            : tiles % slots > multiprocessors ? round
                            : blocks == 1                     ? kAlone
                                                              : kHalfAlone;
        const double time = tile_cost(layers, rows) * (round * static_cast<double>(full) + last);
        if (tiles <= INT_MAX && (best.rows == 0 || time < least)) {
            best = {across, down, rows, static_cast<int>(shared), parts, blocks};
            least = time;
        }
    }
    return best;
}

std::vector<std::uint32_t> arrange_weights(const std::vector<ChainLayer> &chain,
                                           const std::vector<float> &input_scale) {
    const int layers = static_cast<int>(chain.size());
    std::vector<std::uint32_t> words(static_cast<std::size_t>(chunk_count(layers)) * 32 * 4);
    for (int layer = 1; layer <= layers; layer++) {
        const ChainLayer &from = chain[static_cast<std::size_t>(layer - 1)];
        const auto weight = [&](int out, int in, int tap) {
            if (out >= from.out_channels || in >= from.in_channels)
                return 0.0F;
            const float scale = layer == 1 ? input_scale[static_cast<std::size_t>(in)] : 1.0F;
            return scale *
                   from.weights[static_cast<std::size_t>((out * from.in_channels + in) * kTaps + tap)];
        };
        const int tiles = layer == layers ? 1 : 2;
        const int blocks = layer == 1 ? 1 : 2; // of eight channels of input
        for (int lane = 0; lane < 32; lane++)
            for (int word = 0; word < words_of(layer, layers); word++) {
                // The first layer has its taps of a row in the place of the others' blocks.
                const int block = layer == 1 ? 0 : word % blocks;
                const int tile = layer == 1 ? word / 3 % tiles : word / blocks % tiles;
                const int tap = layer == 1 ? word / (3 * tiles) * 3 + word % 3 : word / (blocks * tiles);
                const int out = 8 * tile + lane / 4;
                const int in = 8 * block + lane % 4 * 2;
                const int chunk = first_chunk(layer, layers) + word / 4;
                words[static_cast<std::size_t>((chunk * 32 + lane) * 4 + word % 4)] =
                    halves(weight(out, in, tap), weight(out, in + 1, tap));
            }
    }
    return words;
}

std::vector<float> arrange_biases(const std::vector<ChainLayer> &chain) {
    std::vector<float> out(chain.size() * kMaxChannels);
    for (std::size_t i = 0; i < chain.size(); i++)
        std::copy(chain[i].bias.begin(), chain[i].bias.end(),
                  out.begin() + static_cast<std::ptrdiff_t>(i * kMaxChannels));
    return out;
}

} // namespace clv::cuda::lowrank
