// SPDX-License-Identifier: BSD-2-Clause

#include "pixels/cuda/pixels_cuda.h"

#include <algorithm>
#include <cstdint>

#include "pixels/cuda/tensor_params.h"

CLV_CUDA_IMAGE(pixels);

namespace clv::pixels::device {
namespace {

constexpr unsigned kMaxGridRows = 65535; ///< of a grid's y; blocks repeat beyond

[[noreturn]] void refuse(const std::string &sentence) {
    throw Error(CLV_ERR_INVALID_ARGUMENT, sentence);
}

const char *name_of(Element element) {
    if (element == Element::bf16)
        throw Error(CLV_ERR_UNSUPPORTED, "tensors in device memory are of f32 or f16, not of bf16");
    return element == Element::f32 ? "f32" : "f16";
}

std::size_t size_of(Element element) {
    return element == Element::f32 ? 4 : 2;
}

/// A position stands for step x step luma samples.
template <typename Void>
void check_tensor(const BasicTensor<Void> &tensor, int channels, int step, const PictureFormat &format) {
    if (!tensor.data)
        refuse("the tensor in device memory has no data");
    const std::size_t size = size_of(tensor.element);
    if (reinterpret_cast<std::uintptr_t>(tensor.data) % size != 0)
        refuse("the tensor in device memory has its elements at odd addresses; align it to " +
               std::to_string(size) + " bytes");
    if (tensor.channels != channels)
        refuse("the tensor has " + std::to_string(tensor.channels) + " channels where " +
               std::to_string(channels) + " are needed");
    if (static_cast<std::int64_t>(tensor.width) * step < format.width ||
        static_cast<std::int64_t>(tensor.height) * step < format.height)
        refuse("a tensor of " + std::to_string(tensor.width) + "x" + std::to_string(tensor.height) +
               " positions is too small for a picture of " + std::to_string(format.width) + "x" +
               std::to_string(format.height));
}

template <typename Void>
BasicDeviceTensor<Void> device_tensor(const BasicTensor<Void> &t) {
    return {t.data, t.row_stride, t.channel_stride, t.height, t.width};
}

std::string with_kind(const std::string &name, Element element, int kind) {
    return "clv_" + name + "_" + name_of(element) + "_" + std::to_string(kind);
}

} // namespace

Conversions::Conversions(const clv::cuda::Place &place) : module_(place, clv_image_pixels) {}

template <class Params>
void Conversions::launch(const clv::cuda::Place &place, const std::string &name, const Params &params,
                         int run) {
    const clv::cuda::Current current(place);
    auto found = kernels_.find(name);
    if (found == kernels_.end())
        found = kernels_.emplace(name, module_.kernel(name)).first;
    const auto blocks = [](int count, int each) { return static_cast<unsigned>((count + each - 1) / each); };
    const dim3 grid(blocks(params.tensor.width, run * runs_per_block),
                    std::min(blocks(params.tensor.height, rows_per_block), kMaxGridRows));
    found->second.launch(grid, dim3(runs_per_block, rows_per_block), params, clv::cuda::stream_of(place));
}

void Conversions::space_to_depth(const clv::cuda::Place &place, const PictureFormat &format,
                                 const ConstPicture &picture, const Tensor &tensor) {
    const SourcePicture source = source_picture(format, picture);
    check_tensor(tensor, 6, 2, format);
    launch(place, with_kind("space_to_depth", tensor.element, kind_of(format)),
           UnpackPictureParams{source, device_tensor(tensor)}, unpack_run);
}

void Conversions::depth_to_space(const clv::cuda::Place &place, const ConstTensor &tensor, int scale,
                                 const PictureFormat &format, const Picture &picture, Dither dither) {
    if (scale < 1 || scale > 4)
        refuse("scale " + std::to_string(scale) + " is not supported; give 1 to 4");
    const TargetPicture target = target_picture(format, picture, dither);
    check_tensor(tensor, 6 * scale * scale, 2 * scale, format);
    launch(place, with_kind("depth_to_space_" + std::to_string(scale), tensor.element, kind_of(format)),
           PackPictureParams{device_tensor(tensor), target}, pack_run(scale));
}

void Conversions::luma_to_tensor(const clv::cuda::Place &place, const PictureFormat &format,
                                 const ConstPicture &picture, const Tensor &tensor) {
    const SourcePicture source = source_luma(format, picture);
    check_tensor(tensor, 1, 1, format);
    launch(place, with_kind("luma_to_tensor", tensor.element, format.bytes_per_sample()),
           UnpackPictureParams{source, device_tensor(tensor)}, unpack_run);
}

void Conversions::tensor_to_luma(const clv::cuda::Place &place, const ConstTensor &tensor,
                                 const PictureFormat &format, const Picture &picture, Dither dither) {
    const TargetPicture target = target_luma(format, picture, dither);
    check_tensor(tensor, 1, 1, format);
    launch(place, with_kind("tensor_to_luma", tensor.element, format.bytes_per_sample()),
           PackPictureParams{device_tensor(tensor), target}, pack_run(1));
}

} // namespace clv::pixels::device
