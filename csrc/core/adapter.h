// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>
#include <span>

#include "core/backend.h"
#include "core/model.h"
#include "pixels/pixels.h"
#include "pixels/thread_pool.h"

namespace clv {

/// What a net of the bundle's layout takes for pictures of `format`: padded as its card asks.
TensorShape input_shape(const Bundle &bundle, const pixels::PictureFormat &format);

/// One layout's way from a picture to the net's tensor and back, for one input format. Used by one thread at
/// a time.
class Adapter {
public:
    virtual ~Adapter() = default;
    virtual TensorShape input_shape() const = 0;
    /// Whether finish() takes f16.
    virtual bool takes_half() const { return true; }
    /// Learns what the net gives and returns the picture's scale. Throws Error when the layout cannot use it.
    virtual int set_output(const TensorShape &output, ElementType type) = 0;
    /// input planes -> the net's input tensor. A part of the output that does not come from the net may be
    /// written here (the chroma of luma nets).
    virtual void prepare(const clv_picture &input, const clv_picture &output, std::span<float> tensor) = 0;
    /// The net's output tensor -> output planes.
    virtual void finish(const void *tensor, const clv_picture &output) = 0;
};

/// `format` is that of the input pictures. `pool` must outlive the adapter.
std::unique_ptr<Adapter> make_adapter(const Bundle &bundle, const clv_format &format, clv_dither dither,
                                      pixels::ThreadPool &pool);

} // namespace clv
