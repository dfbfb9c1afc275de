// SPDX-License-Identifier: BSD-2-Clause
//
// The net "sr_hpca" without gates (backends/sr_net.h), fused as chain.h has it: rows of all layers are
// computed as soon as the rows that they need are there, four at a time, and of each layer six are kept. A
// layer's four rows are made strip by strip, by the kernels of winograd.h.
//
//     picture   . . . . . o o # # # #      columns are rows of the picture:
//     head      . . . . o o # # # #        # made in this step, o kept from the step before, . forgotten
//     block     . . . o o # # # #          the block's own input is what its result is added to: of it
//     block     . . o o # # # #            six rows are there, of which it needs the middle four
//     tail      . . # # # #                1080p, 32 channels: 0.8 MB a layer, of which a third is read again
//                                          in the step after
//
// Memory traffic: the picture is read twice (the second time as the base), the output is written once. Bands
// are independent, at the price of computing the rows at their seams twice.
#pragma once

#include <cstddef>
#include <vector>

#include "backends/sr_net.h"
#include "fused.h"
#include "kernels.h"

namespace clv::cpu {

class Upscaler final : public FusedNet {
public:
    /// `net` has no gates. `height` x `width` is the size of pictures in positions: run() takes 6 channels
    /// and gives 24.
    Upscaler(const SrNet &net, int height, int width, const Level &level = best_level());
    ~Upscaler() override;

    int out_channels() const override { return kSrOutputChannels; }
    int bands() const override { return 2; }
    void run(const float *input, float *output, int first, int last) override;

private:
    struct Stage {
        int in_channels;
        int out_channels; ///< a multiple of kOutputs: those beyond the net's are zero
        bool residual;    ///< is added to its input
        int ahead;        ///< rows that it is ahead of the output
        int lead;         ///< rows above a band that are computed: four rows need six that are right
        std::vector<float> weights;
        std::vector<float> bias;
    };
    class Scratch;
    /// Of an image of the picture or the output in memory, in values from its start.
    ptrdiff_t at(int channel, int row) const {
        return (static_cast<ptrdiff_t>(channel) * height_ + row) * width_;
    }

    static Stage make_stage(const SrConv &conv, int in_channels, bool residual);
    void load(const float *input, int first, Scratch &scratch) const;
    void run_stage(size_t index, int first, const float *input, float *output, Scratch &scratch) const;
    void finish(int first, int tile, int vectors, const float *input, float *output, Scratch &scratch) const;
    void clear_right(size_t ring, int first, Scratch &scratch) const;

    const Winograd &kernels_;
    std::vector<Stage> stages_;
    const float slope_;
    const int height_;
    const int width_;
    const int tiles_;       ///< of a row
    const ptrdiff_t plane_; ///< values of a plane of a row, with zeros on both sides
    Idle<Scratch> idle_;
};

} // namespace clv::cpu
