// SPDX-License-Identifier: BSD-2-Clause
#include "upscaler.h"

#include <algorithm>
#include <array>
#include <utility>

namespace clv::cpu {
namespace {

static_assert(kTile == kQuad, "bands begin on multiples of kQuad");
static_assert(kSrMaxChannels <= kWidths * kPadding);

constexpr int kKept = kTileTaps; ///< rows of a layer

/// G of Winograd's F(4, 3) in both directions, G w G': 36 products of one 3x3 kernel.
std::array<float, kProducts> transform_weights(const float *kernel) {
    std::array<float, kProducts> out;
    for (size_t i = 0; i < kProducts; i++) {
        double sum = 0;
        for (int ky = 0; ky < 3; ky++)
            for (int kx = 0; kx < 3; kx++)
                sum += kTransform[i / kTileTaps][ky] * kTransform[i % kTileTaps][kx] *
                       static_cast<double>(kernel[ky * 3 + kx]);
        out[i] = static_cast<float>(sum);
    }
    return out;
}

const float *kernel_of(const SrConv &conv, int out, int in) {
    return conv.weights.data() + (static_cast<ptrdiff_t>(out) * conv.in_channels + in) * kTaps;
}

std::vector<float> padded(const std::vector<float> &values, int count) {
    std::vector<float> out(values);
    out.resize(static_cast<size_t>(count));
    return out;
}

} // namespace

/// What a band keeps: rows of the picture (ring 0), less its centre, and of each stage but the last; a strip
/// on its way through a stage; and room for what is thrown away.
class Upscaler::Scratch {
public:
    Scratch(const std::vector<Stage> &stages, ptrdiff_t plane, int strip) : strip_(strip) {
        ptrdiff_t size = 0;
        for (const Stage &stage : stages) {
            rings_.push_back({size, row_size(stage.in_channels, plane)});
            size += kKept * rings_.back().row;
        }
        rows_ = zeros(static_cast<size_t>(size));
        nothing_ = zeros(static_cast<size_t>(rings_.back().row));
        lost_ = zeros(static_cast<size_t>(rings_.back().row));
        values_ = zeros(static_cast<size_t>(kProducts * strip * stages.back().in_channels));
        edge_ = zeros(static_cast<size_t>(kTile * (1 + kSrOutputs) * edge_row()));
    }

    float *row(size_t ring, int row) const {
        return rows_.get() + rings_[ring].first + row % kKept * rings_[ring].row;
    }
    /// Zeros, for what lies beyond the picture.
    const float *zero_row() const { return nothing_.get(); }
    /// A row that nobody reads.
    float *lost_row() const { return lost_.get(); }
    float *values() const { return values_.get(); }
    /// A strip's row of the picture, and of the output, where these have less than the strip.
    float *edge_base(int row) const { return edge_.get() + row * edge_row(); }
    float *edge_out(int row) const {
        return edge_.get() + kTile * edge_row() + static_cast<ptrdiff_t>(row) * kSrScale * edge_row();
    }

    std::vector<Target> targets; ///< here to be allocated once

private:
    struct Ring {
        ptrdiff_t first;
        ptrdiff_t row;
    };
    /// With some lines of the cache more, lest rows of one plane lie in the same sets of it.
    static ptrdiff_t row_size(int channels, ptrdiff_t plane) {
        return round_up(static_cast<int>(channels * plane), kAlignedFloats) + 7 * kAlignedFloats;
    }
    ptrdiff_t edge_row() const { return static_cast<ptrdiff_t>(strip_) * kTile; }

    const int strip_;
    std::vector<Ring> rings_;
    Memory rows_, nothing_, lost_, values_, edge_;
};

struct Upscaler::Target {
    bool wanted; ///< whether the step makes rows of this stage
    int first;
    const float *taps[kTileTaps];
    float *outs[kTile];
};

void Upscaler::make_head(const SrConv &conv) {
    Stage stage{1, 0, 0, {}, padded(conv.bias, channels_)};
    stage.weights.resize(static_cast<size_t>(kTaps * channels_));
    for (int out = 0; out < conv.out_channels; out++)
        for (int tap = 0; tap < kTaps; tap++)
            stage.weights[static_cast<size_t>(tap * channels_ + out)] = kernel_of(conv, out, 0)[tap];
    stages_.push_back(std::move(stage));
}

void Upscaler::make_block(const SrConv &conv) {
    Stage stage{channels_, 0, 0, {}, padded(conv.bias, channels_)};
    const auto product = static_cast<size_t>(channels_ * channels_);
    stage.weights.resize(kProducts * product);
    for (int out = 0; out < conv.out_channels; out++)
        for (int in = 0; in < conv.in_channels; in++) {
            const auto u = transform_weights(kernel_of(conv, out, in));
            for (size_t i = 0; i < kProducts; i++)
                stage.weights[i * product + static_cast<size_t>(in * channels_ + out)] = u[i];
        }
    stages_.push_back(std::move(stage));
}

void Upscaler::make_tail(const SrConv &conv) {
    Stage stage{channels_, 0, 0, {}, padded(conv.bias, kTailLanes)};
    const auto product = static_cast<size_t>(round_up(channels_, kTailLanes) * kSrOutputs);
    stage.weights.resize(kProducts * product);
    for (int in = 0; in < conv.in_channels; in++) {
        // Side by side: those that have the same place in their quarters.
        const int group = in / kTailLanes, quarter = in % kTailLanes / kQuarter;
        const int place = (group * kQuarter + in % kQuarter) * kTailLanes + quarter * kSrOutputs;
        for (int out = 0; out < conv.out_channels; out++) {
            const auto u = transform_weights(kernel_of(conv, out, in));
            for (size_t i = 0; i < kProducts; i++)
                stage.weights[i * product + static_cast<size_t>(place + out)] = u[i];
        }
    }
    stages_.push_back(std::move(stage));
}

Upscaler::Upscaler(const SrLuma &net, int height, int width, const Level &level)
    : channels_(round_up(net.channels, kPadding)), kernels_(level.winograd[channels_ / kPadding - 1]),
      strip_(kStripTiles[channels_ / kPadding - 1]), slope_(net.slope), height_(height), width_(width),
      tiles_((width + kTile - 1) / kTile), strips_((tiles_ + strip_ - 1) / strip_),
      plane_(round_up(strips_ * strip_ * kTile + 2, 2)) {
    make_head(net.head);
    for (const SrConv &conv : net.blocks)
        make_block(conv);
    make_tail(net.tail);
    for (size_t i = stages_.size() - 1; i > 0; i--) {
        stages_[i - 1].ahead = stages_[i].ahead + 1;
        stages_[i - 1].lead =
            round_up(stages_[i].lead + 1 + stages_[i - 1].ahead, kTile) - stages_[i - 1].ahead;
    }
}

Upscaler::~Upscaler() = default;

void Upscaler::run(const float *input, float *output, int first, int last) {
    auto scratch = idle_.take([this] { return std::make_unique<Scratch>(stages_, plane_, strip_); });
    auto &targets = scratch->targets;

    // A step makes rows top .. top + 3 of the output, and of a stage those that are `ahead` of them.
    const int reach = stages_[0].ahead + 1;
    const int before = round_up(stages_[0].lead + 1 + reach, kTile);
    const auto stages = static_cast<int>(stages_.size());
    for (int top = first - before; top < last; top += kTile) {
        load(input, top + reach, *scratch);
        targets.clear();
        for (size_t i = 0; i < stages_.size(); i++) {
            targets.push_back(aim(i, top + stages_[i].ahead, *scratch));
            targets.back().wanted = targets.back().wanted && targets.back().first >= first - stages_[i].lead;
        }
        for (int step = 0; step < strips_ + stages - 1; step++)
            for (int i = std::max(0, step - strips_ + 1); i < std::min(stages, step + 1); i++)
                run_strip(static_cast<size_t>(i), step - i, targets[static_cast<size_t>(i)], input, output,
                          *scratch);
    }

    idle_.put(std::move(scratch));
}

/// Rows first .. first + 3 of the picture.
void Upscaler::load(const float *input, int first, Scratch &scratch) const {
    for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++) {
        const float *from = input + static_cast<ptrdiff_t>(row) * width_;
        std::transform(from, from + width_, scratch.row(0, row) + 1, [](float x) { return x - kSrCentre; });
    }
}

/// Rows first .. first + 3 of a stage.
Upscaler::Target Upscaler::aim(size_t index, int first, Scratch &scratch) const {
    Target target{first + kTile > 0 && first < height_, first, {}, {}};
    for (int j = 0; j < kTileTaps; j++) {
        const int row = first - 1 + j;
        target.taps[j] = row < 0 || row >= height_ ? scratch.zero_row() : scratch.row(index, row);
    }
    for (int r = 0; r < kTile && index + 1 < stages_.size(); r++) {
        const int row = first + r;
        target.outs[r] = row < 0 || row >= height_ ? scratch.lost_row() : scratch.row(index + 1, row);
    }
    return target;
}

void Upscaler::run_strip(size_t index, int strip, const Target &target, const float *input, float *output,
                         Scratch &scratch) const {
    if (!target.wanted)
        return;
    const Stage &stage = stages_[index];
    const int tile = strip * strip_;
    const StripJob job = {target.taps,
                          plane_,
                          tile,
                          std::min(strip_, tiles_ - tile),
                          scratch.values(),
                          stage.weights.data(),
                          stage.bias.data(),
                          slope_,
                          target.outs};
    if (index + 1 == stages_.size())
        return run_tail(job, target.first, input, output, scratch);
    (index == 0 ? kernels_.head : kernels_.block)(job);
    if (strip + 1 == strips_)
        clear_right(index + 1, target.first, scratch);
}

/// The last stage's strip. Input and output have no room for more than they hold: the last strip of a row
/// goes through scratch memory.
void Upscaler::run_tail(const StripJob &strip, int first, const float *input, float *output,
                        Scratch &scratch) const {
    const int x = strip.first * kTile;
    const int wanted = strip.tiles * kTile;
    const int there = std::min(wanted, width_ - x);
    const ptrdiff_t out_width = static_cast<ptrdiff_t>(width_) * kSrScale;
    const float *bases[kTile];
    float *outs[kTile * kSrScale];
    const auto place = [&](int row) { return output + (first * kSrScale + row) * out_width + x * kSrScale; };
    const auto outside = [&](int row) { return first + row < 0 || first + row >= height_; };
    for (int r = 0; r < kTile; r++) {
        const float *base =
            outside(r) ? scratch.zero_row() : input + static_cast<ptrdiff_t>(first + r) * width_ + x;
        bases[r] = there < wanted ? std::copy_n(base, there, scratch.edge_base(r)) - there : base;
    }
    for (int r = 0; r < kTile * kSrScale; r++)
        outs[r] = outside(r / kSrScale) || there < wanted ? scratch.edge_out(r) : place(r);
    kernels_.tail({strip, bases, outs});
    if (there == wanted)
        return;
    for (int r = 0; r < kTile * kSrScale; r++)
        if (!outside(r / kSrScale))
            std::copy_n(outs[r], there * kSrScale, place(r));
}

/// What lies right of the picture becomes the zeros that the next stage's padding has to be.
void Upscaler::clear_right(size_t ring, int first, Scratch &scratch) const {
    for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++)
        kernels_.clear(scratch.row(ring, row), plane_, 1 + width_, 2 + tiles_ * kTile);
}

} // namespace clv::cpu
