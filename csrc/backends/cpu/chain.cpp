// SPDX-License-Identifier: BSD-2-Clause
#include "chain.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace clv::cpu {
/// The rows that a band keeps of the input (ring 0) and of each stage, and room for what is thrown away.
class Chain::Scratch {
public:
    Scratch(const std::vector<Stage> &stages, int stride, int pad) : stride_(stride), pad_(pad) {
        size_t rows = 2;
        int most = 0;
        add_ring(stages[0].in_channels, 2 * stages[0].dilation + kQuad, rows);
        for (const Stage &stage : stages) {
            add_ring(stage.out_channels, stage.kept, rows);
            most = std::max(most, stage.in_channels);
        }
        memory_ = zeros(rows * static_cast<size_t>(stride));
        strip_ = zeros(static_cast<size_t>(kQuadTaps * most * kStripRow));
    }

    /// x = 0 of a row of zeros, for what lies beyond the picture.
    const float *zero_row() const { return memory_.get() + pad_; }
    /// A row that nobody reads.
    float *lost_row() const { return memory_.get() + stride_ + pad_; }
    float *row(size_t ring, int channel, int row) const {
        const Ring &at = rings_[ring];
        return memory_.get() + (at.first + channel * at.rows + row % at.rows) * stride_ + pad_;
    }
    float *strip() const { return strip_.get(); }

    // Of the rows that are computed; here to be allocated once.
    std::vector<const float *> taps;
    std::vector<const float *> direct; ///< the first stage's, in the input itself
    std::vector<const float *> bases;
    std::vector<float *> outs;

private:
    struct Ring {
        ptrdiff_t first;
        int rows;
    };
    void add_ring(int channels, int kept, size_t &rows) {
        rings_.push_back({static_cast<ptrdiff_t>(rows), kept});
        rows += static_cast<size_t>(channels) * static_cast<size_t>(kept);
    }

    const ptrdiff_t stride_;
    const ptrdiff_t pad_;
    std::vector<Ring> rings_;
    Memory memory_;
    Memory strip_;
};

/// Where a stage's rows go: into its ring, from which the next stage takes them, or, added to the input, into
/// the output.
struct Chain::Target {
    size_t ring;
    const float *base; ///< the input; null but for the last stage
    float *output;
    /// Values of a row that whole blocks may write. The picture's own rows have no room for more than they
    /// hold: the rest of them goes through the last stage's ring.
    int whole;
};

Chain::Group Chain::make_group(const Layer &layer, int channel, const Kernel &kernel) {
    Group group{&kernel, channel, {}, {}};
    const int count = kernel.channels;
    group.bias.assign(layer.bias.begin() + channel, layer.bias.begin() + channel + count);
    const auto weight = [&](int in, int ky, int kx, int g) {
        return layer
            .weights[static_cast<size_t>((((channel + g) * layer.in_channels + in) * 3 + ky) * 3 + kx)];
    };
    if (layer.dilation == 1) {
        for (const auto &row : kTransform)
            for (int in = 0; in < layer.in_channels; in++)
                for (int kx = 0; kx < 3; kx++)
                    for (int g = 0; g < count; g++) {
                        double sum = 0;
                        for (int ky = 0; ky < 3; ky++)
                            sum += row[ky] * static_cast<double>(weight(in, ky, kx, g));
                        group.weights.push_back(static_cast<float>(sum));
                    }
        return group;
    }
    for (int in = 0; in < layer.in_channels; in++)
        for (int ky = 0; ky < 3; ky++)
            for (int kx = 0; kx < 3; kx++)
                for (int g = 0; g < count; g++)
                    group.weights.push_back(weight(in, ky, kx, g));
    return group;
}

Chain::Chain(const std::vector<Layer> &layers, float slope, float limit, int height, int width,
             const Level &level)
    : level_(level), slope_(slope), limit_(limit), height_(height), width_(width) {
    for (const Layer &layer : layers) {
        reach_ += layer.dilation;
        pad_ = std::max(pad_, layer.dilation);
        stages_.push_back({layer.in_channels, layer.out_channels, layer.dilation, kQuad, 0, 0, {}});
        for (int channel = 0; channel < layer.out_channels;) {
            const Kernel *kernel = level.kernels;
            while (kernel->channels > layer.out_channels - channel)
                kernel++;
            stages_.back().groups.push_back(make_group(layer, channel, *kernel));
            channel += kernel->channels;
        }
    }
    for (size_t i = stages_.size() - 1; i > 0; i--) {
        stages_[i - 1].kept = 2 * stages_[i].dilation + kQuad;
        stages_[i - 1].ahead = stages_[i].ahead + stages_[i].dilation;
        stages_[i - 1].lead = round_up(stages_[i].lead + stages_[i].dilation + stages_[i - 1].ahead, kQuad) -
                              stages_[i - 1].ahead;
    }
    pad_ = round_up(pad_, kAlignedFloats);
    stride_ = pad_ + round_up(width + kMaxBlock + pad_, kAlignedFloats);
}

Chain::~Chain() = default;

void Chain::run(const float *input, float *output, int first, int last) {
    auto scratch = idle_.take([this] { return std::make_unique<Scratch>(stages_, stride_, pad_); });

    // A step makes rows top .. top + 3 of the output, and of a stage those that are `ahead` of them.
    const int before = round_up(stages_[0].lead + stages_[0].dilation + reach_, kQuad);
    for (int top = first - before; top < last; top += kQuad) {
        load(input, top + reach_, *scratch);
        for (size_t i = 0; i < stages_.size(); i++) {
            const Stage &stage = stages_[i];
            const int row = top + stage.ahead;
            if (row < first - stage.lead || row + kQuad <= 0 || row >= height_)
                continue;
            const bool ends = i + 1 == stages_.size();
            const Target target = {i + 1, ends ? input : nullptr, output,
                                   ends ? width_ / kMaxBlock * kMaxBlock : width_};
            if (stage.dilation == 1)
                run_quad(stage, row, i == 0 ? input : nullptr, target, *scratch);
            else
                run_rows(stage, row, target, *scratch);
            close(stage, row, target, *scratch);
        }
    }

    idle_.put(std::move(scratch));
}

/// Rows first .. first + 3 of the input into their ring, as far as the picture has them, and as far as the
/// first stage does not read them where they lie.
void Chain::load(const float *input, int first, Scratch &scratch) const {
    const bool edges = stages_[0].dilation == 1 && within(kStrip);
    int right = kStrip;
    while (edges && within(right))
        right += kStrip;
    for (int row = std::max(first, 0); row < std::min(first + kQuad, height_); row++)
        for (int channel = 0; channel < stages_[0].in_channels; channel++) {
            const float *from = input + at(channel, row);
            float *to = scratch.row(0, channel, row);
            if (edges) {
                std::copy_n(from, kStripRow, to);
                std::copy(from + right - 1, from + width_, to + right - 1);
            } else {
                std::copy_n(from, width_, to);
            }
        }
}

/// Where `rows` rows of all channels of a stage go from x on, and what is added to them: [channels][rows].
void Chain::aim(const Stage &stage, int first, int rows, int x, const Target &target,
                Scratch &scratch) const {
    scratch.bases.clear();
    scratch.outs.clear();
    for (int channel = 0; channel < stage.out_channels; channel++)
        for (int row = first; row < first + rows; row++) {
            const bool outside = row < 0 || row >= height_;
            float *out = outside ? scratch.lost_row() : scratch.row(target.ring, channel, row);
            const float *base = scratch.zero_row();
            if (target.base && !outside) {
                base = target.base + at(channel, row);
                if (x < target.whole) {
                    out = target.output + at(channel, row);
                } else {
                    std::memcpy(out + x, base + x, static_cast<size_t>(width_ - x) * sizeof(float));
                    base = out;
                }
            }
            scratch.bases.push_back(base);
            scratch.outs.push_back(out);
        }
}

/// Rows first .. first + 3 of a stage without dilation. `input` is set for the first one.
void Chain::run_quad(const Stage &stage, int first, const float *input, const Target &target,
                     Scratch &scratch) const {
    scratch.taps.clear();
    scratch.direct.clear();
    for (int channel = 0; channel < stage.in_channels; channel++)
        for (int row = first - 1; row <= first + kQuad; row++) {
            scratch.taps.push_back(tap(target.ring - 1, channel, row, scratch));
            const bool outside = row < 0 || row >= height_;
            scratch.direct.push_back(outside || !input ? scratch.taps.back() : input + at(channel, row));
        }

    for (int x = 0; x < width_; x += kStrip) {
        if (x == 0 || x == target.whole)
            aim(stage, first, kQuad, x, target, scratch);
        const float *const *taps = (within(x) ? scratch.direct : scratch.taps).data();
        for (int channel = 0; channel < stage.in_channels; channel++)
            level_.transform(taps + channel * kQuadTaps, x, scratch.strip() + channel * kStripRow,
                             stage.in_channels * kStripRow);
        for (const Group &group : stage.groups) {
            const int from = group.channel * kQuad;
            group.kernel->quad({scratch.strip(), stage.in_channels, group.weights.data(), group.bias.data(),
                                target.base ? scratch.bases.data() + from : nullptr, slope_, limit_,
                                scratch.outs.data() + from, x});
        }
    }
}

/// Rows first .. first + 3 of any stage, one by one.
void Chain::run_rows(const Stage &stage, int first, const Target &target, Scratch &scratch) const {
    auto &taps = scratch.taps;
    for (int row = std::max(first, 0); row < std::min(first + kQuad, height_); row++) {
        taps.clear();
        for (int channel = 0; channel < stage.in_channels; channel++)
            for (int ky = -1; ky <= 1; ky++)
                taps.push_back(tap(target.ring - 1, channel, row + ky * stage.dilation, scratch));
        for (const auto &[begin, end] : {std::pair{0, target.whole}, {target.whole, width_}}) {
            if (begin == end)
                continue;
            aim(stage, row, 1, begin, target, scratch);
            for (const Group &group : stage.groups)
                group.kernel->row({taps.data(), static_cast<int>(taps.size()), stage.dilation,
                                   group.weights.data(), group.bias.data(),
                                   target.base ? scratch.bases.data() + group.channel : nullptr, slope_,
                                   limit_, scratch.outs.data() + group.channel, begin, end});
        }
    }
}

/// Ends rows first .. first + 3: what lies right of the picture becomes the zeros that the next stage's
/// padding has to be, and the end of the output's rows goes where it belongs.
void Chain::close(const Stage &stage, int first, const Target &target, const Scratch &scratch) const {
    const auto rest = static_cast<size_t>(width_ - target.whole);
    for (int row = std::max(first, 0); row < std::min(first + kQuad, height_); row++)
        for (int channel = 0; channel < stage.out_channels; channel++) {
            const float *held = scratch.row(target.ring, channel, row);
            if (!target.base)
                std::fill_n(scratch.row(target.ring, channel, row) + width_, pad_, 0.0F);
            else
                std::copy_n(held + target.whole, rest, target.output + at(channel, row) + target.whole);
        }
}

/// A row that a stage reads: zeros beyond the picture.
const float *Chain::tap(size_t ring, int channel, int row, const Scratch &scratch) const {
    return row < 0 || row >= height_ ? scratch.zero_row() : scratch.row(ring, channel, row);
}

} // namespace clv::cpu
