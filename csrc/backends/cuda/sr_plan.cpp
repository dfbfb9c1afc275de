// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/sr_plan.h"

#include <algorithm>
#include <optional>

namespace clv::cuda::sr {
namespace {

// An H100 does 307 G multiply-adds a millisecond (mma.sync) and moves 3.0 GB in it: 102 a byte. By their data
// sheets A100, T4 and RTX 4090 are near that, an L4 has twice as many.
constexpr double kMultiplyAddsPerByte = 100;
constexpr double kLaunch = 5e6;         ///< 2 us
constexpr int kMaxOfMultiprocessor = 2; ///< by registers

constexpr int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

/// What a tile costs, those at the edges as any other.
struct Cost {
    double multiply_adds = 0, bytes = 0;
};

Cost cost_of_tile(const Layers &layers, const Grid &grid, int channels) {
    Cost out;
    int left = layers.convolutions();
    const auto rows = [&] { return grid.tile_height + 2 * left; };
    const auto columns = [&] { return grid.tile_width + 2 * left; };
    const auto runs = [&](int step) { return ceil_div(rows(), step) * step * ceil_div(columns(), kRun); };
    const auto add = [&](int positions, double each) { out.multiply_adds += positions * each; };
    out.bytes += rows() * columns() * (layers.head ? 4.0 : 2.0 * channels);
    if (layers.head)
        add(runs(1) * kRun, 16.0 * channels);
    for (int i = 0; i < layers.blocks; i++) {
        left--;
        add(runs(kRunRows) * kRun, 1.0 * kTaps * channels * channels);
    }
    if (layers.tail) {
        left--;
        add(runs(kRunRows) * kRun, 1.0 * kTaps * channels * kTailColumns);
    }
    // The tail reads the base again, and writes four values.
    out.bytes += rows() * columns() * (layers.tail ? 20.0 : 2.0 * channels);
    return out;
}

/// These layers with the tiles that should be the fastest.
std::optional<Step> fit(const Layers &layers, int channels, int height, int width, const Chip &chip) {
    std::optional<Step> best;
    for (int bands = 1;; bands++) {
        Step step{};
        step.layers = layers;
        step.grid = grid_of(height, width, layers, tile_rows(bands));
        step.bytes = memory_of(layers, channels, step.grid.rows).bytes;
        const auto bytes = static_cast<std::size_t>(step.bytes);
        if (bytes > chip.shared_per_block || step.grid.tile_width < 1)
            return best;
        if (step.grid.tile_height < 1)
            continue;
        step.of_multiprocessor = static_cast<int>(std::min<std::size_t>(
            kMaxOfMultiprocessor, chip.shared_per_multiprocessor / (bytes + chip.reserved)));
        if (step.of_multiprocessor < 1)
            return best;
        const Cost tile = cost_of_tile(layers, step.grid, channels);
        const double memory = kMultiplyAddsPerByte * tile.bytes;
        // One block of threads loads while the other one multiplies, if there is another.
        const double each =
            step.of_multiprocessor > 1 ? std::max(tile.multiply_adds, memory) : tile.multiply_adds + memory;
        const int rounds = ceil_div(step.grid.tiles, chip.multiprocessors * step.of_multiprocessor);
        step.time = kLaunch + rounds * step.of_multiprocessor * each;
        step.multiply_adds = tile.multiply_adds * step.grid.tiles;
        step.memory_bytes = tile.bytes * step.grid.tiles;
        if (!best || step.time < best->time)
            best = step;
        if (step.grid.tiles <= step.grid.across)
            return best; // higher tiles would have nothing more to do
    }
}

} // namespace

std::vector<Step> plan(int channels, int blocks, int height, int width, const Chip &chip) {
    const int convolutions = blocks + 1; // with the tail
    std::vector<Step> best;
    double least = 0;
    for (int launches = 1; launches <= convolutions; launches++) {
        std::vector<Step> steps;
        double time = 0;
        int first = 0;
        for (int i = 0; i < launches; i++) {
            // The tail costs the least: longer launches come last.
            const int count = convolutions / launches + (i >= launches - convolutions % launches ? 1 : 0);
            const int tail = i == launches - 1 ? 1 : 0;
            std::optional<Step> step =
                fit({count - tail, i == 0 ? 1 : 0, tail}, channels, height, width, chip);
            if (!step)
                break;
            step->first_block = first;
            first += count;
            time += step->time;
            steps.push_back(*step);
        }
        if (static_cast<int>(steps.size()) == launches && (best.empty() || time < least)) {
            best = std::move(steps);
            least = time;
        }
    }
    return best;
}

} // namespace clv::cuda::sr
