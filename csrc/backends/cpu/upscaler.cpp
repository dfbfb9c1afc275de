// SPDX-License-Identifier: BSD-2-Clause
#include "upscaler.h"

#include <algorithm>
#include <utility>

namespace clv::cpu {
namespace {

static_assert(kTile == kQuad, "bands begin on multiples of kQuad");

constexpr int kKept = kTileTaps;      ///< rows of a layer
constexpr int kLeft = kAlignedFloats; ///< zeros left of a plane, of which one is read

int channels_in_groups(int channels) {
    return round_up(channels, kOutputs);
}

/// G of Winograd's F(4, 3) in both directions, G w G': 36 products of one 3x3 kernel.
void transform_weights(const float *kernel, double (&out)[kProducts]) {
    for (int j = 0; j < kTileTaps; j++)
        for (int i = 0; i < kTileTaps; i++) {
            double sum = 0;
            for (int ky = 0; ky < 3; ky++)
                for (int kx = 0; kx < 3; kx++)
                    sum += kTransform[j][ky] * kTransform[i][kx] * static_cast<double>(kernel[ky * 3 + kx]);
            out[j * kTileTaps + i] = sum;
        }
}

} // namespace

/// What a band keeps: rows of the picture (ring 0) and of each stage but the last,
/// [row][channel][plane][tile]; a strip on its way through a stage; and room for what is thrown away.
class Upscaler::Scratch {
public:
    Scratch(const std::vector<Stage> &stages, ptrdiff_t plane) : plane_(plane) {
        int most = 0;
        ptrdiff_t size = 0;
        for (const Stage &stage : stages) {
            rings_.push_back({size, row_size(stage.in_channels)});
            size += kKept * row_size(stage.in_channels);
            most = std::max({most, stage.in_channels, stage.out_channels});
        }
        rows_ = zeros(static_cast<size_t>(size));
        nothing_ = zeros(static_cast<size_t>(row_size(most)));
        lost_ = zeros(static_cast<size_t>(row_size(most)));
        values_ = zeros(static_cast<size_t>(most * kChannelStep));
        products_ = zeros(static_cast<size_t>(most * kChannelStep));
        edge_ = zeros(static_cast<size_t>(kSrOutputChannels * kTile * kStripPositions));
    }

    /// Tile 0 of plane 0 of channel 0.
    float *row(size_t ring, int row) const {
        return rows_.get() + rings_[ring].first + row % kKept * rings_[ring].row + kLeft;
    }
    /// Zeros, for what lies beyond the picture.
    const float *zero_row() const { return nothing_.get() + kLeft; }
    /// A row that nobody reads.
    float *lost_row() const { return lost_.get() + kLeft; }
    float *values() const { return values_.get(); }
    float *products() const { return products_.get(); }
    /// A strip's row of the output where the picture has less than the strip.
    float *edge(int index) const { return edge_.get() + static_cast<ptrdiff_t>(index) * kStripPositions; }

    // Of the strip that is finished; here to be allocated once.
    std::vector<const float *> bases;
    std::vector<float *> outs;

private:
    static constexpr ptrdiff_t kStripPositions = kMaxTiles * kTile;
    struct Ring {
        ptrdiff_t first;
        ptrdiff_t row;
    };
    /// With some lines of the cache more, lest rows of one plane lie in the same sets of it.
    ptrdiff_t row_size(int channels) const { return channels * kTile * plane_ + 7 * kAlignedFloats; }

    const ptrdiff_t plane_;
    std::vector<Ring> rings_;
    Memory rows_, nothing_, lost_, values_, products_, edge_;
};

Upscaler::Stage Upscaler::make_stage(const SrConv &conv, int in_channels, bool residual) {
    const int out_channels = channels_in_groups(conv.out_channels);
    Stage stage{in_channels, out_channels, residual, 0, 0, {}, {}};
    stage.bias.assign(static_cast<size_t>(out_channels), 0.0F);
    std::copy(conv.bias.begin(), conv.bias.end(), stage.bias.begin());
    const auto product = static_cast<size_t>(out_channels) * static_cast<size_t>(in_channels);
    stage.weights.assign(kProducts * product, 0.0F);
    for (int out = 0; out < conv.out_channels; out++)
        for (int in = 0; in < conv.in_channels; in++) {
            double u[kProducts];
            transform_weights(conv.weights.data() + (out * conv.in_channels + in) * 9, u);
            const auto place =
                static_cast<size_t>((out / kOutputs * in_channels + in) * kOutputs + out % kOutputs);
            for (size_t i = 0; i < kProducts; i++)
                stage.weights[i * product + place] = static_cast<float>(u[i]);
        }
    return stage;
}

Upscaler::Upscaler(const SrNet &net, int height, int width, const Level &level)
    : kernels_(level.winograd), slope_(net.slope), height_(height), width_(width),
      tiles_((width + kTile - 1) / kTile), plane_(kLeft + round_up(tiles_ + 1, kMaxTileLanes)) {
    stages_.push_back(make_stage(net.head, net.head.in_channels, false));
    for (const SrConv &block : net.blocks)
        stages_.push_back(make_stage(block, stages_.back().out_channels, true));
    stages_.push_back(make_stage(net.tail, stages_.back().out_channels, false));
    for (size_t i = stages_.size() - 1; i > 0; i--) {
        stages_[i - 1].ahead = stages_[i].ahead + 1;
        stages_[i - 1].lead =
            round_up(stages_[i].lead + 1 + stages_[i - 1].ahead, kTile) - stages_[i - 1].ahead;
    }
}

Upscaler::~Upscaler() = default;

void Upscaler::run(const float *input, float *output, int first, int last) {
    auto scratch = idle_.take([this] { return std::make_unique<Scratch>(stages_, plane_); });

    // A step makes rows top .. top + 3 of the output, and of a stage those that are `ahead` of them.
    const int reach = stages_[0].ahead + 1;
    const int before = round_up(stages_[0].lead + 1 + reach, kTile);
    for (int top = first - before; top < last; top += kTile) {
        load(input, top + reach, *scratch);
        for (size_t i = 0; i < stages_.size(); i++) {
            const int row = top + stages_[i].ahead;
            if (row >= first - stages_[i].lead && row + kTile > 0 && row < height_)
                run_stage(i, row, input, output, *scratch);
        }
    }

    idle_.put(std::move(scratch));
}

/// Rows first .. first + 3 of the picture, in planes.
void Upscaler::load(const float *input, int first, Scratch &scratch) const {
    for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++)
        for (int channel = 0; channel < stages_[0].in_channels; channel++) {
            const float *from = input + at(channel, row);
            float *to = scratch.row(0, row) + channel * kTile * plane_;
            const int whole = width_ / kTile;
            for (int tile = 0; tile < whole; tile++, from += kTile)
                for (int x = 0; x < kTile; x++)
                    to[x * plane_ + tile] = from[x];
            for (int x = 0; x < width_ % kTile; x++)
                to[x * plane_ + whole] = from[x];
        }
}

/// Rows first .. first + 3 of a stage.
void Upscaler::run_stage(size_t index, int first, const float *input, float *output, Scratch &scratch) const {
    const Stage &stage = stages_[index];
    const bool ends = index + 1 == stages_.size();
    const float *taps[kTileTaps];
    for (int j = 0; j < kTileTaps; j++) {
        const int row = first - 1 + j;
        taps[j] = row < 0 || row >= height_ ? scratch.zero_row() : scratch.row(index, row);
    }
    float *outs[kTile];
    for (int r = 0; r < kTile && !ends; r++)
        outs[r] =
            first + r < 0 || first + r >= height_ ? scratch.lost_row() : scratch.row(index + 1, first + r);

    for (int tile = 0; tile < tiles_;) {
        const int left = (tiles_ - tile + kernels_.lanes - 1) / kernels_.lanes;
        const int vectors = std::min(kernels_.vectors, left);
        const float *from[kTileTaps];
        std::transform(taps, taps + kTileTaps, from, [&](const float *row) { return row + tile; });
        kernels_.spread({from, plane_, stage.in_channels, vectors, scratch.values()});
        kernels_.multiply({scratch.values(), stage.in_channels, stage.out_channels, vectors,
                           stage.weights.data(), stage.bias.data(), scratch.products()});
        if (ends) {
            finish(first, tile, vectors, input, output, scratch);
        } else {
            float *to[kTile];
            std::transform(outs, outs + kTile, to, [&](float *row) { return row + tile; });
            kernels_.gather({scratch.products(), stage.out_channels, vectors, plane_, slope_,
                             stage.residual ? from + 1 : nullptr, to});
        }
        tile += vectors * kernels_.lanes;
    }
    if (!ends)
        clear_right(index + 1, first, scratch);
}

/// The last stage's strip, from its products into the output. The picture's own rows have no room for more
/// than they hold: the last strip of a row goes through scratch memory.
void Upscaler::finish(int first, int tile, int vectors, const float *input, float *output,
                      Scratch &scratch) const {
    const int x = tile * kTile;
    const int wanted = vectors * kernels_.lanes * kTile;
    const int there = std::min(wanted, width_ - x);
    scratch.bases.clear();
    scratch.outs.clear();
    for (int channel = 0; channel < kSrOutputChannels; channel++)
        for (int row = first; row < first + kTile; row++) {
            float *edge = scratch.edge(channel * kTile + row - first);
            const bool outside = row < 0 || row >= height_;
            const float *base = outside ? scratch.zero_row() : input + at(sr_base_channel(channel), row) + x;
            if (!outside && there < wanted)
                base = std::copy_n(base, there, edge) - there;
            scratch.bases.push_back(base);
            scratch.outs.push_back(outside || there < wanted ? edge : output + at(channel, row) + x);
        }
    kernels_.finish(
        {scratch.products(), kSrOutputChannels, vectors, scratch.bases.data(), scratch.outs.data()});
    if (there == wanted)
        return;
    for (int channel = 0; channel < kSrOutputChannels; channel++)
        for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++)
            std::copy_n(scratch.edge(channel * kTile + row - first), there, output + at(channel, row) + x);
}

/// What lies right of the picture becomes the zeros that the next stage's padding has to be.
void Upscaler::clear_right(size_t ring, int first, Scratch &scratch) const {
    for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++)
        for (int plane = 0; plane < stages_[ring].in_channels * kTile; plane++) {
            float *values = scratch.row(ring, row) + plane * plane_;
            const int there = (width_ - plane % kTile + kTile - 1) / kTile;
            std::fill(values + there, values + plane_ - kLeft, 0.0F);
        }
}

} // namespace clv::cpu
