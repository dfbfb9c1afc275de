// SPDX-License-Identifier: BSD-2-Clause
#include "upscaler.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

namespace clv::cpu {
namespace {

static_assert(kTile == kQuad, "bands begin on multiples of kQuad");
static_assert(kSrMaxChannels <= kWidths * kPadding);

constexpr int kKept = kTileTaps;     ///< rows of a layer
constexpr int kEnd = 1 + kTile;      ///< positions that the next block needs of a row
constexpr int kBlockBytes = 1 << 19; ///< of what is kept of a block: half of the smallest L2

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

/// What a band keeps: rows of the picture (ring 0), and of each stage but the last, of one
/// block; the ends of their rows for the next block; a strip on its way through a stage; and room for what is
/// thrown away.
class Upscaler::Scratch {
public:
    Scratch(const std::vector<Stage> &stages, ptrdiff_t plane, int strip) : strip_(strip) {
        ptrdiff_t size = 0;
        for (const Stage &stage : stages) {
            rings_.push_back({size, row_size(stage.in_channels, plane)});
            size += kKept * rings_.back().row;
        }
        end_ = kEnd * stages.back().in_channels;
        above_ = stages[0].lead + kTile;
        rows_ = zeros(static_cast<size_t>(size));
        nothing_ = zeros(static_cast<size_t>(rings_.back().row));
        grey_ = zeros(static_cast<size_t>(plane));
        std::fill_n(grey_.get(), plane, kSrCentre);
        lost_ = zeros(static_cast<size_t>(rings_.back().row));
        values_ = zeros(static_cast<size_t>(kProducts * strip * stages.back().in_channels));
        edge_ = zeros(static_cast<size_t>(kTile * (1 + kSrOutputs) * edge_row()));
    }

    /// Makes room for the ends of a band's rows: of a stage, those that are ahead, too.
    void start(int first, int last, int ahead) {
        first_ = first - above_;
        height_ = last + ahead + kTile - first_;
        ends_.resize(rings_.size() * static_cast<size_t>(height_) * static_cast<size_t>(end_));
    }

    float *row(size_t ring, int row) const {
        return rows_.get() + rings_[ring].first + row % kKept * rings_[ring].row;
    }
    float *end(size_t ring, int row) {
        return ends_.data() + (static_cast<ptrdiff_t>(ring) * height_ + row - first_) * end_;
    }
    /// What lies beyond the picture: in ring 0 what becomes zero when the centre is taken from it.
    const float *row_beyond(size_t ring) const { return ring == 0 ? grey_.get() : zero_row(); }
    const float *zero_row() const { return nothing_.get(); }
    /// A row that nobody reads.
    float *lost_row() const { return lost_.get(); }
    float *values() const { return values_.get(); }
    /// A strip's row of the picture, and of the output, where these have less than the strip.
    float *edge_base(int row) const { return edge_.get() + row * edge_row(); }
    float *edge_out(int row) const {
        return edge_.get() + kTile * edge_row() + static_cast<ptrdiff_t>(row) * kSrScale * edge_row();
    }

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
    Memory rows_, nothing_, grey_, lost_, values_, edge_;
    std::vector<float> ends_;
    ptrdiff_t end_;  ///< values of a row's end
    int above_;      ///< rows above a band, at most
    int first_ = 0;  ///< row of the ends
    int height_ = 0; ///< and how many they are of
};

/// A block's part of a band.
struct Upscaler::Task {
    const float *input;
    float *output;
    int block;
    Scratch &scratch;
};

void Upscaler::make_head(const SrConv &conv) {
    Stage stage{1, 0, 0, {}, padded(conv.bias, channels_)};
    stage.weights.resize(static_cast<size_t>(kTaps * channels_));
    for (int out = 0; out < conv.out_channels; out++) {
        const float *kernel = kernel_of(conv, out, 0);
        for (int tap = 0; tap < kTaps; tap++)
            stage.weights[static_cast<size_t>(tap * channels_ + out)] = kernel[tap];
        // w (x - c) + b = w x + (b - w c)
        const double centre = std::accumulate(kernel, kernel + kTaps, 0.0) * static_cast<double>(kSrCentre);
        float &bias = stage.bias[static_cast<size_t>(out)];
        bias = static_cast<float>(static_cast<double>(bias) - centre);
    }
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

/// Tiles of a block, whole strips: as many as half of L2 holds, in blocks of about the same size.
int Upscaler::block_of(int layers) const {
    const int bytes = layers * kKept * channels_ * kTile * static_cast<int>(sizeof(float));
    const int most = std::max(1, kBlockBytes / (bytes * strip_));
    const int strips = (tiles_ + strip_ - 1) / strip_;
    const int blocks = (strips + most - 1) / most;
    return (strips + blocks - 1) / blocks * strip_;
}

Upscaler::Upscaler(const SrLuma &net, int height, int width, const Level &level)
    : channels_(round_up(net.channels, kPadding)), kernels_(level.winograd[channels_ / kPadding - 1]),
      strip_(kStripTiles[channels_ / kPadding - 1]), slope_(net.slope), height_(height), width_(width),
      tiles_((width + kTile - 1) / kTile), block_(block_of(1 + static_cast<int>(net.blocks.size()))),
      blocks_((tiles_ + block_ - 1) / block_) {
    make_head(net.head);
    for (const SrConv &conv : net.blocks)
        make_block(conv);
    make_tail(net.tail);
    for (size_t i = stages_.size() - 1; i > 0; i--) {
        stages_[i - 1].ahead = stages_[i].ahead + 1;
        stages_[i - 1].lead =
            round_up(stages_[i].lead + 1 + stages_[i - 1].ahead, kTile) - stages_[i - 1].ahead;
    }
    // The last block has a tile more of each stage than of the one before; a strip is written as a whole.
    plane_ = (block_ + static_cast<int>(stages_.size()) + strip_) * kTile + 2;
}

Upscaler::~Upscaler() = default;

void Upscaler::run(const float *input, float *output, int first, int last) {
    auto scratch = idle_.take([this] { return std::make_unique<Scratch>(stages_, plane_, strip_); });
    scratch->start(first, last, stages_[0].ahead);

    // A step makes rows top .. top + 3 of the output, and of a stage those that are `ahead` of them.
    const int reach = stages_[0].ahead + 1;
    const int before = round_up(stages_[0].lead + 1 + reach, kTile);
    for (int block = 0; block < blocks_; block++)
        for (int top = first - before; top < last; top += kTile) {
            const Task task = {input, output, block, *scratch};
            load(task, top + reach);
            for (size_t i = 0; i < stages_.size(); i++) {
                const int row = top + stages_[i].ahead;
                if (row >= first - stages_[i].lead && row + kTile > 0 && row < height_)
                    run_stage(task, i, row);
            }
        }

    idle_.put(std::move(scratch));
}

/// Rows first .. first + 3 of the picture, and what lies beyond it left and right of them.
void Upscaler::load(const Task &task, int first) const {
    const int left = begin(task.block, 0) * kTile - 1; // of position 0
    const int from = std::max(left, 0);
    const int to = std::min(left + static_cast<int>(plane_), width_);
    for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++) {
        const float *picture = task.input + static_cast<ptrdiff_t>(row) * width_;
        float *out = task.scratch.row(0, row);
        std::fill(out, out + from - left, kSrCentre);
        std::copy(picture + from, picture + to, out + from - left);
        std::fill(out + to - left, out + plane_, kSrCentre);
    }
}

/// Rows first .. first + 3 of a stage.
void Upscaler::run_stage(const Task &task, size_t index, int first) const {
    const Stage &stage = stages_[index];
    Scratch &scratch = task.scratch;
    const bool ends = index + 1 == stages_.size();
    const float *taps[kTileTaps];
    for (int j = 0; j < kTileTaps; j++) {
        const int row = first - 1 + j;
        taps[j] = row < 0 || row >= height_ ? scratch.row_beyond(index) : scratch.row(index, row);
    }
    float *outs[kTile];
    for (int r = 0; r < kTile && !ends; r++) {
        const int row = first + r;
        outs[r] = row < 0 || row >= height_ ? scratch.lost_row() : scratch.row(index + 1, row);
    }

    if (!ends)
        take_ends(task, index + 1, first);
    const int place = begin(task.block, index);
    const int last = task.block + 1 == blocks_ ? tiles_ : place + block_;
    for (int tile = std::max(0, place); tile < last; tile += strip_) {
        const StripJob job = {taps,
                              plane_,
                              tile - place,
                              tile - place + 1,
                              std::min(strip_, last - tile),
                              scratch.values(),
                              stage.weights.data(),
                              stage.bias.data(),
                              slope_,
                              outs};
        if (ends)
            run_tail(task, job, first, tile * kTile);
        else
            (index == 0 ? kernels_.head : kernels_.block)(job);
    }
    if (!ends)
        leave_ends(task, index + 1, first);
}

/// The last stage's strip from column x on. Input and output have no room for more than they hold: the last
/// strip of a row goes through scratch memory.
void Upscaler::run_tail(const Task &task, const StripJob &strip, int first, int x) const {
    const Scratch &scratch = task.scratch;
    const int wanted = strip.tiles * kTile;
    const int there = std::min(wanted, width_ - x);
    const ptrdiff_t out_width = static_cast<ptrdiff_t>(width_) * kSrScale;
    const float *bases[kTile];
    float *outs[kTile * kSrScale];
    const auto place = [&](int row) {
        return task.output + (first * kSrScale + row) * out_width + static_cast<ptrdiff_t>(x) * kSrScale;
    };
    const auto outside = [&](int row) { return first + row < 0 || first + row >= height_; };
    for (int r = 0; r < kTile; r++) {
        const float *base =
            outside(r) ? scratch.zero_row() : task.input + static_cast<ptrdiff_t>(first + r) * width_ + x;
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

/// Rows begin with what the block before has left, and with zeros left of the picture.
void Upscaler::take_ends(const Task &task, size_t ring, int first) const {
    Scratch &scratch = task.scratch;
    const int picture = -begin(task.block, ring) * kTile; // the position left of it
    for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++) {
        if (task.block > 0)
            kernels_.copy({scratch.end(ring, row), kEnd, 0, scratch.row(ring, row), plane_, 0, kEnd});
        if (picture >= 0)
            kernels_.copy({scratch.zero_row(), plane_, 0, scratch.row(ring, row), plane_, picture, 1});
    }
}

/// Leaves the ends of rows to the next block; right of the picture there are the zeros that padding has to
/// be.
void Upscaler::leave_ends(const Task &task, size_t ring, int first) const {
    Scratch &scratch = task.scratch;
    const int left = begin(task.block, ring) * kTile - 1; // of position 0
    for (int row = std::max(first, 0); row < std::min(first + kTile, height_); row++)
        if (task.block + 1 < blocks_)
            kernels_.copy({scratch.row(ring, row), plane_, static_cast<ptrdiff_t>(block_) * kTile,
                           scratch.end(ring, row), kEnd, 0, kEnd});
        else
            kernels_.copy({scratch.zero_row(), plane_, 0, scratch.row(ring, row), plane_, width_ - left,
                           tiles_ * kTile + 1 - width_});
}

} // namespace clv::cpu
