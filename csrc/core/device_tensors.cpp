// SPDX-License-Identifier: BSD-2-Clause
#include "core/device_tensors.h"

#include <string>
#include <utility>

#include "core/error.h"

namespace clv {
namespace {

size_t bytes_of(const TensorShape &shape, ElementType type) {
    return shape.count() * (type == ElementType::f16 ? 2 : 4);
}

pixels::Element element(ElementType type) {
    return type == ElementType::f16 ? pixels::Element::f16 : pixels::Element::f32;
}

template <class Pointer>
auto tensor_at(Pointer data, const TensorShape &shape, ElementType type) {
    return pixels::contiguous(data, element(type), static_cast<int>(shape.channels),
                              static_cast<int>(shape.height), static_cast<int>(shape.width));
}

int scale_of(const TensorShape &input, const TensorShape &output, const std::string &model) {
    for (int scale = 1; scale <= 4; scale++)
        if (output == TensorShape{6 * scale * scale, input.height, input.width})
            return scale;
    throw Error(CLV_ERR_UNSUPPORTED, "model " + model + " gives " + output.text() + " for " + input.text() +
                                         ": layout yuv420_s2d needs 6, 24, 54 or 96 channels of the same "
                                         "size");
}

/// space-to-depth, net, depth-to-space, one after the other on one stream: one input and one output tensor
/// serve any number of pictures.
class S2dPictures final : public PictureModel {
public:
    S2dPictures(const Bundle &bundle, const TensorShape &input, const PictureSpec &spec,
                std::unique_ptr<TensorModel> net, CudaServices &services)
        : spec_(spec), services_(services), input_(input), net_(std::move(net)), output_(net_->output()),
          scale_(scale_of(input_, output_, bundle.name)), output_format_(spec.format),
          in_(services.allocate(spec.place, bytes_of(input_, net_->input_type()))),
          out_(services.allocate(spec.place, bytes_of(output_, net_->output_type()))) {
        output_format_.width *= scale_;
        output_format_.height *= scale_;
    }

    int scale() const override { return scale_; }
    clv_precision precision() const override { return net_->precision(); }
    uint64_t device_bytes() const override {
        return net_->device_bytes() + uint64_t{in_->bytes()} + out_->bytes();
    }
    std::string text() const override { return net_->text(); }

    void enqueue(const pixels::ConstPicture &in, const pixels::Picture &out) override {
        services_.space_to_depth(spec_.place, spec_.format, in,
                                 tensor_at(in_->data(), input_, net_->input_type()));
        net_->enqueue(in_->data(), out_->data());
        const void *result = out_->data();
        services_.depth_to_space(spec_.place, tensor_at(result, output_, net_->output_type()), scale_,
                                 output_format_, out, spec_.dither);
    }

private:
    const PictureSpec spec_;
    CudaServices &services_;
    const TensorShape input_;
    const std::unique_ptr<TensorModel> net_;
    const TensorShape output_;
    const int scale_;
    pixels::PictureFormat output_format_;
    const std::unique_ptr<DeviceMemory> in_;
    const std::unique_ptr<DeviceMemory> out_;
};

} // namespace

std::unique_ptr<PictureModel> pictures_from_tensors(const Bundle &bundle, const TensorShape &input,
                                                    const PictureSpec &spec, std::unique_ptr<TensorModel> net,
                                                    CudaServices &services) {
    if (bundle.layout != CLV_LAYOUT_YUV420_S2D)
        throw Error(CLV_ERR_UNSUPPORTED,
                    "model " + bundle.name + " has the layout " +
                        (bundle.layout == CLV_LAYOUT_Y ? "y" : "rgb") +
                        ", and pictures in CUDA memory "
                        "become tensors of yuv420_s2d only: download them first (in ffmpeg: "
                        "hwdownload,format=nv12)");
    return std::make_unique<S2dPictures>(bundle, input, spec, std::move(net), services);
}

} // namespace clv
