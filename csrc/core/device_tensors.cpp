// SPDX-License-Identifier: BSD-2-Clause
#include "core/device_tensors.h"

#include <string>
#include <utility>

#include "core/error.h"

namespace clv {
namespace {

using pixels::ConstPicture;
using pixels::ConstTensor;
using pixels::Picture;
using pixels::PictureFormat;
using pixels::Tensor;

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

PictureFormat scaled(PictureFormat format, int scale) {
    format.width *= scale;
    format.height *= scale;
    return format;
}

/// Whether a net that gives `output` for `input` makes pictures `scale` times as large.
bool has_scale(clv_layout layout, const TensorShape &input, const TensorShape &output, int scale) {
    if (layout == CLV_LAYOUT_YUV420_S2D)
        return output == TensorShape{6 * scale * scale, input.height, input.width};
    return output == TensorShape{input.channels, input.height * scale, input.width * scale};
}

int scale_of(const Bundle &bundle, const TensorShape &input, const TensorShape &output) {
    for (int scale = 1; scale <= 4; scale++)
        if (has_scale(bundle.layout, input, output, scale))
            return scale;
    throw Error(CLV_ERR_UNSUPPORTED,
                "model " + bundle.name + " gives " + output.text() + " for " + input.text() +
                    (bundle.layout == CLV_LAYOUT_YUV420_S2D
                         ? ": layout yuv420_s2d needs 6, 24, 54 or 96 channels of the same size"
                         : ": the filter needs as many channels and 1 to 4 times the size"));
}

/// Conversion, net, conversion, one after the other on one stream: one input and one output tensor serve any
/// number of pictures.
class TensorPictures : public PictureModel {
public:
    TensorPictures(const Bundle &bundle, const TensorShape &input, const PictureSpec &spec,
                   std::unique_ptr<TensorModel> net, CudaServices &services)
        : spec_(spec), services_(services), input_(input), net_(std::move(net)), output_(net_->output()),
          scale_(scale_of(bundle, input_, output_)), output_format_(scaled(spec.format, scale_)),
          in_(services.allocate(spec.place, bytes_of(input_, net_->input_type()))),
          out_(services.allocate(spec.place, bytes_of(output_, net_->output_type()))) {}

    int scale() const override { return scale_; }
    clv_precision precision() const override { return net_->precision(); }
    uint64_t device_bytes() const override {
        return net_->device_bytes() + uint64_t{in_->bytes()} + out_->bytes();
    }
    std::string text() const override { return net_->text(); }

    void enqueue(const ConstPicture &in, const Picture &out) override {
        unpack(in, out);
        net_->enqueue(in_->data(), out_->data());
        pack(out);
    }

protected:
    /// Input planes -> the net's input. What of the output does not come from the net may be written here.
    virtual void unpack(const ConstPicture &in, const Picture &out) = 0;
    /// The net's output -> output planes.
    virtual void pack(const Picture &out) = 0;

    const PictureSpec &spec() const { return spec_; }
    const PictureFormat &output_format() const { return output_format_; }
    const TensorModel &net() const { return *net_; }
    CudaServices &services() { return services_; }
    Tensor input() const { return tensor_at(in_->data(), input_, net_->input_type()); }
    ConstTensor output() const {
        const void *data = out_->data();
        return tensor_at(data, output_, net_->output_type());
    }

private:
    const PictureSpec spec_;
    CudaServices &services_;
    const TensorShape input_;
    const std::unique_ptr<TensorModel> net_;
    const TensorShape output_;
    const int scale_;
    const PictureFormat output_format_;
    const std::unique_ptr<DeviceMemory> in_;
    const std::unique_ptr<DeviceMemory> out_;
};

/// Layout yuv420_s2d: the picture's own samples, rearranged (pixels.h).
class S2dPictures final : public TensorPictures {
public:
    using TensorPictures::TensorPictures;

private:
    void unpack(const ConstPicture &in, const Picture & /*out*/) override {
        services().space_to_depth(spec().place, spec().format, in, input());
    }
    void pack(const Picture &out) override {
        services().depth_to_space(spec().place, output(), scale(), output_format(), out, spec().dither);
    }
};

/// Layout y: the net takes luma, a Lanczos resampler takes chroma.
class LumaPictures final : public TensorPictures {
public:
    LumaPictures(const Bundle &bundle, const TensorShape &input, const PictureSpec &spec,
                 std::unique_ptr<TensorModel> net, CudaServices &services)
        : TensorPictures(bundle, input, spec, std::move(net), services),
          chroma_(services.make_chroma(spec.place, spec.format, scale())) {}

    uint64_t device_bytes() const override { return TensorPictures::device_bytes() + chroma_->bytes(); }

private:
    void unpack(const ConstPicture &in, const Picture &out) override {
        services().luma_to_tensor(spec().place, spec().format, in, input());
        chroma_->scale(in, out);
    }
    void pack(const Picture &out) override {
        services().tensor_to_luma(spec().place, output(), output_format(), out, spec().dither);
    }

    const std::unique_ptr<DeviceChroma> chroma_;
};

/// Layout rgb: matrix and range honoured on the way in and out.
class RgbPictures final : public TensorPictures {
public:
    RgbPictures(const Bundle &bundle, const TensorShape &input, const PictureSpec &spec,
                std::unique_ptr<TensorModel> net, CudaServices &services)
        : TensorPictures(bundle, input, spec, std::move(net), services),
          rgb_(services.make_rgb(spec.place, spec.format, scale(), spec.dither,
                                 element(this->net().input_type()), element(this->net().output_type()))) {}

private:
    void unpack(const ConstPicture &in, const Picture & /*out*/) override { rgb_->to_tensor(in, input()); }
    void pack(const Picture &out) override { rgb_->from_tensor(output(), out); }

    const std::unique_ptr<DeviceRgb> rgb_;
};

} // namespace

std::unique_ptr<PictureModel> pictures_from_tensors(const Bundle &bundle, const TensorShape &input,
                                                    const PictureSpec &spec, std::unique_ptr<TensorModel> net,
                                                    CudaServices &services) {
    switch (bundle.layout) {
    case CLV_LAYOUT_YUV420_S2D:
        return std::make_unique<S2dPictures>(bundle, input, spec, std::move(net), services);
    case CLV_LAYOUT_Y:
        return std::make_unique<LumaPictures>(bundle, input, spec, std::move(net), services);
    case CLV_LAYOUT_RGB:
        return std::make_unique<RgbPictures>(bundle, input, spec, std::move(net), services);
    case CLV_LAYOUT_YUV420_S2D_MASK: // net_painter.h
        break;
    }
    throw Error(CLV_ERR_INTERNAL, "model " + bundle.name + " has a layout that no session takes");
}

} // namespace clv
