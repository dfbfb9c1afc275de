// SPDX-License-Identifier: BSD-2-Clause
// Pictures <-> tensors in device memory: the functions of pixels.h, enqueued.
#pragma once

#include <map>
#include <string>

#include "cuda/driver.h"
#include "pixels/cuda/device_picture.h"
#include "pixels/pixels.h"

namespace clv::pixels::device {

/// The kernels, loaded into one context. All functions: planes and tensors lie on the device; strides of
/// pictures are positive and samples aligned to their own size; tensors
/// are f32 or f16 with any strides. All rows are done. They return at once, with the work enqueued on the
/// stream of `place`, whose context is the constructor's (and need not be current). What they write is what
/// the functions of pixels.h write, to the last bit. Throw Error: CLV_ERR_INVALID_ARGUMENT when format,
/// tensor and planes do not fit together, CLV_ERR_UNSUPPORTED for bf16, CLV_ERR_INFERENCE when the device
/// refuses. One thread at a time.
class Conversions {
public:
    explicit Conversions(const clv::cuda::Place &place);

    void space_to_depth(const clv::cuda::Place &place, const PictureFormat &format,
                        const ConstPicture &picture, const Tensor &tensor);
    void depth_to_space(const clv::cuda::Place &place, const ConstTensor &tensor, int scale,
                        const PictureFormat &format, const Picture &picture, Dither dither);
    void luma_to_tensor(const clv::cuda::Place &place, const PictureFormat &format,
                        const ConstPicture &picture, const Tensor &tensor);
    void tensor_to_luma(const clv::cuda::Place &place, const ConstTensor &tensor, const PictureFormat &format,
                        const Picture &picture, Dither dither);

private:
    template <class Params>
    void launch(const clv::cuda::Place &place, const std::string &kernel, const Params &params, int run);

    clv::cuda::Module module_;
    std::map<std::string, clv::cuda::Kernel> kernels_; ///< those that were asked for
};

} // namespace clv::pixels::device
