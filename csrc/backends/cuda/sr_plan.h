// SPDX-License-Identifier: BSD-2-Clause
// How the super-resolution net is divided into launches and tiles, worked out without a device.
#pragma once

#include <cstddef>
#include <vector>

#include "backends/cuda/sr_layout.h"

namespace clv::cuda::sr {

/// What the division depends on.
struct Chip {
    int multiprocessors = 0;
    std::size_t shared_per_block = 0;
    std::size_t shared_per_multiprocessor = 0;
    std::size_t reserved = 0; ///< of shared memory by the driver, a block
};

struct Step {
    Layers layers{};
    int first_block = 0; ///< of the net
    Grid grid{};
    int bytes = 0;             ///< of shared memory
    int of_multiprocessor = 0; ///< blocks of threads, by shared memory: 1 or 2
    double multiply_adds = 0;  ///< that tensor cores do, halos and padding included, of the whole picture
    double memory_bytes = 0;   ///< that go through L2, likewise
    double time = 0;           ///< multiply-adds of one multiprocessor that would take as long
};

/// The steps that should be the fastest; `channels` are those that the kernel computes. Empty: no tile has
/// room in the shared memory, which no device that there is has so little of.
std::vector<Step> plan(int channels, int blocks, int height, int width, const Chip &chip);

} // namespace clv::cuda::sr
