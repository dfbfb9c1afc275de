// SPDX-License-Identifier: BSD-2-Clause
//
// A chain of 3x3 convolutions with LeakyReLU between them, whose end is added to its beginning, fused: rows
// of all layers are computed as soon as the rows that they need are there, and only the last few of each are
// kept.
//
//     input   . . . # # # |                 a band of rows, from top to bottom; |: the newest row of each
//     layer 0   . . # # #|                  #: kept, 2 * dilation + 1 rows of the layer that follows
//     layer 1     . . # |
//     output        . .|                    1080p, 12 channels: 0.3 MB in all, which stays in the cache
//
// Memory traffic: the input is read twice (the second time as the base), the output is written once. Bands
// are independent, at the price of computing the rows at their seams twice.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.h"

namespace clv::cpu {

struct Layer {
    int in_channels = 0;
    int out_channels = 0;
    int dilation = 1;
    std::vector<float> weights; ///< [out][in][3][3]
    std::vector<float> bias;    ///< [out]
};

/// Immutable but for its scratch memory; any number of threads may run it.
class Chain {
public:
    /// `layers` fit each other; the last has as many channels as the first takes. `height` x `width` is the
    /// size of pictures in positions.
    Chain(const std::vector<Layer> &layers, float slope, int height, int width,
          const Level &level = best_level());
    ~Chain();
    Chain(const Chain &) = delete;
    Chain &operator=(const Chain &) = delete;

    /// Rows first .. last - 1 of [channels, height, width].
    void run(const float *input, float *output, int first, int last);

private:
    /// Output channels that one kernel computes, with their weights in its order.
    struct Group {
        const RowKernel *kernel;
        int channel;
        std::vector<float> weights;
        std::vector<float> bias;
    };
    struct Stage {
        int in_channels;
        int out_channels;
        int dilation;
        int kept;   ///< rows of its output that the next stage needs
        int delay;  ///< rows that it is behind the input
        int margin; ///< rows beyond a band's that the stages after it need
        std::vector<Group> groups;
    };
    class Scratch;

    void run_row(const Stage &stage, int row, const float *base, float *output, Scratch &scratch,
                 size_t index);

    std::vector<Stage> stages_;
    const float slope_;
    const int height_;
    const int width_;
    int pad_ = 0;    ///< zeros left of each row
    int stride_ = 0; ///< of rows of scratch memory
    int channels_ = 0;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Scratch>> idle_;
};

} // namespace clv::cpu
