// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/cuda/launches.h"

#include <algorithm>
#include <string>

namespace clv::mesh::cuda {
namespace {

CLV_CUDA_IMAGE(mesh_frames);
CLV_CUDA_IMAGE(mesh_warp);
CLV_CUDA_IMAGE(mesh_fill);

static_assert(kMaxSlots == kSlots);

} // namespace

Kernels::Kernels(const clv::cuda::Place &place, bool wide, size_t light_bytes)
    : frames(place, clv_image_mesh_frames), warp(place, clv_image_mesh_warp),
      fill(place, clv_image_mesh_fill) {
    const std::string suffix = wide ? "_16" : "_8";
    const auto typed = [&](const clv::cuda::Module &module, const char *name, size_t shared = 0) {
        return module.kernel(name + suffix, shared);
    };
    import_frame = typed(frames, "clv_mesh_import");
    export_frame = typed(frames, "clv_mesh_export");
    reduce = typed(frames, "clv_mesh_reduce");
    mask = frames.kernel("clv_mesh_mask");
    pad = typed(frames, "clv_mesh_pad");
    overlay = typed(frames, "clv_mesh_overlay");
    draw = typed(warp, "clv_mesh_draw");
    lights = typed(warp, "clv_mesh_lights", light_bytes);
    cells = typed(fill, "clv_mesh_cells");
    mix = fill.kernel("clv_mesh_mix");
    pull = fill.kernel("clv_mesh_pull");
    top = fill.kernel("clv_mesh_top");
    push = fill.kernel("clv_mesh_push");
    diffuse_in = typed(fill, "clv_mesh_diffuse_in");
    diffuse_out = typed(fill, "clv_mesh_diffuse_out");
    paint_in = typed(fill, "clv_mesh_paint_in");
    paint_out = typed(fill, "clv_mesh_paint_out");
    depth = fill.kernel("clv_mesh_depth");
    blend = typed(fill, "clv_mesh_blend");
}

Layout layout_of(const Frame &frame) {
    Layout layout{};
    for (int plane = 0; plane < 3; plane++) {
        layout.width[plane] = frame.shape().plane_width(plane);
        layout.height[plane] = frame.shape().plane_height(plane);
        layout.stride[plane] = static_cast<int>(frame.stride(plane));
        layout.offset[plane] = static_cast<int>(frame.offset(plane));
    }
    return layout;
}

Outside outside_of(const Frame &frame) {
    Outside outside{};
    const pixels::Picture view = const_cast<Frame &>(frame).picture();
    for (int plane = 0; plane < 3; plane++) {
        outside.data[plane] = view.data[plane];
        outside.stride[plane] = view.stride[plane];
        outside.step[plane] = 1;
    }
    return outside;
}

Outside outside_of(const pixels::PictureFormat &format, const pixels::ConstPicture &picture) {
    Outside outside{};
    for (int plane = 0; plane < 3; plane++) {
        const bool together = plane > 0 && format.semi_planar;
        const int from = together ? 1 : plane;
        outside.data[plane] = const_cast<uint8_t *>(picture.data[from]) +
                              (together ? (plane - 1) * format.bytes_per_sample() : 0);
        outside.stride[plane] = picture.stride[from];
        outside.step[plane] = together ? 2 : 1;
    }
    outside.shift = format.msb_aligned ? 16 - format.bit_depth : 0;
    return outside;
}

NodeBox::NodeBox(const Field &field, const Box &luma) {
    const auto cell = [](int at, int nodes) { return std::clamp(at / Field::kStep, 0, nodes - 2); };
    first_column = cell(luma.x0, field.columns());
    first_row = cell(luma.y0, field.rows());
    columns = cell(luma.x1, field.columns()) + 2 - first_column;
    rows = cell(luma.y1, field.rows()) + 2 - first_row;
}

void NodeBox::copy(const Field &field, Way *to) const {
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++) {
            const Point &node = field.node(first_column + column, first_row + row);
            *to++ = {node.x(), node.y()};
        }
}

} // namespace clv::mesh::cuda
