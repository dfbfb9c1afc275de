// SPDX-License-Identifier: BSD-2-Clause
#include "backends/sr_luma.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "backends/weights.h"

namespace clv {
namespace {

using Json = nlohmann::json;

constexpr const char *kArchitecture = "sr_luma";
constexpr int kMaxBlocks = 64;

/// Whether kernels are made for so many channels. What is no number will be told of when it is read.
bool has_kernels(const Json &channels) {
    return !channels.is_number_integer() || (channels >= kSrMinChannels && channels <= kSrMaxChannels);
}

/// Null when kernels do not know it: none has any for attention.
Json upscaler_of(const CompileRequest &request) {
    Json found = architecture_of(request, kArchitecture, CLV_LAYOUT_Y);
    const bool known = found.is_object() && request.scale == kSrScale &&
                       found.value("attention", Json(false)) == false &&
                       has_kernels(found.value("channels", Json()));
    return known ? found : Json();
}

/// Refuses what a card says.
struct Refusal {
    const CompileRequest &request;
    const std::string &backend;
    [[noreturn]] void operator()(const std::string &key, const Json &value, const std::string &wanted,
                                 clv_status status) const {
        throw Error(status, "card.json of model " + request.model_name + ": architecture." + key + " is " +
                                value.dump() + ", and backend " + backend + " takes " + wanted);
    }
};

int whole(const Refusal &refuse, const Json &card, const char *key, int low, int high) {
    const Json value = card.value(key, Json());
    if (!value.is_number_integer())
        refuse(key, value, "an integer", CLV_ERR_INVALID_MODEL);
    if (value.get<std::int64_t>() < low || value.get<std::int64_t>() > high)
        refuse(key, value, std::to_string(low) + " to " + std::to_string(high) + ": use another backend",
               CLV_ERR_UNSUPPORTED);
    return value.get<int>();
}

SrConv take_conv(const Weights &weights, const std::string &name, int in_channels, int out_channels) {
    return {in_channels, out_channels, weights.take(name + ".weight", {out_channels, in_channels, 3, 3}),
            weights.take(name + ".bias", {out_channels})};
}

} // namespace

bool is_sr_luma(const CompileRequest &request) {
    return !upscaler_of(request).is_null();
}

SrLuma read_sr_luma(const CompileRequest &request, const std::string &backend) {
    const Json card = upscaler_of(request);
    if (card.is_null())
        throw Error(CLV_ERR_UNSUPPORTED, "backend " + backend + " runs bundles whose architecture is \"" +
                                             std::string(kArchitecture) + "\" (scale 2, " +
                                             std::to_string(kSrMinChannels) + " to " +
                                             std::to_string(kSrMaxChannels) +
                                             " channels, no attention) or \"lowrank_chain\", and model " +
                                             request.model_name + " is none: use another backend, or auto");
    if (request.input.channels != 1)
        throw Error(CLV_ERR_INVALID_MODEL, "model " + request.model_name + " takes " +
                                               std::to_string(request.input.channels) +
                                               " channels where its architecture has 1");
    const Refusal refuse{request, backend};
    SrLuma net;
    net.channels = whole(refuse, card, "channels", kSrMinChannels, kSrMaxChannels);
    const int blocks = whole(refuse, card, "blocks", 1, kMaxBlocks);
    if (const Json scale = card.value("scale", Json(kSrScale)); scale != kSrScale)
        refuse("scale", scale, "2", CLV_ERR_UNSUPPORTED);
    if (const Json base = card.value("base", Json("nearest")); base != "nearest")
        refuse("base", base, "\"nearest\"", CLV_ERR_UNSUPPORTED);
    const Json slope = card.value("slope", Json());
    if (!slope.is_number() || !(slope.get<float>() >= 0.0F && slope.get<float>() <= 1.0F))
        refuse("slope", slope, "a number of 0 to 1", CLV_ERR_INVALID_MODEL);
    net.slope = slope.get<float>();

    const Weights weights(request.weights);
    net.head = take_conv(weights, "head", 1, net.channels);
    for (int i = 0; i < blocks; i++)
        net.blocks.push_back(take_conv(weights, "blocks." + std::to_string(i), net.channels, net.channels));
    net.tail = take_conv(weights, "tail", net.channels, kSrOutputs);
    return net;
}

} // namespace clv
