// SPDX-License-Identifier: BSD-2-Clause
//
// A chain of 3x3 convolutions with LeakyReLU between them, whose end is limited and added to its beginning,
// fused: rows of all layers are computed as soon as the rows that they need are there, four at a time, and
// only the last few of each are kept.
//
//     input     . . . . o o # # # #      columns are rows of the picture:
//     layer 0   . . . o o # # # #        # made in this step, o kept from the steps before, . forgotten
//     layer 1   . . o o # # # #
//     output    . . # # # #              1080p, 12 channels: 0.8 MB in all, which stays in the cache
//
// Memory traffic: the input is read twice (the second time as the base), the output is written once. Bands
// are independent, at the price of computing the rows at their seams twice.
#pragma once

#include <cstddef>
#include <vector>

#include "backends/lowrank_chain.h"
#include "fused.h"
#include "kernels.h"

namespace clv::cpu {

using Layer = ChainLayer;

class Chain final : public FusedNet {
public:
    /// `layers` fit each other; the last has as many channels as the first takes. `height` x `width` is the
    /// size of pictures in positions. No value changes by more than `limit`, which may be infinite.
    Chain(const std::vector<Layer> &layers, float slope, float limit, int height, int width,
          const Level &level = best_level());
    ~Chain() override;

    int out_channels() const override { return stages_.back().out_channels; }
    int scale() const override { return 1; }
    int bands() const override { return 4; }
    void run(const float *input, float *output, int first, int last) override;

private:
    /// Output channels that one kernel computes, with their weights in its order.
    struct Group {
        const Kernel *kernel;
        int channel;
        std::vector<float> weights;
        std::vector<float> bias;
    };
    struct Stage {
        int in_channels;
        int out_channels;
        int dilation;
        int kept;  ///< rows of its output that are held
        int ahead; ///< rows that it is ahead of the output
        int lead;  ///< rows above a band that are computed: four rows need six that are right, each of them
        std::vector<Group> groups;
    };
    class Scratch;
    struct Target;

    /// Of a row of the picture, in values from its start.
    ptrdiff_t at(int channel, int row) const {
        return (static_cast<ptrdiff_t>(channel) * height_ + row) * width_;
    }
    /// Whether a strip reads nothing beyond the picture's row.
    bool within(int x) const { return x > 0 && x - 1 + kStripRow <= width_; }

    static Group make_group(const Layer &layer, int channel, const Kernel &kernel);
    void load(const float *input, int first, Scratch &scratch) const;
    const float *tap(size_t ring, int channel, int row, const Scratch &scratch) const;
    void aim(const Stage &stage, int first, int rows, int x, const Target &target, Scratch &scratch) const;
    void run_quad(const Stage &stage, int first, const float *input, const Target &target,
                  Scratch &scratch) const;
    void run_rows(const Stage &stage, int first, const Target &target, Scratch &scratch) const;
    void close(const Stage &stage, int first, const Target &target, const Scratch &scratch) const;

    const Level &level_;
    std::vector<Stage> stages_;
    const float slope_;
    const float limit_;
    const int height_;
    const int width_;
    int reach_ = 0;  ///< rows that the input is ahead of the output
    int pad_ = 0;    ///< zeros left of each row
    int stride_ = 0; ///< of rows of scratch memory
    Idle<Scratch> idle_;
};

} // namespace clv::cpu
