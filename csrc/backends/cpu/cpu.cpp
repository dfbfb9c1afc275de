// SPDX-License-Identifier: BSD-2-Clause
// The CPU backend: our own kernels for the nets whose architecture they know, without any runtime. It reads
// the architecture from the bundle's card and the weights from weights.safetensors. Everything is f32.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <limits>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backends/cpu/chain.h"
#include "core/backend.h"
#include "pixels/thread_pool.h"

namespace {

using clv::Error;
using clv::TensorShape;
using clv::cpu::Chain;
using clv::cpu::Layer;
using Json = nlohmann::json;

constexpr const char *kArchitecture = "lowrank_chain";
constexpr int kMaxChannels = 256;
constexpr int kMaxLayers = 64;
constexpr int kMaxDilation = 64;
constexpr double kCodes = 219; ///< 8-bit luma codes of limited range, black to white: 1 in the net's values

/// The tensors of a .safetensors file: 8 bytes with the length of a JSON header, the header, the data.
class Weights {
public:
    explicit Weights(std::span<const std::byte> file) {
        uint64_t length = 0;
        if (file.size() < sizeof(length))
            damaged();
        std::memcpy(&length, file.data(), sizeof(length));
        if (length > file.size() - sizeof(length))
            damaged();
        const auto *text = reinterpret_cast<const char *>(file.data()) + sizeof(length);
        header_ = Json::parse(text, text + length, nullptr, /*allow_exceptions=*/false);
        data_ = file.subspan(sizeof(length) + static_cast<size_t>(length));
        if (!header_.is_object())
            damaged();
    }

    /// The values of a tensor of f32 with this shape.
    std::vector<float> take(const std::string &name, const std::vector<int> &shape) const {
        const auto entry = header_.find(name);
        if (entry == header_.end() || entry->value("dtype", Json()) != "F32" ||
            entry->value("shape", Json()) != Json(shape))
            throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors has no f32 tensor \"" + name +
                                                   "\" of shape " + Json(shape).dump() +
                                                   ", which the architecture in card.json needs");
        const Json offsets = entry->value("data_offsets", Json());
        size_t count = 1;
        for (const int size : shape)
            count *= static_cast<size_t>(size);
        if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
            !offsets[1].is_number_unsigned())
            damaged();
        const auto begin = offsets[0].get<uint64_t>();
        const auto end = offsets[1].get<uint64_t>();
        if (begin > end || end > data_.size() || end - begin != count * sizeof(float))
            damaged();
        std::vector<float> values(count);
        std::memcpy(values.data(), data_.data() + begin, count * sizeof(float));
        return values;
    }

private:
    [[noreturn]] static void damaged() {
        throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors is damaged: install the bundle again");
    }

    Json header_;
    std::span<const std::byte> data_;
};

/// The architecture of a bundle, null when it has none of ours.
Json architecture_of(const clv::CompileRequest &request) {
    Json found = Json::parse(request.architecture, nullptr, /*allow_exceptions=*/false);
    const bool ours = found.is_object() && found.value("type", Json()) == kArchitecture;
    return ours && !request.weights.empty() && request.layout == CLV_LAYOUT_YUV420_S2D && request.scale == 1
               ? found
               : Json();
}

struct Net {
    std::vector<Layer> layers;
    float slope;
    float limit; ///< of the change of a value; infinite when there is none
};

Net read_net(const clv::CompileRequest &request) {
    const Json card = architecture_of(request);
    if (card.is_null())
        throw Error(CLV_ERR_UNSUPPORTED, "backend cpu runs bundles whose architecture is \"" +
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
    Net net{{}, slope.get<float>(), std::numeric_limits<float>::infinity()};
    const Weights weights(request.weights);
    for (int i = 0; i < count; i++) {
        Layer layer;
        layer.in_channels = i == 0 ? static_cast<int>(request.input.channels) : channels;
        layer.out_channels = i + 1 == count ? static_cast<int>(request.input.channels) : channels;
        layer.dilation = whole(dilation[static_cast<size_t>(i)], "dilation", kMaxDilation);
        const std::string name = "layers." + std::to_string(i);
        layer.weights = weights.take(name + ".weight", {layer.out_channels, layer.in_channels, 3, 3});
        layer.bias = weights.take(name + ".bias", {layer.out_channels});
        net.layers.push_back(std::move(layer));
    }
    // The strength scales what is added, the last layer's output and its limit.
    const float strength = request.strength.value_or(1.0F);
    for (auto *values : {&net.layers.back().weights, &net.layers.back().bias})
        for (float &value : *values)
            value *= strength;
    if (limit.get<double>() > 0)
        net.limit = strength * static_cast<float>(limit.get<double>() / kCodes);
    return net;
}

struct Release {
    void operator()(float *memory) const { ::operator delete (memory, std::align_val_t{64}); }
};
using Tensor = std::unique_ptr<float, Release>;

/// Aligned, so that no vector of a row lies on two lines of the cache.
Tensor allocate(size_t count) {
    auto *memory = ::operator new (count * sizeof(float), std::align_val_t{64});
    return Tensor(static_cast<float *>(std::memset(memory, 0, count * sizeof(float))));
}

class CpuRequest final : public clv::InferRequest {
public:
    /// `overlap`: work goes on on a thread of its own between start() and wait().
    CpuRequest(Chain &chain, clv::pixels::ThreadPool &pool, const TensorShape &shape, bool overlap)
        : chain_(chain), pool_(pool), rows_(static_cast<int>(shape.height)), overlap_(overlap),
          count_(shape.count()), input_(allocate(count_)), output_(allocate(count_)) {}

    std::span<float> input() override { return {input_.get(), count_}; }
    const void *output() override { return output_.get(); }
    void start() override {
        done_ = std::async(overlap_ ? std::launch::async : std::launch::deferred, [this] { run(); });
    }
    bool ready() override {
        return !overlap_ || done_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    }
    void wait() override { done_.get(); }

private:
    void run() {
        // Some bands a thread, so that none waits long for the last; not too thin, for seams are computed
        // twice.
        constexpr int bands = 4;
        constexpr int thinnest = 16;
        const int parts = bands * pool_.threads();
        const int rows = std::max(thinnest, (rows_ + parts - 1) / parts);
        const int grain = (rows + clv::cpu::kQuad - 1) / clv::cpu::kQuad * clv::cpu::kQuad;
        pool_.parallel_for(0, rows_, pool_.threads() > 1 ? grain : rows_, [this](int first, int last) {
            chain_.run(input_.get(), output_.get(), first, last);
        });
    }

    Chain &chain_;
    clv::pixels::ThreadPool &pool_;
    const int rows_;
    const bool overlap_;
    const size_t count_;
    const Tensor input_;
    const Tensor output_;
    std::future<void> done_; // last: its destructor waits for the thread that uses the rest
};

class CpuModel final : public clv::CompiledModel {
public:
    explicit CpuModel(const clv::CompileRequest &request) : CpuModel(request, read_net(request)) {}

    TensorShape output() const override { return shape_; }
    clv_precision precision() const override { return CLV_PRECISION_FP32; }
    int threads() const override { return pool_.threads(); }
    std::unique_ptr<clv::InferRequest> create_request() override {
        return std::make_unique<CpuRequest>(chain_, pool_, shape_, overlap_);
    }

private:
    CpuModel(const clv::CompileRequest &request, const Net &net)
        : shape_(request.input), overlap_(request.in_flight > 1), pool_(request.threads),
          chain_(net.layers, net.slope, net.limit, static_cast<int>(shape_.height),
                 static_cast<int>(shape_.width)) {
        if (!request.device.empty() && request.device != "CPU")
            throw Error(CLV_ERR_UNSUPPORTED,
                        "backend cpu has no device \"" + request.device + "\": leave it empty");
        if (request.precision != CLV_PRECISION_AUTO && request.precision != CLV_PRECISION_FP32)
            throw Error(CLV_ERR_UNSUPPORTED,
                        "backend cpu computes in precision=fp32 only: use it, or backend=openvino");
    }

    const TensorShape shape_;
    const bool overlap_;
    clv::pixels::ThreadPool pool_;
    Chain chain_;
};

class CpuBackend final : public clv::Backend {
public:
    std::string runtime() const override {
        return std::string("clarivid's kernels for ") + clv::cpu::best_level().name;
    }
    bool suits(const clv::CompileRequest &request) const override {
        return !architecture_of(request).is_null() && &clv::cpu::best_level() != &clv::cpu::kReference &&
               (request.device.empty() || request.device == "CPU") &&
               (request.precision == CLV_PRECISION_AUTO || request.precision == CLV_PRECISION_FP32);
    }
    std::unique_ptr<clv::CompiledModel> compile(const clv::CompileRequest &request) override {
        return std::make_unique<CpuModel>(request);
    }
};

} // namespace

clv::Backend *clarivid_backend_create(uint32_t abi) {
    return abi == clv::kBackendAbi ? new CpuBackend : nullptr;
}
