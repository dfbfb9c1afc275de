// SPDX-License-Identifier: BSD-2-Clause
// The CPU backend: our own kernels for the nets whose architecture they know, without any runtime. It reads
// the architecture from the bundle's card and the weights from weights.safetensors. Everything is f32.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <future>
#include <memory>
#include <new>
#include <string>

#include "backends/cpu/chain.h"
#include "backends/cpu/upscaler.h"
#include "backends/lowrank_chain.h"
#include "backends/sr_luma.h"
#include "core/backend.h"
#include "pixels/thread_pool.h"

namespace {

using clv::Error;
using clv::LowrankChain;
using clv::TensorShape;
using clv::cpu::FusedNet;

/// The strength scales what is added: the last layer's output and its limit.
LowrankChain fold_strength(LowrankChain net) {
    for (auto *values : {&net.layers.back().weights, &net.layers.back().bias})
        for (float &value : *values)
            value *= net.strength;
    if (std::isfinite(net.limit))
        net.limit *= net.strength;
    return net;
}

class CpuRequest final : public clv::InferRequest {
public:
    /// `overlap`: work goes on on a thread of its own between start() and wait().
    CpuRequest(FusedNet &net, clv::pixels::ThreadPool &pool, const TensorShape &in, const TensorShape &out,
               bool overlap)
        : net_(net), pool_(pool), rows_(static_cast<int>(in.height)), overlap_(overlap), count_(in.count()),
          input_(clv::cpu::zeros(count_)), output_(clv::cpu::zeros(out.count())) {}

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
        constexpr int thinnest = 16; // seams are computed twice
        const int parts = net_.bands() * pool_.threads();
        const int rows = std::max(thinnest, (rows_ + parts - 1) / parts);
        const int grain = (rows + clv::cpu::kQuad - 1) / clv::cpu::kQuad * clv::cpu::kQuad;
        pool_.parallel_for(0, rows_, pool_.threads() > 1 ? grain : rows_, [this](int first, int last) {
            net_.run(input_.get(), output_.get(), first, last);
        });
    }

    FusedNet &net_;
    clv::pixels::ThreadPool &pool_;
    const int rows_;
    const bool overlap_;
    const size_t count_;
    const clv::cpu::Memory input_;
    const clv::cpu::Memory output_;
    std::future<void> done_; // last: its destructor waits for the thread that uses the rest
};

std::unique_ptr<FusedNet> make_net(const clv::CompileRequest &request) {
    const auto height = static_cast<int>(request.input.height);
    const auto width = static_cast<int>(request.input.width);
    if (clv::is_lowrank_chain(request)) {
        const LowrankChain net = fold_strength(clv::read_lowrank_chain(request, "cpu"));
        return std::make_unique<clv::cpu::Chain>(net.layers, net.slope, net.limit, height, width);
    }
    return std::make_unique<clv::cpu::Upscaler>(clv::read_sr_luma(request, "cpu"), height, width);
}

class CpuModel final : public clv::CompiledModel {
public:
    explicit CpuModel(const clv::CompileRequest &request)
        : input_(request.input), overlap_(request.in_flight > 1), pool_(request.threads),
          net_(make_net(request)) {
        if (!request.device.empty() && request.device != "CPU")
            throw Error(CLV_ERR_UNSUPPORTED,
                        "backend cpu has no device \"" + request.device + "\": leave it empty");
        if (request.precision != CLV_PRECISION_AUTO && request.precision != CLV_PRECISION_FP32)
            throw Error(CLV_ERR_UNSUPPORTED,
                        "backend cpu computes in precision=fp32 only: use it, or backend=openvino");
    }

    TensorShape output() const override {
        return {net_->out_channels(), net_->scale() * input_.height, net_->scale() * input_.width};
    }
    clv_precision precision() const override { return CLV_PRECISION_FP32; }
    int threads() const override { return pool_.threads(); }
    std::unique_ptr<clv::InferRequest> create_request() override {
        return std::make_unique<CpuRequest>(*net_, pool_, input_, output(), overlap_);
    }

private:
    const TensorShape input_;
    const bool overlap_;
    clv::pixels::ThreadPool pool_;
    const std::unique_ptr<FusedNet> net_;
};

class CpuBackend final : public clv::Backend {
public:
    std::string runtime() const override {
        return std::string("clarivid's kernels for ") + clv::cpu::best_level().name;
    }
    bool suits(const clv::CompileRequest &request) const override {
        return (clv::is_lowrank_chain(request) || clv::is_sr_luma(request)) &&
               &clv::cpu::best_level() != &clv::cpu::kReference &&
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
