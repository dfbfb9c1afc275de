// SPDX-License-Identifier: BSD-2-Clause
// The inpainter's kernels, loaded into a context, and how they are launched.
#pragma once

#include "cuda/driver.h"
#include "mesh/blocks.h"
#include "mesh/cuda/kernels.h"
#include "mesh/store.h"
#include "mesh/warp.h"

namespace clv::mesh::cuda {

struct Kernels {
    /// For samples of one byte or, `wide`, two. `light_bytes`: shared memory of the kernel of lights.
    Kernels(const clv::cuda::Place &place, bool wide, size_t light_bytes);

    clv::cuda::Module frames, warp, fill;
    clv::cuda::Kernel import_frame, export_frame, reduce, mask, pad, overlay;
    clv::cuda::Kernel draw, lights;
    clv::cuda::Kernel cells, mix, pull, top, push, diffuse_in, diffuse_out, paint_in, paint_out, depth, blend;
};

inline constexpr unsigned kBlockWidth = 32;
inline constexpr unsigned kBlockHeight = 8;

/// A thread for each of width x height x depth things. Launches nothing when there are none.
template <typename Params>
void launch(const clv::cuda::Kernel &kernel, int width, int height, int depth, const Params &params,
            const clv::cuda::Place &place) {
    if (width <= 0 || height <= 0)
        return;
    const dim3 grid((static_cast<unsigned>(width) + kBlockWidth - 1) / kBlockWidth,
                    (static_cast<unsigned>(height) + kBlockHeight - 1) / kBlockHeight,
                    static_cast<unsigned>(depth));
    kernel.launch(grid, dim3(kBlockWidth, kBlockHeight), params, clv::cuda::stream_of(place));
}

inline Area area_of(const Box &box) {
    return {box.x0, box.y0, box.x1, box.y1};
}

Layout layout_of(const Frame &frame);
/// The planes of a frame, as those of a caller's.
Outside outside_of(const Frame &frame);
Outside outside_of(const pixels::PictureFormat &format, const pixels::ConstPicture &picture);

/// The nodes that decide about a box of luma samples: which they are, and the nodes themselves.
struct NodeBox {
    NodeBox(const Field &field, const Box &luma);
    size_t count() const { return static_cast<size_t>(columns) * static_cast<size_t>(rows); }
    void copy(const Field &field, Way *to) const;
    Nodes at(const Way *device) const { return {device, first_column, first_row, columns}; }

    int first_column, first_row, columns, rows;
};

} // namespace clv::mesh::cuda
