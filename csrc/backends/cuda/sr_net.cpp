// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/sr_net.h"

#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "backends/cuda/sr_layout.h"
#include "backends/weights.h"
#include "pixels/half.h"

namespace clv::cuda::sr {
namespace {

using Json = nlohmann::json;

constexpr const char *kArchitecture = "sr_hpca";
constexpr int kScale = 2;
constexpr int kMaxBlocks = 64;
constexpr float kLargestHalf = 65504.0F;

/// The architecture of a bundle, null when it has none of ours.
Json architecture_of(const CompileRequest &request) {
    Json found = Json::parse(request.architecture, nullptr, /*allow_exceptions=*/false);
    const bool ours = found.is_object() && found.value("type", Json()) == kArchitecture;
    return ours && !request.weights.empty() && request.layout == CLV_LAYOUT_YUV420_S2D &&
                   request.scale == kScale
               ? found
               : Json();
}

[[noreturn]] void refuse(const CompileRequest &request, const std::string &key, const Json &value,
                         const std::string &wanted, clv_status status) {
    throw Error(status, "card.json of model " + request.model_name + ": architecture." + key + " is " +
                            value.dump() + ", and backend cuda takes " + wanted);
}

int whole(const CompileRequest &request, const Json &card, const char *key, int low, int high) {
    const Json value = card.value(key, Json());
    if (!value.is_number_integer())
        refuse(request, key, value, "an integer", CLV_ERR_INVALID_MODEL);
    if (value.get<std::int64_t>() < low || value.get<std::int64_t>() > high)
        refuse(request, key, value,
               std::to_string(low) + " to " + std::to_string(high) + ": use another backend",
               CLV_ERR_UNSUPPORTED);
    return value.get<int>();
}

Conv take_conv(const Weights &weights, const std::string &name, int in_channels, int out_channels) {
    return {in_channels, out_channels, weights.take(name + ".weight", {out_channels, in_channels, 3, 3}),
            weights.take(name + ".bias", {out_channels})};
}

std::uint16_t half_of(float value) {
    if (!(std::fabs(value) <= kLargestHalf))
        throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors holds " + std::to_string(value) +
                                               ", which is no value in fp16: this net needs another backend");
    return pixels::f16_from_f32(value);
}

/// weight(k, n) of every place of the fragments: `steps` of depth sixteen, `outputs` columns.
template <typename F>
std::vector<std::uint16_t> fragments(int steps, int outputs, F weight) {
    const int blocks = outputs / 8;
    std::vector<std::uint16_t> out(static_cast<std::size_t>(weight_bytes(steps, outputs)) / 2);
    for (int step = 0; step < steps; step++)
        for (int block = 0; block < blocks; block++)
            for (int lane = 0; lane < 32; lane++)
                for (int i = 0; i < 4; i++) { // b[0] low and high, b[1] low and high
                    const int k = 2 * (lane % 4) + i % 2 + i / 2 * 8;
                    const bool paired = block < blocks / 2 * 2;
                    const int place = paired ? (block / 2 * 32 + lane) * 8 + block % 2 * 4 + i
                                             : (block * 32 + lane) * 4 + i;
                    out[static_cast<std::size_t>(step * blocks * 128 + place)] =
                        half_of(weight(step, k, block * 8 + lane / 4));
                }
    return out;
}

float weight_of(const Conv &conv, int out, int in, int tap) {
    if (out >= conv.out_channels || in >= conv.in_channels || tap >= kTaps)
        return 0;
    return conv.weights[static_cast<std::size_t>((out * conv.in_channels + in) * kTaps + tap)];
}

} // namespace

bool is_sr(const CompileRequest &request) {
    return !architecture_of(request).is_null();
}

Net read_net(const CompileRequest &request) {
    const Json card = architecture_of(request);
    if (card.is_null())
        throw Error(CLV_ERR_UNSUPPORTED, "backend cuda runs bundles whose architecture is \"" +
                                             std::string(kArchitecture) +
                                             "\" (scale 2) or \"lowrank_chain\"" + ", and model " +
                                             request.model_name + " is none: use another backend, or auto");
    if (request.input.channels != kPictureChannels)
        throw Error(CLV_ERR_INVALID_MODEL, "model " + request.model_name + " takes " +
                                               std::to_string(request.input.channels) +
                                               " channels where its architecture has 6");
    Net net;
    net.channels = whole(request, card, "channels", kMinChannels, kMaxChannels);
    const int blocks = whole(request, card, "blocks", 1, kMaxBlocks);
    if (const Json scale = card.value("scale", Json(kScale)); scale != kScale)
        refuse(request, "scale", scale, "2", CLV_ERR_UNSUPPORTED);
    if (const Json stride = card.value("gate_stride", Json(kGateStride)); stride != kGateStride)
        refuse(request, "gate_stride", stride, std::to_string(kGateStride), CLV_ERR_UNSUPPORTED);
    if (const Json base = card.value("base", Json("nearest")); base != "nearest")
        refuse(request, "base", base, "\"nearest\"", CLV_ERR_UNSUPPORTED);
    const Json attention = card.value("attention", Json(true));
    if (!attention.is_boolean())
        refuse(request, "attention", attention, "true or false", CLV_ERR_INVALID_MODEL);
    const Json slope = card.value("slope", Json());
    if (!slope.is_number() || !(slope.get<float>() >= 0.0F && slope.get<float>() <= 1.0F))
        refuse(request, "slope", slope, "a number of 0 to 1", CLV_ERR_INVALID_MODEL);
    net.slope = slope.get<float>();
    net.hidden = net.channels / 2;

    const Weights weights(request.weights);
    net.head = take_conv(weights, "head", kPictureChannels, net.channels);
    for (int i = 0; i < blocks; i++) {
        const std::string name = "blocks." + std::to_string(i);
        net.blocks.push_back(take_conv(weights, name, net.channels, net.channels));
        if (attention == true)
            net.gates.push_back({weights.take(name + ".gate.down.weight", {net.hidden, net.channels}),
                                 weights.take(name + ".gate.down.bias", {net.hidden}),
                                 weights.take(name + ".gate.up.weight", {net.channels, net.hidden}),
                                 weights.take(name + ".gate.up.bias", {net.channels})});
    }
    net.tail = take_conv(weights, "tail", net.channels, kOutputChannels);
    return net;
}

int padded_channels(int channels) {
    return channels <= 32 ? 32 : 48;
}

std::vector<std::uint16_t> arrange(const Conv &conv, int inputs, int outputs) {
    const int depth = inputs / 16;
    return fragments(kTaps * depth, outputs, [&](int step, int k, int n) {
        return weight_of(conv, n, step % depth * 16 + k, step / depth);
    });
}

std::vector<std::uint16_t> arrange_head(const Conv &conv, int outputs) {
    return fragments(kHeadSteps, outputs,
                     [&](int step, int k, int n) { return weight_of(conv, n, k % 8, 2 * step + k / 8); });
}

} // namespace clv::cuda::sr
