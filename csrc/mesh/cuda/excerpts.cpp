// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/cuda/excerpts.h"

#include <algorithm>

namespace clv::mesh::cuda {

Excerpts::Excerpts(const clv::cuda::Place &place, const Shape &shape, const Kernels &kernels,
                   DevicePullPush &pyramids)
    : place_(place), shape_(shape), kernels_(kernels), pyramids_(pyramids) {}

void Excerpts::paint(Frame &picture, const Box &box, const uint8_t *hole) {
    pixels::Picture excerpt = picture.picture();
    const int bytes = shape_.wide() ? 2 : 1;
    for (int plane = 0; plane < 3; plane++) {
        const int divide = plane == 0 ? 1 : 2;
        excerpt.data[plane] += box.y0 / divide * excerpt.stride[plane] + box.x0 / divide * bytes;
    }
    if (painter_ && !device_painter_) {
        paint_on_host(excerpt, box.width(), box.height(), hole);
        return;
    }
    if (!hole_)
        hole_ =
            clv::cuda::Buffer(place_, static_cast<size_t>(shape_.width) * static_cast<size_t>(shape_.height));
    clv::cuda::copy_to_device_async(place_, hole_.get(), hole,
                                    static_cast<size_t>(box.width()) * static_cast<size_t>(box.height()));
    const DeviceExcerpt job{excerpt,     box.width(), box.height(), hole_.get<const uint8_t>(),
                            box.width(), hole};
    if (device_painter_)
        device_painter_->paint(job);
    else
        paint_smoothly(job);
}

void Excerpts::paint_on_host(const pixels::Picture &excerpt, int width, int height, const uint8_t *hole) {
    const size_t bytes = shape_.wide() ? 2 : 1;
    if (!host_) {
        size_t samples = 0;
        for (int plane = 0; plane < 3; plane++)
            samples += static_cast<size_t>(shape_.plane_width(plane)) *
                       static_cast<size_t>(shape_.plane_height(plane));
        host_ = clv::cuda::Pinned(place_, samples * bytes);
    }
    pixels::Picture view;
    size_t row_bytes[3];
    size_t rows[3];
    size_t begin = 0;
    for (int plane = 0; plane < 3; plane++) {
        rows[plane] = static_cast<size_t>(plane == 0 ? height : (height + 1) / 2);
        row_bytes[plane] = static_cast<size_t>(plane == 0 ? width : (width + 1) / 2) * bytes;
        view.data[plane] = host_.get<uint8_t>() + begin;
        view.stride[plane] = static_cast<ptrdiff_t>(row_bytes[plane]);
        begin += rows[plane] * row_bytes[plane];
        clv::cuda::copy_to_host_2d(place_, view.data[plane], row_bytes[plane], excerpt.data[plane],
                                   static_cast<size_t>(excerpt.stride[plane]), row_bytes[plane], rows[plane]);
    }
    clv::cuda::synchronise(place_);
    painter_->paint(view, width, height, hole, width);
    for (int plane = 0; plane < 3; plane++)
        clv::cuda::copy_to_device_2d(place_, excerpt.data[plane], static_cast<size_t>(excerpt.stride[plane]),
                                     view.data[plane], row_bytes[plane], row_bytes[plane], rows[plane]);
}

/// Diffusion (mesh/diffuse.h).
void Excerpts::paint_smoothly(const DeviceExcerpt &excerpt) {
    const int width[3] = {excerpt.width, (excerpt.width + 1) / 2, (excerpt.width + 1) / 2};
    const int height[3] = {excerpt.height, (excerpt.height + 1) / 2, (excerpt.height + 1) / 2};
    PaintParams params{};
    for (int plane = 0; plane < 3; plane++) {
        params.data[plane] = excerpt.picture.data[plane];
        params.stride[plane] = excerpt.picture.stride[plane];
    }
    params.width = excerpt.width;
    params.height = excerpt.height;
    params.hole = excerpt.hole;
    params.hole_stride = static_cast<int>(excerpt.hole_stride);
    params.maximum = static_cast<float>(shape_.maximum());
    params.pyramids = pyramids_.plan(width, height);
    launch(kernels_.paint_in, width[0], height[0], 3, params, place_);
    pyramids_.fill(static_cast<float>(1 << (shape_.bit_depth - 1)));
    launch(kernels_.paint_out, width[0], height[0], 3, params, place_);
}

} // namespace clv::mesh::cuda
