// SPDX-License-Identifier: BSD-2-Clause
#include "backends/lowrank_chain.h"

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "backends/weights.h"

namespace clv {
namespace {

using Json = nlohmann::json;

constexpr const char *kArchitecture = "lowrank_chain";
constexpr int kMaxChannels = 256;
constexpr int kMaxLayers = 64;
constexpr int kMaxDilation = 64;
constexpr double kCodes = 219; ///< 8-bit luma codes of limited range, black to white: 1 in the net's values

/// Null when it is none of ours.
Json chain_of(const CompileRequest &request) {
    return request.scale == 1 ? architecture_of(request, kArchitecture, CLV_LAYOUT_YUV420_S2D) : Json();
}

} // namespace

bool is_lowrank_chain(const CompileRequest &request) {
    return !chain_of(request).is_null();
}

LowrankChain read_lowrank_chain(const CompileRequest &request, const std::string &backend) {
    const Json card = chain_of(request);
    if (card.is_null())
        throw Error(CLV_ERR_UNSUPPORTED, "backend " + backend + " runs bundles whose architecture is \"" +
                                             std::string(kArchitecture) + "\", and model " +
                                             request.model_name + " is none: use backend=openvino or auto");
    const auto whole = [&](const Json &value, const char *key, int high) {
        if (!value.is_number_integer() || value.get<int64_t>() < 1 || value.get<int64_t>() > high)
            throw Error(CLV_ERR_INVALID_MODEL, "card.json of model " + request.model_name +
                                                   ": architecture." + key + " is " + value.dump() +
                                                   ", not an integer of 1.." + std::to_string(high));
        return value.get<int>();
    };
    const int channels = whole(card.value("channels", Json()), "channels", kMaxChannels);
    const int count = whole(card.value("layers", Json()), "layers", kMaxLayers);
    const Json dilation = card.value("dilation", Json(std::vector<int>(static_cast<size_t>(count), 1)));
    const Json slope = card.value("slope", Json());
    if (!dilation.is_array() || dilation.size() != static_cast<size_t>(count) || !slope.is_number() ||
        !(slope.get<float>() >= 0.0F && slope.get<float>() <= 1.0F))
        throw Error(CLV_ERR_INVALID_MODEL,
                    "card.json of model " + request.model_name +
                        ": architecture needs one dilation a layer and a slope in 0..1");
    const Json limit = card.value("limit", Json(0));
    if (!limit.is_number() || !(limit.get<double>() >= 0))
        throw Error(CLV_ERR_INVALID_MODEL, "card.json of model " + request.model_name +
                                               ": architecture.limit is " + limit.dump() +
                                               ", not a number of 8-bit codes from 0 (no limit) on");
    LowrankChain net{
        {}, slope.get<float>(), std::numeric_limits<float>::infinity(), request.strength.value_or(1.0F)};
    if (limit.get<double>() > 0)
        net.limit = static_cast<float>(limit.get<double>() / kCodes);
    const Weights weights(request.weights);
    for (int i = 0; i < count; i++) {
        ChainLayer layer;
        layer.in_channels = i == 0 ? static_cast<int>(request.input.channels) : channels;
        layer.out_channels = i + 1 == count ? static_cast<int>(request.input.channels) : channels;
        layer.dilation = whole(dilation[static_cast<size_t>(i)], "dilation", kMaxDilation);
        const std::string name = "layers." + std::to_string(i);
        layer.weights = weights.take(name + ".weight", {layer.out_channels, layer.in_channels, 3, 3});
        layer.bias = weights.take(name + ".bias", {layer.out_channels});
        net.layers.push_back(std::move(layer));
    }
    return net;
}

} // namespace clv
