// SPDX-License-Identifier: BSD-2-Clause
// What nets need that do not work on 4:2:0 itself, in device memory: the classes of pixels/colour.h,
// enqueued.
#pragma once

#include "cuda/driver.h"
#include "pixels/cuda/colour_params.h"
#include "pixels/pixels.h"

namespace clv::pixels::device {

/// 4:2:0 pictures <-> [3, height, width] tensors, f32 or f16 of any strides, planes R, G, B; see
/// pixels::RgbConverter. In f32 values are the host's but for the last bits, codes are within 1 of the host's
/// and nearly all the same. Made for one size and for tensors of one kind. Everything is enqueued on the
/// place's stream. Throws Error: CLV_ERR_INVALID_ARGUMENT when format, tensor and planes do not fit together,
/// CLV_ERR_UNSUPPORTED for bf16, CLV_ERR_INFERENCE when the device refuses. One thread at a time.
class RgbConverter {
public:
    /// `format` is that of the pictures that are read; those that are written have `scale` times its size.
    RgbConverter(const clv::cuda::Place &place, const PictureFormat &format, int scale, Dither dither,
                 Element input, Element output);

    /// Positions beyond the picture get its last row or column.
    void to_tensor(const ConstPicture &picture, const Tensor &tensor) const;
    /// What lies beyond the picture is dropped.
    void from_tensor(const ConstTensor &tensor, const Picture &picture) const;

private:
    clv::cuda::Place place_;
    PictureFormat input_;
    PictureFormat output_;
    Dither dither_;
    Element elements_[2];
    UnpackRgbParams unpack_ = {}; ///< but for picture and tensor
    PackRgbParams pack_ = {};
    clv::cuda::Module module_;
    clv::cuda::Kernel unpack_kernel_;
    clv::cuda::Kernel pack_kernel_;
};

/// The chroma planes at `scale` times the size (1..4), by Lanczos: pixels::ChromaScaler to the last bit.
/// Holds the weights of all rows and columns. Errors and threads as above.
class ChromaScaler {
public:
    ChromaScaler(const clv::cuda::Place &place, const PictureFormat &format, int scale);

    /// Luma planes are left alone.
    void scale(const ConstPicture &from, const Picture &to) const;
    std::size_t device_bytes() const { return weights_.bytes(); }

private:
    void copy(const ConstPicture &from, const Picture &to) const;

    clv::cuda::Place place_;
    PictureFormat input_;
    PictureFormat output_;
    clv::cuda::Module module_; ///< none at scale 1, where samples are copied
    clv::cuda::Buffer weights_;
    ResampleAxis across_ = {};
    ResampleAxis down_ = {};
    clv::cuda::Kernel kernel_;
};

} // namespace clv::pixels::device
