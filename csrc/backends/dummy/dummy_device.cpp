// SPDX-License-Identifier: BSD-2-Clause
#include "backends/dummy/dummy_device.h"

#include <string>

#include "backends/dummy/dummy_kernel.h"
#include "cuda/driver.h"

CLV_CUDA_IMAGE(dummy_kernel);

namespace clv::dummy {
namespace {

constexpr unsigned kThreads = 256;

class DeviceTensorNet final : public TensorModel {
public:
    DeviceTensorNet(const Net &net, const cuda::Place &place)
        : net_(net), place_(place), scratch_(net.scratch ? cuda::Buffer(place, net.scratch) : cuda::Buffer()),
          module_(place, clv_image_dummy_kernel), kernel_(module_.kernel("clv_dummy")) {}

    TensorShape output() const override { return net_.output; }
    ElementType input_type() const override { return ElementType::f32; }
    ElementType output_type() const override { return ElementType::f32; }
    clv_precision precision() const override { return CLV_PRECISION_FP32; }
    uint64_t device_bytes() const override { return scratch_.bytes(); }
    void enqueue(const void *in, void *out) override {
        if (++count_ == net_.fail_at)
            throw Error(CLV_ERR_INFERENCE, "inference " + std::to_string(count_) + " failed as device=fail=" +
                                               std::to_string(count_) + " of backend dummy asks");
        const DeviceNet params = {static_cast<const float *>(in),
                                  static_cast<float *>(out),
                                  static_cast<int>(net_.input.height),
                                  static_cast<int>(net_.input.width),
                                  static_cast<int>(net_.output.channels),
                                  net_.scale,
                                  net_.paints ? 1 : 0,
                                  net_.enlarges ? 1 : 0,
                                  net_.shift,
                                  net_.tint};
        const auto blocks = static_cast<unsigned>((net_.output.count() + kThreads - 1) / kThreads);
        const cuda::Current current(place_);
        kernel_.launch(dim3(blocks), dim3(kThreads), params, cuda::stream_of(place_));
    }

private:
    const Net net_;
    const cuda::Place place_;
    const cuda::Buffer scratch_;
    const cuda::Module module_;
    const cuda::Kernel kernel_;
    int count_ = 0;
};

} // namespace

std::unique_ptr<TensorModel> make_device_net(const Net &net, const cuda::Place &place) {
    return std::make_unique<DeviceTensorNet>(net, place);
}

} // namespace clv::dummy
