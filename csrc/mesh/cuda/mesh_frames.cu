// SPDX-License-Identifier: BSD-2-Clause
// Frames come and go: the caller's planes <-> padded planar codes, and what the host wants to know of them.
//
// Memory traffic at 1920x1080, 8 bit: import reads 3.1 MB and writes 3.2; export reads 3.1 and writes 3.1;
// reduce reads 2.1 (which import has just left in the L2) and writes 0.13.
#include "mesh/cuda/samples.cuh"

namespace clv::mesh::cuda {
namespace {

/// Eight samples, aligned to all of them.
template <class Sample>
struct alignas(8 * sizeof(Sample)) Eight {
    Sample of[8];
};

template <class Sample>
CLV_DEVICE bool aligned_to_eight(const void *p) {
    return reinterpret_cast<uintptr_t>(p) % sizeof(Eight<Sample>) == 0;
}

// A row of a frame, in memory; a thread writes one chunk of 8 samples with one store.
//
//     | border 8 | chunk | chunk | ... | chu|nk    |      |     rows are padded to 32 samples
//     ^ aligned  ^ sample 0              ^ width   ^ + 8
template <class Sample>
CLV_DEVICE void import_samples(const ImportParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const int width = p.layout.width[plane];
    const int height = p.layout.height[plane];
    const int x0 = 8 * thread_x() - kBorder;
    const int y = thread_y() - kBorder;
    if (x0 >= width + kBorder || y >= height + kBorder)
        return;
    const uint8_t *from = p.from.data[plane] + clamp_int(y, 0, height - 1) * p.from.stride[plane];
    const int step = p.from.step[plane];
    Eight<Sample> chunk;
    const Sample *first = reinterpret_cast<const Sample *>(from) + x0;
    if (x0 >= 0 && x0 + 8 <= width && step == 1 && aligned_to_eight<Sample>(first)) {
        chunk = *reinterpret_cast<const Eight<Sample> *>(first);
#pragma unroll
        for (int i = 0; i < 8; i++)
            chunk.of[i] = static_cast<Sample>(chunk.of[i] >> p.from.shift);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            chunk.of[i] = static_cast<Sample>(
                reinterpret_cast<const Sample *>(from)[clamp_int(x0 + i, 0, width - 1) * step] >>
                p.from.shift);
    }
    *reinterpret_cast<Eight<Sample> *>(row_of<Sample>(p.to, p.layout, plane, y) + x0) = chunk;
}

template <class Sample>
CLV_DEVICE void export_samples(const ExportParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const int width = p.layout.width[plane];
    const int x0 = 8 * thread_x();
    const int y = thread_y();
    if (x0 >= width || y >= p.layout.height[plane])
        return;
    Eight<Sample> chunk =
        *reinterpret_cast<const Eight<Sample> *>(row_of<Sample>(p.from, p.layout, plane, y) + x0);
#pragma unroll
    for (int i = 0; i < 8; i++)
        chunk.of[i] = static_cast<Sample>(chunk.of[i] << p.to.shift);
    Sample *to = reinterpret_cast<Sample *>(p.to.data[plane] + y * p.to.stride[plane]);
    const int step = p.to.step[plane];
    if (x0 + 8 <= width && step == 1 && aligned_to_eight<Sample>(to + x0)) {
        *reinterpret_cast<Eight<Sample> *>(to + x0) = chunk;
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (x0 + i < width)
            to[(x0 + i) * step] = chunk.of[i];
}

/// As reduce_luma() does it: sums of codes as they lie in memory.
template <class Sample>
CLV_DEVICE void reduce_samples(const ReduceParams &p) {
    const int x = thread_x();
    const int y = thread_y();
    if (x >= p.width || y >= p.height)
        return;
    uint32_t sum = 0;
    for (int row = 0; row < p.reduction; row++) {
        const Sample *from = reinterpret_cast<const Sample *>(
                                 p.from + (static_cast<int64_t>(y) * p.reduction + row) * p.stride) +
                             x * p.reduction;
        for (int i = 0; i < p.reduction; i++)
            sum += from[i];
    }
    const float mean = static_cast<float>(static_cast<int32_t>(sum)) * p.scale + 0.5F;
    p.to[static_cast<ptrdiff_t>(y) * p.width + x] = static_cast<uint8_t>(min(static_cast<int>(mean), 255));
}

template <class Sample>
CLV_DEVICE void pad_samples(const PadParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const int width = p.layout.width[plane];
    const int height = p.layout.height[plane];
    const int x = thread_x() - kBorder;
    const int y = thread_y() - kBorder;
    if (x >= width + kBorder || y >= height + kBorder || (x >= 0 && x < width && y >= 0 && y < height))
        return;
    row_of<Sample>(p.frame, p.layout, plane, y)[x] =
        row_of<Sample>(p.frame, p.layout, plane, clamp_int(y, 0, height - 1))[clamp_int(x, 0, width - 1)];
}

template <class Sample>
CLV_DEVICE void overlay_samples(const OverlayParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const int scale = plane == 0 ? 2 : 1;
    const int x = thread_x() + scale * p.blocks.box.x0;
    const int y = thread_y() + scale * p.blocks.box.y0;
    if (x >= min(scale * p.blocks.box.x1, p.layout.width[plane]) ||
        y >= min(scale * p.blocks.box.y1, p.layout.height[plane]) ||
        !block_drawn(block_at(p.blocks, x / scale, y / scale)))
        return;
    row_of<Sample>(p.to, p.layout, plane, y)[x] = row_of<Sample>(p.from, p.layout, plane, y)[x];
}

} // namespace
} // namespace clv::mesh::cuda

using namespace clv::mesh::cuda;

CLV_MESH_KERNEL(clv_mesh_import, ImportParams, 256, import_samples)
CLV_MESH_KERNEL(clv_mesh_export, ExportParams, 256, export_samples)
CLV_MESH_KERNEL(clv_mesh_reduce, ReduceParams, 256, reduce_samples)
CLV_MESH_KERNEL(clv_mesh_pad, PadParams, 256, pad_samples)
CLV_MESH_KERNEL(clv_mesh_overlay, OverlayParams, 256, overlay_samples)

CLV_KERNEL(clv_mesh_mask, MaskParams, 256, 1) {
    const int x = thread_x(); // a warp's lanes lie side by side
    const int y = thread_y();
    const bool inside = x < p.width && y < p.height;
    const unsigned bits = __ballot_sync(0xffffffff, inside && p.from[y * p.stride + x] >= 128);
    if (threadIdx.x % 32 == 0 && x / 32 < p.words && y < p.height)
        p.to[static_cast<ptrdiff_t>(y) * p.words + x / 32] = bits;
}
