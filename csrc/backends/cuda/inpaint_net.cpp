// SPDX-License-Identifier: BSD-2-Clause
//
// The net as a list of launches, written down once at construction, in the order and with the names of
// python/clarivid/nets/inpaint.py:
//
//     input --- split --- sums 1, 1/2, 1/4, 1/8 --- wide --- level x 4 --- filled        f32 planes
//     filled, hole -- shrink --> 1/4: coarse_in --> 1/8: coarse_down, coarse_0.. -->     f16 blocks of eight
//                     1/4: coarse_up (doubling 1/8) --> coarse_picture + coarse_edges    f32 planes
//     filled, hole, change, edges -- join --> guess and refine_in, down, down, refine_0.., up, up,
//                     refine_picture, which adds to the guess in the hole --> output
//
// One kernel does all convolutions: its two sources are the concatenation, a source may be doubled on the way
// in, and what follows a convolution is in its end (inpaint_layout.h). A gated block is one convolution whose
// tiles are features and gates in turn.
#include "backends/cuda/inpaint_net.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/inpaint_layout.h"
#include "backends/weights.h"
#include "cuda/driver.h"
#include "pixels/half.h"

CLV_CUDA_IMAGE(inpaint_net);

namespace clv::cuda {
namespace {

using namespace inpaint;
using Json = nlohmann::json;

constexpr const char *kArchitecture = "inpaint_coarse_refine";
constexpr int kMultiple = 8; // of the tensor's height and width
constexpr int kMaxChannels = 1024;
constexpr int kMaxDilation = 64;
constexpr size_t kAlignment = 256;

/// Null when it is none of ours.
Json painter_of(const CompileRequest &request) {
    return architecture_of(request, kArchitecture, CLV_LAYOUT_YUV420_S2D_MASK);
}

/// The card's numbers.
struct Widths {
    int coarse[2];
    int refine[3];
    std::vector<int> coarse_dilations;
    std::vector<int> refine_dilations;
    int smooth;
    float slope;
};

Widths read_widths(const Json &card, const std::string &model) {
    const auto refuse = [&](const char *key, const char *what) {
        throw Error(CLV_ERR_INVALID_MODEL, "card.json of model " + model + ": architecture." + key + " is " +
                                               card.value(key, Json()).dump() + ", not " + what);
    };
    const auto list = [&](const char *key, size_t count, int high, const char *what) {
        const Json value = card.value(key, Json());
        if (!value.is_array() || (count > 0 && value.size() != count) || value.size() > 64)
            refuse(key, what);
        std::vector<int> out;
        for (const Json &each : value) {
            if (!each.is_number_integer() || each.get<int64_t>() < 1 || each.get<int64_t>() > high)
                refuse(key, what);
            out.push_back(each.get<int>());
        }
        return out;
    };
    Widths out = {};
    const auto coarse = list("coarse", 2, kMaxChannels, "two integers of 1..1024");
    const auto refine = list("refine", 3, kMaxChannels, "three integers of 1..1024");
    std::copy(coarse.begin(), coarse.end(), out.coarse);
    std::copy(refine.begin(), refine.end(), out.refine);
    out.coarse_dilations = list("coarse_dilations", 0, kMaxDilation, "integers of 1..64");
    out.refine_dilations = list("refine_dilations", 0, kMaxDilation, "integers of 1..64");
    const Json smooth = card.value("smooth", Json());
    if (!smooth.is_number_integer() || smooth.get<int64_t>() < 0 || smooth.get<int64_t>() > 64)
        refuse("smooth", "an integer of 0..64");
    const Json slope = card.value("slope", Json());
    if (!slope.is_number() || !(slope.get<float>() >= 0.0F && slope.get<float>() <= 1.0F))
        refuse("slope", "a number of 0..1");
    out.smooth = smooth.get<int>();
    out.slope = slope.get<float>();
    return out;
}

int ceil_div(int a, int b) {
    return (a + b - 1) / b;
}

/// f16 activations: blocks of eight channels, the last one padded by zeros.
struct Features {
    void *data = nullptr;
    int channels = 0;
    int height = 0;
    int width = 0;
    int blocks() const { return ceil_div(channels, 8); }
};

struct Filter {
    std::vector<float> weights; ///< [out][in][3][3]
    std::vector<float> bias;    ///< [out]
};

/// Of a tile of eight output channels, which rows of the filter they are; -1 is none.
using Tile = std::array<int, 8>;

std::vector<Tile> plain_tiles(int channels) {
    std::vector<Tile> out;
    for (int first = 0; first < channels; first += 8) {
        Tile &tile = out.emplace_back();
        for (int n = 0; n < 8; n++)
            tile[static_cast<size_t>(n)] = first + n < channels ? first + n : -1;
    }
    return out;
}

/// Features and gates in turn, the gates' filter behind that of the features.
std::vector<Tile> gated_tiles(int channels) {
    std::vector<Tile> out;
    for (const Tile &features : plain_tiles(channels)) {
        Tile gates = features;
        for (int &row : gates)
            row += row < 0 ? 0 : channels;
        out.push_back(features);
        out.push_back(gates);
    }
    return out;
}

/// The filter in the order of B's fragments: lane 4n + t holds rows 2t, 2t+1 and 2t+8, 2t+9 of column n.
std::vector<uint16_t> arrange(const Filter &filter, const std::vector<Tile> &tiles,
                              const std::vector<int> &in_channels) {
    std::vector<int> channel_of; // of a padded input channel; -1 is none
    int inputs = 0;
    for (const int channels : in_channels) {
        for (int c = 0; c < ceil_div(channels, 8) * 8; c++)
            channel_of.push_back(c < channels ? inputs + c : -1);
        inputs += channels;
    }
    const int blocks = static_cast<int>(channel_of.size()) / 8;
    const int steps = ceil_div(kTaps * blocks, kConvStepBlocks);
    const int groups = ceil_div(static_cast<int>(tiles.size()), kConvTiles);
    std::vector<uint16_t> out;
    out.reserve(static_cast<size_t>(groups) * static_cast<size_t>(steps) * kConvStepB / 2);
    const auto value = [&](int tile, int n, int row) { // row: of the padded product's depth
        const int block = row / 8;
        const int tap = block / blocks;
        if (tile >= static_cast<int>(tiles.size()) || tap >= kTaps)
            return 0.0F;
        const int output = tiles[static_cast<size_t>(tile)][static_cast<size_t>(n)];
        const int input = channel_of[static_cast<size_t>(block % blocks * 8 + row % 8)];
        return output < 0 || input < 0
                   ? 0.0F
                   : filter.weights[static_cast<size_t>((output * inputs + input) * kTaps + tap)];
    };
    for (int group = 0; group < groups; group++)
        for (int step = 0; step < steps; step++)
            for (int k = 0; k < kConvStepBlocks / 2; k++)
                for (int tile = 0; tile < kConvTiles; tile++)
                    for (int lane = 0; lane < 32; lane++)
                        for (int i = 0; i < 4; i++) {
                            const int row =
                                (step * kConvStepBlocks + 2 * k) * 8 + lane % 4 * 2 + i % 2 + i / 2 * 8;
                            out.push_back(
                                pixels::f16_from_f32(value(group * kConvTiles + tile, lane / 4, row)));
                        }
    return out;
}

class InpaintNet final : public TensorModel {
public:
    InpaintNet(const CompileRequest &request, const Place &place)
        : place_(place), model_(request.model_name), weights_(request.weights), input_(request.input),
          widths_(read_widths(painter_of(request), request.model_name)),
          module_(place, clv_image_inpaint_net) {
        if (input_.channels != kChannels + 1 || input_.height < kMultiple || input_.width < kMultiple ||
            input_.height % kMultiple != 0 || input_.width % kMultiple != 0 || input_.height > 16384 ||
            input_.width > 16384)
            throw Error(CLV_ERR_UNSUPPORTED,
                        "model " + model_ + " was asked for an input of " + input_.text() +
                            ": it takes 1x7xHxW with H and W multiples of 8 up to 16384");
        // Twice the same walk: first addresses from 0 on, to know how much memory there is to be.
        build();
        memory_ = Buffer(place_, used_);
        constants_ = Buffer(place_, constants_host_.size());
        build();
        copy_to_device_async(place_, constants_.get(), constants_host_.data(), constants_host_.size());
        constants_host_ = {};
    }

    TensorShape output() const override { return {kChannels, input_.height, input_.width}; }
    ElementType input_type() const override { return ElementType::f32; }
    ElementType output_type() const override { return ElementType::f32; }
    clv_precision precision() const override { return CLV_PRECISION_FP16; }
    uint64_t device_bytes() const override { return uint64_t{memory_.bytes()} + constants_.bytes(); }
    std::string text() const override {
        return std::to_string(launches_.size()) + " kernels, " + std::to_string(memory_.bytes() >> 20) +
               " MiB of activations";
    }

    void enqueue(const void *in, void *out) override {
        const Current current(place_);
        for (const Launch &launch : launches_)
            launch(static_cast<const float *>(in), static_cast<float *>(out));
    }

private:
    using Launch = std::function<void(const float *in, float *out)>;

    // ---- memory

    void *take(size_t bytes) {
        const size_t at = used_;
        used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
        return memory_ ? memory_.get<uint8_t>() + at : nullptr;
    }
    float *planes(int count, int divide) {
        return static_cast<float *>(take(sizeof(float) * static_cast<size_t>(count * height(divide)) *
                                         static_cast<size_t>(width(divide))));
    }
    Features features(int channels, int divide) {
        Features out = {nullptr, channels, height(divide), width(divide)};
        out.data = take(size_t{16} * static_cast<size_t>(out.blocks() * out.height) *
                        static_cast<size_t>(out.width));
        return out;
    }
    const void *constant(const void *data, size_t bytes) {
        const size_t at = constants_host_.size();
        constants_host_.resize(at + (bytes + kAlignment - 1) / kAlignment * kAlignment);
        std::memcpy(constants_host_.data() + at, data, bytes);
        return constants_ ? constants_.get<uint8_t>() + at : nullptr;
    }
    int height(int divide) const { return static_cast<int>(input_.height) / divide; }
    int width(int divide) const { return static_cast<int>(input_.width) / divide; }

    // ---- launches

    template <class Params>
    void add(const char *name, dim3 grid, int threads, size_t shared, Params params,
             std::function<void(Params &, const float *, float *)> bind = {}) {
        const Kernel kernel = module_.kernel(name, shared);
        launches_.push_back([=, this](const float *in, float *out) {
            Params now = params;
            if (bind)
                bind(now, in, out);
            kernel.launch(grid, dim3(static_cast<unsigned>(threads)), now, stream_of(place_));
        });
    }
    dim3 places(int divide, int channels = 1) const {
        return dim3(static_cast<unsigned>(ceil_div(height(divide) * width(divide), kPlaneThreads)),
                    static_cast<unsigned>(channels));
    }

    Filter filter(const std::vector<std::string> &names, const std::vector<int> &outputs, int inputs) const {
        Filter out;
        for (size_t i = 0; i < names.size(); i++) {
            const auto weights = weights_.take(names[i] + ".weight", {outputs[i], inputs, 3, 3});
            const auto bias = weights_.take(names[i] + ".bias", {outputs[i]});
            out.weights.insert(out.weights.end(), weights.begin(), weights.end());
            out.bias.insert(out.bias.end(), bias.begin(), bias.end());
            const auto fits = [](float value) { return std::abs(value) < 65504.0F; };
            if (!std::all_of(weights.begin(), weights.end(), fits))
                throw Error(CLV_ERR_INVALID_MODEL,
                            "model " + model_ + ": weights of layer " + names[i] + " are too large for fp16");
        }
        return out;
    }

    struct Conv {
        std::vector<Features> from; ///< one or two; the first is doubled when it is of half the second's size
        int stride = 1;
        int dilation = 1;
        End end = End::activations;
        const void *x = nullptr;
        const float *base = nullptr;
        int out_planes = 0;
    };

    /// `out`: rows of the filter that come out as channels; gates not counted.
    void add_conv(const Conv &conv, const Filter &filter, const std::vector<Tile> &tiles, void *to) {
        const Features &whole = conv.from.back();
        ConvParams p = {};
        std::vector<int> channels;
        for (size_t i = 0; i < conv.from.size(); i++) {
            const Features &from = conv.from[i];
            p.from[i] = {from.data, from.blocks(), from.height != whole.height};
            p.blocks += from.blocks();
            channels.push_back(from.channels);
        }
        p.in_height = whole.height;
        p.in_width = whole.width;
        p.out_height = ceil_div(whole.height, conv.stride);
        p.out_width = ceil_div(whole.width, conv.stride);
        p.stride = conv.stride;
        p.dilation = conv.dilation;
        p.steps = ceil_div(kTaps * p.blocks, kConvStepBlocks);
        p.tiles = static_cast<int>(tiles.size());
        p.slope = widths_.slope;
        p.end = conv.end;
        p.to = to;
        p.x = conv.x;
        p.base = conv.base;
        p.out_planes = conv.out_planes;
        const std::vector<uint16_t> weights = arrange(filter, tiles, channels);
        p.weights = constant(weights.data(), weights.size() * sizeof(uint16_t));
        std::vector<float> bias;
        for (const Tile &tile : tiles)
            for (const int row : tile)
                bias.push_back(row < 0 ? 0.0F : filter.bias[static_cast<size_t>(row)]);
        p.bias = static_cast<const float *>(constant(bias.data(), bias.size() * sizeof(float)));
        const dim3 grid(static_cast<unsigned>(ceil_div(p.out_height * p.out_width, kConvPositions)),
                        static_cast<unsigned>(ceil_div(p.tiles, kConvTiles)));
        const int hole = height(1) * width(1) * kChannels;
        if (conv.end == End::picture)
            add<ConvParams>("clv_inpaint_conv", grid, kConvThreads, kConvShared, p,
                            [hole](ConvParams &now, const float *in, float *out) {
                                now.mask = in + hole;
                                now.to = out;
                            });
        else
            add("clv_inpaint_conv", grid, kConvThreads, kConvShared, p);
    }

    /// LeakyReLU of a convolution, at 1/divide.
    Features layer(const std::string &name, const std::vector<Features> &from, int channels, int stride = 1) {
        int inputs = 0;
        for (const Features &each : from)
            inputs += each.channels;
        const int divide = height(1) / from.back().height * stride;
        const Features out = features(channels, divide);
        add_conv({.from = from, .stride = stride}, filter({name}, {channels}, inputs), plain_tiles(channels),
                 out.data);
        return out;
    }

    Features gated(const std::string &name, const Features &x, int dilation) {
        const Features out = features(x.channels, height(1) / x.height);
        add_conv({.from = {x}, .dilation = dilation, .end = End::gated, .x = x.data},
                 filter({name + "_features", name + "_gate"}, {x.channels, x.channels}, x.channels),
                 gated_tiles(x.channels), out.data);
        return out;
    }

    /// What the diffusion fills, [kChannels] planes.
    const float *diffusion() {
        float *sums[4];
        for (int level = 0; level < 4; level++)
            sums[level] = planes(kChannels + 1, 1 << level);
        add<SplitParams>("clv_inpaint_split", places(1), kPlaneThreads, 0,
                         {nullptr, sums[0], height(1) * width(1)},
                         [](SplitParams &now, const float *in, float *) { now.in = in; });
        for (int level = 1; level < 4; level++)
            add("clv_inpaint_halve", places(1 << level, kChannels + 1), kPlaneThreads, 0,
                HalveParams{sums[level - 1], sums[level], height(1 << level), width(1 << level)});
        float *filled = planes(kChannels, 8);
        add("clv_inpaint_wide", places(8, kChannels), kPlaneThreads, 0,
            WideParams{sums[3], filled, height(8), width(8)});
        constexpr int smoothings[4] = {1, 3, 6, 12};
        for (int level = 3; level >= 0; level--) {
            float *const to = planes(kChannels, 1 << level);
            const int rows = height(1 << level);
            const int columns = width(1 << level);
            const dim3 grid(static_cast<unsigned>(ceil_div(rows, kTile) * ceil_div(columns, kTile)),
                            kChannels);
            add("clv_inpaint_level", grid, kLevelThreads,
                static_cast<size_t>(level_shared(smoothings[level])),
                LevelParams{sums[level], filled, to, rows, columns,
                            level<3, smoothings[level], level> 0 ? 4.0F : 1.0F});
            filled = to;
        }
        return filled;
    }

    void build() {
        used_ = 0;
        launches_.clear();
        constants_host_.clear();
        const Widths &w = widths_;
        const int hole = height(1) * width(1) * kChannels;
        const float *const start = diffusion();

        const Features small = features(kChannels + 1, 4);
        add<ShrinkParams>("clv_inpaint_shrink", places(4), kPlaneThreads, 0,
                          {start, nullptr, small.data, small.height, small.width},
                          [hole](ShrinkParams &now, const float *in, float *) { now.hole = in + hole; });
        const Features a = layer("coarse_in", {small}, w.coarse[0]);
        Features deep = layer("coarse_down", {a}, w.coarse[1], 2);
        for (size_t i = 0; i < w.coarse_dilations.size(); i++)
            deep = gated("coarse_" + std::to_string(i), deep, w.coarse_dilations[i]);
        const Features context = layer("coarse_up", {deep, a}, w.coarse[0]);
        float *const change = planes(kChannels + 1, 4);
        add_conv({.from = {context}, .end = End::planes, .out_planes = kChannels + 1},
                 filter({"coarse_picture", "coarse_edges"}, {kChannels, 1}, w.coarse[0]),
                 plain_tiles(kChannels + 1), change);

        float *const guess = planes(kChannels, 1);
        const Features joined = features(2 * kChannels + 2, 1);
        add<JoinParams>("clv_inpaint_join", places(1), kPlaneThreads, 0,
                        {start, nullptr, change, guess, joined.data, height(1), width(1)},
                        [hole](JoinParams &now, const float *in, float *) { now.hole = in + hole; });
        const Features full = layer("refine_in", {joined}, w.refine[0]);
        const Features half =
            layer("refine_half", {layer("refine_down1", {full}, w.refine[1], 2)}, w.refine[1]);
        Features quarter =
            layer("refine_join", {layer("refine_down2", {half}, w.refine[2], 2), context}, w.refine[2]);
        for (size_t i = 0; i < w.refine_dilations.size(); i++)
            quarter = gated("refine_" + std::to_string(i), quarter, w.refine_dilations[i]);
        const Features middle = layer("refine_up1", {quarter, half}, w.refine[1]);
        Features fine = layer("refine_up2", {middle, full}, w.refine[0]);
        for (int i = 0; i < w.smooth; i++)
            fine = layer("refine_smooth" + std::to_string(i), {fine}, w.refine[0]);
        add_conv({.from = {fine}, .end = End::picture, .base = guess, .out_planes = kChannels},
                 filter({"refine_picture"}, {kChannels}, w.refine[0]), plain_tiles(kChannels), nullptr);
    }

    const Place place_;
    const std::string model_;
    const Weights weights_; ///< of the request: for the constructor only
    const TensorShape input_;
    const Widths widths_;
    const Module module_;
    Buffer memory_;
    Buffer constants_;
    size_t used_ = 0;
    std::vector<uint8_t> constants_host_;
    std::vector<Launch> launches_;
};

} // namespace

bool suits_inpaint(const CompileRequest &request) {
    return !painter_of(request).is_null();
}

std::unique_ptr<TensorModel> make_inpaint(const CompileRequest &request, const Place &place) {
    if (!suits_inpaint(request))
        throw Error(CLV_ERR_UNSUPPORTED, "backend cuda runs bundles whose architecture is \"" +
                                             std::string(kArchitecture) + "\" on tensors, and model " +
                                             request.model_name + " is none: use backend=auto or openvino");
    return std::make_unique<InpaintNet>(request, place);
}

} // namespace clv::cuda
