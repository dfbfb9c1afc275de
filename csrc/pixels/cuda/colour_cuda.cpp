// SPDX-License-Identifier: BSD-2-Clause

#include "pixels/cuda/colour_cuda.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "pixels/cuda/resample.h"

CLV_CUDA_IMAGE(rgb);
CLV_CUDA_IMAGE(chroma);

namespace clv::pixels::device {
namespace {

[[noreturn]] void refuse(const std::string &sentence) {
    throw Error(CLV_ERR_INVALID_ARGUMENT, sentence);
}

PictureFormat scaled(PictureFormat format, int scale) {
    if (scale < 1 || scale > 4)
        refuse("scale " + std::to_string(scale) + " is not supported; give 1 to 4");
    format.width *= scale;
    format.height *= scale;
    return format;
}

unsigned blocks(int count, int each) {
    return static_cast<unsigned>((count + each - 1) / each);
}

template <typename Void>
BasicDeviceTensor<Void> rgb_tensor(const BasicTensor<Void> &tensor, Element element,
                                   const PictureFormat &format) {
    if (!tensor.data)
        refuse("the tensor in device memory has no data");
    if (tensor.element != element)
        refuse("the tensor has other elements than the converter was made for");
    if (tensor.channels != 3)
        refuse("the tensor has " + std::to_string(tensor.channels) + " channels where R, G and B are needed");
    if (tensor.width < format.width || tensor.height < format.height)
        refuse("a tensor of " + std::to_string(tensor.width) + "x" + std::to_string(tensor.height) +
               " is too small for a picture of " + std::to_string(format.width) + "x" +
               std::to_string(format.height));
    return {tensor.data, tensor.row_stride, tensor.channel_stride, tensor.height, tensor.width};
}

std::string with_kind(const std::string &name, Element element, const PictureFormat &format) {
    if (element == Element::bf16)
        throw Error(CLV_ERR_UNSUPPORTED, "tensors in device memory are of f32 or f16, not of bf16");
    return "clv_" + name + (element == Element::f32 ? "_f32_" : "_f16_") +
           std::to_string(format.bytes_per_sample());
}

} // namespace

RgbConverter::RgbConverter(const clv::cuda::Place &place, const PictureFormat &format, int scale,
                           Dither dither, Element input, Element output)
    : place_(place), input_(format), output_(scaled(format, scale)),
      dither_(dither), elements_{input, output}, module_(place, clv_image_rgb),
      unpack_kernel_(module_.kernel(with_kind("picture_to_rgb", input, format), unpack_rgb_shared)),
      pack_kernel_(module_.kernel(with_kind("rgb_to_picture", output, format), pack_rgb_shared)) {
    const bool across = level_across(format.chroma_site);
    const bool down = level_down(format.chroma_site);
    unpack_.luma = values_of_codes(format, false);
    unpack_.chroma = values_of_codes(format, true);
    matrix_to_rgb(format.matrix, unpack_.matrix);
    unpack_.across = cubic_up(across);
    unpack_.down = cubic_up(down);
    pack_.luma = codes_of_values(format, false);
    pack_.chroma = codes_of_values(format, true);
    matrix_from_rgb(format.matrix, pack_.matrix);
    pack_.across = cubic_down(across);
    pack_.down = cubic_down(down);
    pack_.dither = dither == Dither::ordered ? 1 : 0;
}

void RgbConverter::to_tensor(const ConstPicture &picture, const Tensor &tensor) const {
    UnpackRgbParams params = unpack_;
    params.picture = source_picture(input_, picture);
    params.tensor = rgb_tensor(tensor, elements_[0], input_);
    const clv::cuda::Current current(place_);
    unpack_kernel_.launch(dim3(blocks(tensor.width, rgb_columns), blocks(tensor.height, rgb_rows)),
                          dim3(rgb_threads), params, clv::cuda::stream_of(place_));
}

void RgbConverter::from_tensor(const ConstTensor &tensor, const Picture &picture) const {
    PackRgbParams params = pack_;
    params.picture = target_picture(output_, picture, dither_);
    params.tensor = rgb_tensor(tensor, elements_[1], output_);
    const clv::cuda::Current current(place_);
    pack_kernel_.launch(dim3(blocks(output_.width, rgb_columns), blocks(output_.height, rgb_rows)),
                        dim3(rgb_threads), params, clv::cuda::stream_of(place_));
}

ChromaScaler::ChromaScaler(const clv::cuda::Place &place, const PictureFormat &format, int scale)
    : place_(place), input_(format), output_(scaled(format, scale)) {
    if (scale == 1)
        return;
    module_ = clv::cuda::Module(place, clv_image_chroma);
    // Where the output begins in the input's samples: chroma_format() in pixels/colour.cpp derives it.
    const double shift = 0.25 - 0.25 / scale;
    const LanczosWeights across =
        lanczos(input_.chroma_width(), output_.chroma_width(), level_across(input_.chroma_site) ? shift : 0.0,
                output_.chroma_width() / static_cast<double>(scale));
    const LanczosWeights down =
        lanczos(input_.chroma_height(), output_.chroma_height(), level_down(input_.chroma_site) ? shift : 0.0,
                output_.chroma_height() / static_cast<double>(scale));
    const auto words = [](const LanczosWeights &axis) { return axis.first.size() * sizeof(std::int32_t); };
    const auto halves = [](const LanczosWeights &axis) { return axis.weight.size() * sizeof(std::int16_t); };
    weights_ = clv::cuda::Buffer(place, words(across) + words(down) + halves(across) + halves(down));
    auto *at = weights_.get<std::byte>();
    const auto upload = [&](const void *from, std::size_t bytes) {
        clv::cuda::copy_to_device_async(place_, at, from, bytes);
        at += bytes;
        return at - bytes;
    };
    across_.first = reinterpret_cast<const std::int32_t *>(upload(across.first.data(), words(across)));
    down_.first = reinterpret_cast<const std::int32_t *>(upload(down.first.data(), words(down)));
    across_.weight = reinterpret_cast<const std::int16_t *>(upload(across.weight.data(), halves(across)));
    down_.weight = reinterpret_cast<const std::int16_t *>(upload(down.weight.data(), halves(down)));
    kernel_ =
        module_.kernel("clv_scale_chroma_" + std::to_string(input_.bytes_per_sample()), scale_chroma_shared);
}

void ChromaScaler::scale(const ConstPicture &from, const Picture &to) const {
    if (!kernel_) {
        copy(from, to);
        return;
    }
    ScaleChromaParams params = {};
    params.from = source_picture(input_, from);
    params.to = target_picture(output_, to, Dither::round);
    params.across = across_;
    params.down = down_;
    params.max_value = input_.bit_depth > 8 ? (1 << input_.bit_depth) - 1 : 65535;
    const clv::cuda::Current current(place_);
    kernel_.launch(
        dim3(blocks(output_.chroma_width(), chroma_columns), blocks(output_.chroma_height(), chroma_rows)),
        dim3(chroma_threads), params, clv::cuda::stream_of(place_));
}

void ChromaScaler::copy(const ConstPicture &from, const Picture &to) const {
    const auto samples =
        static_cast<std::size_t>(input_.semi_planar ? 2 * input_.chroma_width() : input_.chroma_width());
    for (int plane = 1; plane < (input_.semi_planar ? 2 : 3); plane++)
        clv::cuda::copy_on_device_2d(place_, to.data[plane], static_cast<std::size_t>(to.stride[plane]),
                                     from.data[plane], static_cast<std::size_t>(from.stride[plane]),
                                     samples * static_cast<std::size_t>(input_.bytes_per_sample()),
                                     static_cast<std::size_t>(input_.chroma_height()));
}

} // namespace clv::pixels::device
