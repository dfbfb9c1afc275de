// SPDX-License-Identifier: BSD-2-Clause
#include "chain.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace clv::cpu {
namespace {

constexpr size_t kAlignment = 64;

int round_up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

struct Release {
    void operator()(float *memory) const { ::operator delete (memory, std::align_val_t{kAlignment}); }
};
using Memory = std::unique_ptr<float, Release>;

Memory zeros(size_t count) {
    auto *memory = static_cast<float *>(::operator new (count * sizeof(float), std::align_val_t{kAlignment}));
    std::memset(memory, 0, count * sizeof(float));
    return Memory(memory);
}

} // namespace

/// The rows that a band keeps of the input (ring 0) and of each stage but the last, which has room for the
/// end of a row of each channel.
class Chain::Scratch {
public:
    Scratch(const std::vector<Stage> &stages, int stride, int pad) : stride_(stride), pad_(pad) {
        size_t rows = 1;
        add_ring(stages[0].in_channels, 2 * stages[0].dilation + 1, rows);
        for (const Stage &stage : stages)
            add_ring(stage.out_channels, stage.kept, rows);
        memory_ = zeros(rows * static_cast<size_t>(stride));
    }

    /// x = 0 of a row of zeros, for what lies beyond the picture.
    const float *zero_row() const { return memory_.get() + pad_; }
    float *row(size_t ring, int channel, int row) const {
        const Ring &at = rings_[ring];
        return memory_.get() + (at.first + channel * at.rows + row % at.rows) * stride_ + pad_;
    }

    std::vector<const float *> taps; ///< of the row that is computed; here to be allocated once

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
};

Chain::Chain(const std::vector<Layer> &layers, float slope, int height, int width, const Level &level)
    : slope_(slope), height_(height), width_(width), channels_(layers[0].in_channels) {
    int delay = 0;
    for (const Layer &layer : layers) {
        delay += layer.dilation;
        pad_ = std::max(pad_, layer.dilation);
        stages_.push_back({layer.in_channels, layer.out_channels, layer.dilation, 1, delay, 0, {}});
        Stage &stage = stages_.back();
        for (int channel = 0; channel < layer.out_channels;) {
            const RowKernel *kernel = level.kernels;
            while (kernel->channels > layer.out_channels - channel)
                kernel++;
            Group group{kernel, channel, {}, {}};
            const int count = kernel->channels;
            for (int tap = 0; tap < layer.in_channels * 9; tap++)
                for (int g = 0; g < count; g++)
                    group.weights.push_back(
                        layer.weights[static_cast<size_t>((channel + g) * layer.in_channels * 9 + tap)]);
            group.bias.assign(layer.bias.begin() + channel, layer.bias.begin() + channel + count);
            stage.groups.push_back(std::move(group));
            channel += count;
        }
    }
    for (size_t i = stages_.size() - 1; i > 0; i--) {
        stages_[i - 1].kept = 2 * stages_[i].dilation + 1;
        stages_[i - 1].margin = stages_[i].margin + stages_[i].dilation;
    }
    pad_ = round_up(pad_, static_cast<int>(kAlignment / sizeof(float)));
    stride_ = pad_ + round_up(width + kMaxBlock + pad_, static_cast<int>(kAlignment / sizeof(float)));
}

Chain::~Chain() = default;

void Chain::run(const float *input, float *output, int first, int last) {
    std::unique_ptr<Scratch> scratch;
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            scratch = std::move(idle_.back());
            idle_.pop_back();
        }
    }
    if (!scratch)
        scratch = std::make_unique<Scratch>(stages_, stride_, pad_);

    const int reach = stages_[0].margin + stages_[0].dilation;
    const auto plane = static_cast<ptrdiff_t>(height_) * width_;
    for (int newest = first - reach; newest < last + reach; newest++) {
        if (newest >= 0 && newest < height_)
            for (int channel = 0; channel < channels_; channel++)
                std::memcpy(scratch->row(0, channel, newest),
                            input + channel * plane + ptrdiff_t{newest} * width_,
                            static_cast<size_t>(width_) * sizeof(float));
        for (size_t i = 0; i < stages_.size(); i++) {
            const Stage &stage = stages_[i];
            const int row = newest - stage.delay;
            if (row >= std::max(0, first - stage.margin) && row < std::min(height_, last + stage.margin))
                run_row(stage, row, input, output, *scratch, i);
        }
    }

    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch));
}

void Chain::run_row(const Stage &stage, int row, const float *base, float *output, Scratch &scratch,
                    size_t index) {
    auto &taps = scratch.taps;
    taps.clear();
    for (int channel = 0; channel < stage.in_channels; channel++)
        for (int ky = -1; ky <= 1; ky++) {
            const int from = row + ky * stage.dilation;
            taps.push_back(from < 0 || from >= height_ ? scratch.zero_row()
                                                       : scratch.row(index, channel, from));
        }
    const bool ends = index + 1 == stages_.size();
    const auto plane = static_cast<ptrdiff_t>(height_) * width_;
    for (const Group &group : stage.groups) {
        const float *bases[kMaxGroup];
        float *outs[kMaxGroup];
        for (int g = 0; g < group.kernel->channels; g++) {
            const int channel = group.channel + g;
            const ptrdiff_t at = channel * plane + ptrdiff_t{row} * width_;
            bases[g] = base + at;
            outs[g] = ends ? output + at : scratch.row(index + 1, channel, row);
        }
        RowJob job = {taps.data(),
                      static_cast<int>(taps.size()),
                      stage.dilation,
                      group.weights.data(),
                      group.bias.data(),
                      ends ? bases : nullptr,
                      slope_,
                      outs,
                      0,
                      width_};
        if (!ends) {
            group.kernel->run(job);
            // What a block wrote beyond the picture is not zero, as the next stage's padding has to be.
            for (int g = 0; g < group.kernel->channels; g++)
                std::fill_n(outs[g] + width_, pad_, 0.0F);
            continue;
        }
        // The picture's own rows have no room for more than they hold: the last block goes through scratch
        // memory.
        const int whole = width_ / group.kernel->block * group.kernel->block;
        job.last = whole;
        group.kernel->run(job);
        if (whole == width_)
            continue;
        const auto rest = static_cast<size_t>(width_ - whole) * sizeof(float);
        float *tails[kMaxGroup];
        for (int g = 0; g < group.kernel->channels; g++) {
            tails[g] = scratch.row(index + 1, group.channel + g, 0);
            std::memcpy(tails[g] + whole, bases[g] + whole, rest);
            bases[g] = tails[g];
        }
        job.out = tails;
        job.first = whole;
        job.last = width_;
        group.kernel->run(job);
        for (int g = 0; g < group.kernel->channels; g++)
            std::memcpy(outs[g] + whole, tails[g] + whole, rest);
    }
}

} // namespace clv::cpu
