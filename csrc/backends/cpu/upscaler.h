// SPDX-License-Identifier: BSD-2-Clause
//
// The net "sr_luma" (backends/sr_luma.h), fused as chain.h has it: rows of all layers are computed as soon as
// the rows that they need are there, four at a time, and of each layer six are kept.
//
//     picture   . . . . . o o # # # #      columns are rows of the picture:
//     head      . . . . o o # # # #        # made in this step, o kept from the step before, . forgotten
//     block     . . . o o # # # #          the block's own input is what its result is added to: of it
//     block     . . o o # # # #            six rows are there, of which it needs the middle four
//     tail      . . # # # #                1080p, 16 channels: 0.7 MB a layer
//
// Along these rows the layers follow each other, too, each a strip behind the one before, so that it finds
// what that has just made in L1 and L2; only the two old rows come from farther:
//
//     head      # # # # # # # .            columns are strips
//     block     # # # # # # .
//     block     # # # # # .
//     tail      # # # # .
//
// Memory traffic: the picture is read twice (the second time as the base), the output is written once. Bands
// are independent, at the price of computing the rows at their seams twice.
#pragma once

#include <cstddef>
#include <vector>

#include "backends/sr_luma.h"
#include "fused.h"
#include "kernels.h"

namespace clv::cpu {

class Upscaler final : public FusedNet {
public:
    /// `height` x `width` is the size of the luma that run() takes.
    Upscaler(const SrLuma &net, int height, int width, const Level &level = best_level());
    ~Upscaler() override;

    int out_channels() const override { return 1; }
    int scale() const override { return kSrScale; }
    int bands() const override { return 2; }
    void run(const float *input, float *output, int first, int last) override;

private:
    struct Stage {
        int in_channels; ///< padded
        int ahead = 0;   ///< rows that it is ahead of the output
        int lead = 0;    ///< rows above a band that are computed: four rows need six that are right
        std::vector<float> weights;
        std::vector<float> bias;
    };
    class Scratch;
    /// Rows of a stage that a step makes.
    struct Target;

    void make_head(const SrConv &conv);
    void make_block(const SrConv &conv);
    void make_tail(const SrConv &conv);
    void load(const float *input, int first, Scratch &scratch) const;
    Target aim(size_t index, int first, Scratch &scratch) const;
    void run_strip(size_t index, int strip, const Target &target, const float *input, float *output,
                   Scratch &scratch) const;
    void run_tail(const StripJob &strip, int first, const float *input, float *output,
                  Scratch &scratch) const;
    void clear_right(size_t ring, int first, Scratch &scratch) const;

    const int channels_; ///< padded
    const Winograd &kernels_;
    const int strip_; ///< tiles of a strip
    std::vector<Stage> stages_;
    const float slope_;
    const int height_;
    const int width_;
    const int tiles_;       ///< of a row
    const int strips_;      ///< likewise
    const ptrdiff_t plane_; ///< positions of a row, with one left of the picture and zeros right of it
    Idle<Scratch> idle_;
};

} // namespace clv::cpu
