// SPDX-License-Identifier: BSD-2-Clause
#include "core/adapter.h"

#include <string>

#include "core/error.h"
#include "core/picture.h"
#include "pixels/colour.h"
#include "pixels/pixels.h"

namespace clv {
namespace {

using pixels::ConstPicture;
using pixels::ConstTensor;
using pixels::Dither;
using pixels::Element;
using pixels::Picture;
using pixels::PictureFormat;

// Rows of a tensor that one task converts: large enough to hide the hand-over, small enough to share the
// work.
constexpr int kGrain = 16;

int round_up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

PictureFormat scaled(PictureFormat format, int scale) {
    format.width *= scale;
    format.height *= scale;
    return format;
}

Element element(ElementType type) {
    return type == ElementType::f16 ? Element::f16 : Element::f32;
}

/// The scale of nets whose output is a picture like their input (layouts y and rgb).
int picture_scale(const TensorShape &input, const TensorShape &output, const std::string &model) {
    for (int scale = 1; scale <= 4; scale++)
        if (output == TensorShape{input.channels, input.height * scale, input.width * scale})
            return scale;
    throw Error(CLV_ERR_UNSUPPORTED, "model " + model + " gives " + output.text() + " for " + input.text() +
                                         ": the filter needs as many channels and 1 to 4 times the size");
}

/// Layout yuv420_s2d: the picture's own samples, rearranged (pixels.h).
class S2dAdapter final : public Adapter {
public:
    S2dAdapter(const Bundle &bundle, const PictureFormat &format, Dither dither, pixels::ThreadPool &pool)
        : model_(bundle.name), format_(format), dither_(dither), pool_(pool),
          input_(clv::input_shape(bundle, format)) {}

    TensorShape input_shape() const override { return input_; }

    int set_output(const TensorShape &output, ElementType type) override {
        for (int scale = 1; scale <= 4; scale++)
            if (output == TensorShape{6 * scale * scale, input_.height, input_.width}) {
                output_ = output;
                type_ = element(type);
                scale_ = scale;
                return scale;
            }
        throw Error(CLV_ERR_UNSUPPORTED,
                    "model " + model_ + " gives " + output.text() + " for " + input_.text() +
                        ": layout yuv420_s2d needs 6, 24, 54 or 96 channels of the same size");
    }

    void prepare(const clv_picture &input, const clv_picture &, std::span<float> tensor) override {
        const auto to = pixels::contiguous(static_cast<void *>(tensor.data()), Element::f32, 6, rows(input_),
                                           columns(input_));
        const ConstPicture from = readable(input);
        pool_.parallel_for(0, to.height, kGrain, [&](int first, int last) {
            pixels::space_to_depth(format_, from, to, first, last);
        });
    }

    void finish(const void *tensor, const clv_picture &output) override {
        const ConstTensor from = pixels::contiguous(tensor, type_, static_cast<int>(output_.channels),
                                                    rows(output_), columns(output_));
        const PictureFormat format = scaled(format_, scale_);
        const Picture to = writable(output);
        pool_.parallel_for(0, from.height, kGrain, [&](int first, int last) {
            pixels::depth_to_space(from, scale_, format, to, dither_, first, last);
        });
    }

private:
    static int rows(const TensorShape &shape) { return static_cast<int>(shape.height); }
    static int columns(const TensorShape &shape) { return static_cast<int>(shape.width); }

    const std::string model_;
    const PictureFormat format_;
    const Dither dither_;
    pixels::ThreadPool &pool_;
    const TensorShape input_;
    TensorShape output_;
    Element type_ = Element::f32;
    int scale_ = 0;
};

/// Layout y: the net takes luma, a Lanczos resampler takes chroma.
class LumaAdapter final : public Adapter {
public:
    LumaAdapter(const Bundle &bundle, const PictureFormat &format, Dither dither, pixels::ThreadPool &pool)
        : model_(bundle.name), format_(format), dither_(dither), pool_(pool),
          input_(clv::input_shape(bundle, format)) {}

    TensorShape input_shape() const override { return input_; }

    int set_output(const TensorShape &output, ElementType type) override {
        scale_ = picture_scale(input_, output, model_);
        type_ = element(type);
        chroma_ = std::make_unique<pixels::ChromaScaler>(format_, scale_);
        return scale_;
    }

    void prepare(const clv_picture &input, const clv_picture &output, std::span<float> tensor) override {
        const auto to = pixels::contiguous(static_cast<void *>(tensor.data()), Element::f32, 1,
                                           static_cast<int>(input_.height), static_cast<int>(input_.width));
        const ConstPicture from = readable(input);
        pool_.parallel_for(0, to.height, kGrain, [&](int first, int last) {
            pixels::luma_to_tensor(format_, from, to, first, last);
        });
        chroma_->scale(from, writable(output));
    }

    void finish(const void *tensor, const clv_picture &output) override {
        const ConstTensor from =
            pixels::contiguous(tensor, type_, 1, static_cast<int>(input_.height) * scale_,
                               static_cast<int>(input_.width) * scale_);
        const PictureFormat format = scaled(format_, scale_);
        const Picture to = writable(output);
        pool_.parallel_for(0, format.height, kGrain, [&](int first, int last) {
            pixels::tensor_to_luma(from, format, to, dither_, first, last);
        });
    }

private:
    const std::string model_;
    const PictureFormat format_;
    const Dither dither_;
    pixels::ThreadPool &pool_;
    const TensorShape input_;
    Element type_ = Element::f32;
    int scale_ = 0;
    std::unique_ptr<pixels::ChromaScaler> chroma_;
};

/// Layout rgb: matrix and range honoured on the way in and out.
class RgbAdapter final : public Adapter {
public:
    RgbAdapter(const Bundle &bundle, const PictureFormat &format, Dither dither)
        : model_(bundle.name), format_(format), dither_(dither), input_(clv::input_shape(bundle, format)) {}

    TensorShape input_shape() const override { return input_; }

    bool takes_half() const override { return false; } // zimg computes in f32

    int set_output(const TensorShape &output, ElementType) override {
        const int scale = picture_scale(input_, output, model_);
        converter_ = std::make_unique<pixels::RgbConverter>(format_, static_cast<int>(input_.width),
                                                            static_cast<int>(input_.height), scale, dither_);
        return scale;
    }

    void prepare(const clv_picture &input, const clv_picture &, std::span<float> tensor) override {
        converter_->to_tensor(readable(input), tensor.data());
    }

    void finish(const void *tensor, const clv_picture &output) override {
        converter_->from_tensor(static_cast<const float *>(tensor), writable(output));
    }

private:
    const std::string model_;
    const PictureFormat format_;
    const Dither dither_;
    const TensorShape input_;
    std::unique_ptr<pixels::RgbConverter> converter_;
};

} // namespace

TensorShape input_shape(const Bundle &bundle, const PictureFormat &format) {
    const int width = round_up(format.width, bundle.multiple_of);
    const int height = round_up(format.height, bundle.multiple_of);
    switch (bundle.layout) {
    case CLV_LAYOUT_YUV420_S2D:
        return {6, round_up(height, 2) / 2, round_up(width, 2) / 2};
    case CLV_LAYOUT_Y:
        return {1, height, width};
    case CLV_LAYOUT_RGB:
        return {3, height, width};
    case CLV_LAYOUT_YUV420_S2D_MASK: // net_painter.h
        break;
    }
    throw Error(CLV_ERR_INTERNAL, "model " + bundle.name + " has a layout that no session takes");
}

std::unique_ptr<Adapter> make_adapter(const Bundle &bundle, const clv_format &format, clv_dither dither,
                                      pixels::ThreadPool &pool) {
    const PictureFormat picture = picture_format(format);
    const Dither rounding = dither == CLV_DITHER_ORDERED ? Dither::ordered : Dither::round;
    switch (bundle.layout) {
    case CLV_LAYOUT_YUV420_S2D:
        return std::make_unique<S2dAdapter>(bundle, picture, rounding, pool);
    case CLV_LAYOUT_Y:
        return std::make_unique<LumaAdapter>(bundle, picture, rounding, pool);
    case CLV_LAYOUT_RGB:
        return std::make_unique<RgbAdapter>(bundle, picture, rounding);
    case CLV_LAYOUT_YUV420_S2D_MASK: // net_painter.h
        break;
    }
    throw Error(CLV_ERR_INTERNAL, "model " + bundle.name + " has a layout without an adapter");
}

} // namespace clv
