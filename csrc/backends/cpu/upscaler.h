// SPDX-License-Identifier: BSD-2-Clause
//
// The net "sr_luma" (backends/sr_luma.h), fused as chain.h has it: rows of all layers are computed as soon as
// the rows that they need are there, four at a time, and of each layer six are kept.
//
//     picture   . . . . . o o # # # #      columns are rows of the picture:
//     head      . . . . o o # # # #        # made in this step, o kept from the step before, . forgotten
//     block     . . . o o # # # #          the block's own input is what its result is added to: of it
//     block     . . o o # # # #            six rows are there, of which it needs the middle four
//     tail      . . # # # #                of each layer
//
// Of a picture's width all that would be several times what L2 holds: a band is computed in blocks of
// columns, from left to right. Each layer is a tile behind the one before, because it needs a column to the
// right, and what it needs to the left, five columns, the block before has left to it: nothing is computed
// twice.
//
//     head      | # # # # | # # # # |      columns are tiles
//     block   | # # # # | # # # # |
//     tail  | # # # # | # # # # |
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
    struct Task;

    void make_head(const SrConv &conv);
    void make_block(const SrConv &conv);
    void make_tail(const SrConv &conv);
    int block_of(int layers) const;
    /// First tile that a stage computes of a block, and that is in its ring; may lie left of the picture.
    int begin(int block, size_t stage) const { return block * block_ - static_cast<int>(stage); }
    void load(const Task &task, int first) const;
    void run_stage(const Task &task, size_t index, int first) const;
    void run_tail(const Task &task, const StripJob &strip, int first, int x) const;
    void take_ends(const Task &task, size_t ring, int first) const;
    void leave_ends(const Task &task, size_t ring, int first) const;

    const int channels_; ///< padded
    const Winograd &kernels_;
    const int strip_; ///< tiles of a strip
    std::vector<Stage> stages_;
    const float slope_;
    const int height_;
    const int width_;
    const int tiles_;  ///< of a row
    const int block_;  ///< tiles of a block
    const int blocks_; ///< of a row
    ptrdiff_t plane_;  ///< positions of a block's row, with those left and right that are only read
    Idle<Scratch> idle_;
};

} // namespace clv::cpu
