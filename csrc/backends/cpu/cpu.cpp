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
#include "backends/lowrank_chain.h"
#include "core/backend.h"
#include "pixels/thread_pool.h"

namespace {

using clv::Error;
using clv::LowrankChain;
using clv::TensorShape;
using clv::cpu::Chain;

/// The strength scales what is added: the last layer's output and its limit.
LowrankChain fold_strength(LowrankChain net) {
    for (auto *values : {&net.layers.back().weights, &net.layers.back().bias})
        for (float &value : *values)
            value *= net.strength;
    if (std::isfinite(net.limit))
        net.limit *= net.strength;
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
    explicit CpuModel(const clv::CompileRequest &request)
        : CpuModel(request, fold_strength(clv::read_lowrank_chain(request, "cpu"))) {}

    TensorShape output() const override { return shape_; }
    clv_precision precision() const override { return CLV_PRECISION_FP32; }
    int threads() const override { return pool_.threads(); }
    std::unique_ptr<clv::InferRequest> create_request() override {
        return std::make_unique<CpuRequest>(chain_, pool_, shape_, overlap_);
    }

private:
    CpuModel(const clv::CompileRequest &request, const LowrankChain &net)
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
        return clv::is_lowrank_chain(request) && &clv::cpu::best_level() != &clv::cpu::kReference &&
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
