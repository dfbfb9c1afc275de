// SPDX-License-Identifier: BSD-2-Clause
#include "core/device_requests.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "core/backend_loader.h"
#include "core/error.h"
#include "pixels/half.h"

namespace clv {
namespace {

size_t bytes_of(const TensorShape &shape, ElementType type) {
    return shape.count() * (type == ElementType::f16 ? 2 : 4);
}

/// One upload, one net, one download, at which start() waits for the stream.
class DeviceRequest final : public InferRequest {
public:
    DeviceRequest(TensorModel &net, const TensorShape &input, const cuda::Place &place,
                  CudaServices &services)
        : net_(net), place_(place), services_(services), input_(input.count()), output_(net.output().count()),
          in_(services.allocate(place, bytes_of(input, net.input_type()))),
          out_(services.allocate(place, bytes_of(net.output(), net.output_type()))) {}

    std::span<float> input() override { return input_; }
    const void *output() override { return output_.data(); }
    bool ready() override { return true; }
    void wait() override {}
    void start() override {
        try {
            upload();
            net_.enqueue(in_->data(), out_->data());
            download();
        } catch (const Error &error) {
            throw Error(CLV_ERR_INFERENCE, error.what());
        }
    }

private:
    void upload() {
        if (net_.input_type() == ElementType::f32) {
            transfer_up(input_.data());
            return;
        }
        half_.resize(input_.size());
        for (size_t i = 0; i < half_.size(); i++)
            half_[i] = pixels::f16_from_f32(input_[i]);
        transfer_up(half_.data());
    }
    void download() {
        if (net_.output_type() == ElementType::f32) {
            transfer_down(output_.data());
            return;
        }
        half_.resize(output_.size());
        transfer_down(half_.data());
        for (size_t i = 0; i < half_.size(); i++)
            output_[i] = pixels::f32_from_f16(half_[i]);
    }
    void transfer_up(const void *from) {
        const auto bytes = static_cast<ptrdiff_t>(in_->bytes());
        services_.upload(place_, from, bytes, in_->data(), bytes, in_->bytes(), 1);
    }
    void transfer_down(void *to) {
        const auto bytes = static_cast<ptrdiff_t>(out_->bytes());
        services_.download(place_, out_->data(), bytes, to, bytes, out_->bytes(), 1);
    }

    TensorModel &net_;
    const cuda::Place place_;
    CudaServices &services_;
    std::vector<float> input_;
    std::vector<float> output_;
    std::vector<uint16_t> half_; ///< the input on its way up, or the output on its way down
    const std::unique_ptr<DeviceMemory> in_;
    const std::unique_ptr<DeviceMemory> out_;
};

class DeviceTensors final : public CompiledModel {
public:
    DeviceTensors(std::unique_ptr<TensorModel> net, const TensorShape &input, const cuda::Place &place,
                  CudaServices &services)
        : net_(std::move(net)), input_(input), place_(place), services_(services) {}

    TensorShape output() const override { return net_->output(); }
    clv_precision precision() const override { return net_->precision(); }
    int threads() const override { return 1; }
    std::unique_ptr<InferRequest> create_request() override {
        return std::make_unique<DeviceRequest>(*net_, input_, place_, services_);
    }

private:
    const std::unique_ptr<TensorModel> net_;
    const TensorShape input_;
    const cuda::Place place_;
    CudaServices &services_;
};

} // namespace

Engine make_engine_at(const cuda::Place &place, CudaServices &services, const Bundle &bundle,
                      const TensorShape &input, const EngineOptions &options) {
    const bool automatic = options.backend.empty() || options.backend == "auto";
    const CompileRequest request = compile_request(bundle, input, options);
    Engine engine;
    engine.backend_name = automatic ? "cuda" : options.backend;
    engine.backend = load_backend(engine.backend_name);
    const bool fits = !automatic || request.fp16_passed || request.precision == CLV_PRECISION_FP16;
    if (!engine.backend->suits_tensors(request) || !fits) {
        if (engine.backend_name == options.backend && options.backend == "cuda")
            throw Error(CLV_ERR_UNSUPPORTED,
                        "backend cuda does not know the architecture of model " + bundle.name +
                            ": use backend=auto or openvino, which run it on the host for pictures in CUDA "
                            "memory too");
        return make_engine(bundle, input, options);
    }
    engine.why =
        automatic ? "chosen because it knows this net and the pictures are in CUDA memory" : "as asked";
    engine.runtime = engine.backend->runtime();
    engine.model = std::make_unique<DeviceTensors>(engine.backend->compile_tensors(request, place), input,
                                                   place, services);
    return engine;
}

} // namespace clv
