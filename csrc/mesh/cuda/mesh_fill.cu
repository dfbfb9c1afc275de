// SPDX-License-Identifier: BSD-2-Clause
// Smooth filling (pull-push), the membrane, and where the fill meets the picture.
//
// Pyramids: levels of more than a few thousand elements get a launch each; the rest of the way up and down is
// one block's, whose steps wait for each other (clv_mesh_top). A hole's membrane is small enough to need
// nothing else.
#include "mesh/cuda/samples.cuh"

namespace clv::mesh::cuda {
namespace {

// light.h, light.cpp
constexpr int kCell = 4;
constexpr float kSkirtScale = 10.0F;
constexpr float kSkirtLimit = 32.0F;
constexpr float kPast = 0.5F;

CLV_DEVICE void pull_one(const Pyramids &p, int plane, int level, int x, int y) {
    const Level fine = p.levels[plane][level];
    const Level coarse = p.levels[plane][level + 1];
    const float *values = p.values + fine.offset;
    const float *weights = p.weights + fine.offset;
    float sum = 0;
    float weight = 0;
    for (int dy = 0; dy < 2 && 2 * y + dy < fine.height; dy++)
        for (int dx = 0; dx < 2 && 2 * x + dx < fine.width; dx++) {
            const ptrdiff_t at = static_cast<ptrdiff_t>(2 * y + dy) * fine.width + (2 * x + dx);
            sum += weights[at] * values[at];
            weight += weights[at];
        }
    const ptrdiff_t to = coarse.offset + static_cast<ptrdiff_t>(y) * coarse.width + x;
    p.values[to] = weight > 0 ? sum / weight : 0;
    p.weights[to] = fminf(weight, 1.F);
}

CLV_DEVICE void push_one(const Pyramids &p, int plane, int level, int x, int y) {
    const Level fine = p.levels[plane][level];
    const Level coarse = p.levels[plane][level + 1];
    const ptrdiff_t at = fine.offset + static_cast<ptrdiff_t>(y) * fine.width + x;
    const float weight = p.weights[at];
    if (weight >= 1)
        return;
    const int near_y = y / 2;
    const int far_y = clamp_int(near_y + (y % 2 ? 1 : -1), 0, coarse.height - 1);
    const int near_x = x / 2;
    const int far_x = clamp_int(near_x + (x % 2 ? 1 : -1), 0, coarse.width - 1);
    const float *near_row = p.values + coarse.offset + static_cast<ptrdiff_t>(near_y) * coarse.width;
    const float *far_row = p.values + coarse.offset + static_cast<ptrdiff_t>(far_y) * coarse.width;
    const float up =
        0.5625F * near_row[near_x] + 0.1875F * (near_row[far_x] + far_row[near_x]) + 0.0625F * far_row[far_x];
    p.values[at] = up + weight * (p.values[at] - up);
}

// -------------------------------------------------------------------------------------------- membrane

/// Difference of now from what is drawn, of a block of a plane.
template <class Sample>
CLV_DEVICE float block_difference(const CellParams &p, int plane, int column, int row) {
    if (plane > 0)
        return static_cast<float>(row_of<Sample>(p.now, p.layout, plane, row)[column]) -
               static_cast<float>(row_of<Sample>(p.canvas, p.layout, plane, row)[column]);
    float sum = 0;
    int count = 0;
    for (int y = 2 * row; y < min(2 * row + 2, p.layout.height[0]); y++)
        for (int x = 2 * column; x < min(2 * column + 2, p.layout.width[0]); x++, count++)
            sum += static_cast<float>(row_of<Sample>(p.now, p.layout, 0, y)[x]) -
                   static_cast<float>(row_of<Sample>(p.canvas, p.layout, 0, y)[x]);
    return sum / static_cast<float>(count);
}

template <class Sample>
CLV_DEVICE void add_up_cells(const CellParams &p) {
    const int x = thread_x() + p.cells.x0;
    const int y = thread_y() + p.cells.y0;
    if (x >= p.cells.x1 || y >= p.cells.y1)
        return;
    float sums[3] = {};
    float weights[3] = {};
    for (int row = kCell * y; row < kCell * y + kCell; row++)
        for (int column = kCell * x; column < kCell * x + kCell; column++) {
            if (!block_comparable(block_at(p.blocks, column, row)))
                continue;
#pragma unroll
            for (int plane = 0; plane < 3; plane++) {
                const float difference = block_difference<Sample>(p, plane, column, row);
                const float size = fabsf(difference) / p.unit;
                if (size > kSkirtLimit)
                    continue;
                const float ratio = size / kSkirtScale;
                const float weight = 1 / (1 + ratio * ratio);
                sums[plane] += weight * difference;
                weights[plane] += weight;
            }
        }
    constexpr float kFull = 0.5F * kCell * kCell;
    const ptrdiff_t at =
        static_cast<ptrdiff_t>(y - p.cells.y0) * (p.cells.x1 - p.cells.x0) + (x - p.cells.x0);
#pragma unroll
    for (int plane = 0; plane < 3; plane++) {
        const float weight = weights[plane];
        const ptrdiff_t to = p.pyramids.levels[plane][0].offset + at;
        p.pyramids.values[to] = weight > 0 ? sums[plane] / weight : 0;
        p.pyramids.weights[to] = fminf(weight / kFull, 1.F);
    }
}

/// Membrane::row(), of one sample.
CLV_DEVICE float membrane_at(const BlendParams &p, int plane, int x, int y) {
    const int side = plane == 0 ? 2 * kCell : kCell;
    const float step = 1 / static_cast<float>(side);
    const float v = (static_cast<float>(y) + 0.5F) * step - 0.5F;
    const int row0 = clamp_int(static_cast<int>(floorf(v)), 0, p.rows - 1);
    const int row1 = min(row0 + 1, p.rows - 1);
    const float t = clamp_float(v - static_cast<float>(row0), 0.F, 1.F);
    const float *surface = p.surface + static_cast<ptrdiff_t>(plane) * p.columns * p.rows;
    const float *upper = surface + static_cast<ptrdiff_t>(row0) * p.columns;
    const float *lower = surface + static_cast<ptrdiff_t>(row1) * p.columns;
    const int cell = (x + side / 2) / side - 1;
    const int column0 = clamp_int(cell, 0, p.columns - 1);
    const int column1 = clamp_int(cell + 1, 0, p.columns - 1);
    const float left = upper[column0] + t * (lower[column0] - upper[column0]);
    const float right = upper[column1] + t * (lower[column1] - upper[column1]);
    const float slope = (right - left) * step;
    const float offset = 0.5F - (static_cast<float>(cell) + 0.5F) * static_cast<float>(side);
    return left + slope * (static_cast<float>(x) + offset);
}

// ------------------------------------------------------------------------------------- diffusion, painting

template <class Sample>
CLV_DEVICE void diffuse_in(const DiffuseParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const Level level = p.pyramids.levels[plane][0];
    const int x = thread_x();
    const int y = thread_y();
    if (x >= level.width || y >= level.height)
        return;
    const int scale = plane == 0 ? 2 : 1;
    const int from_x = x + scale * p.area.x0;
    const int from_y = y + scale * p.area.y0;
    const unsigned block = block_at(p.blocks, from_x / scale, from_y / scale);
    const void *from = (block & kHole) ? p.canvas : p.now;
    const ptrdiff_t at = level.offset + static_cast<ptrdiff_t>(y) * level.width + x;
    p.pyramids.values[at] = static_cast<float>(row_of<Sample>(from, p.layout, plane, from_y)[from_x]);
    p.pyramids.weights[at] = block_unknown(block) ? 0.F : 1.F;
}

template <class Sample>
CLV_DEVICE void diffuse_out(const DiffuseParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const Level level = p.pyramids.levels[plane][0];
    const int x = thread_x();
    const int y = thread_y();
    if (x >= level.width || y >= level.height)
        return;
    const int scale = plane == 0 ? 2 : 1;
    const int to_x = x + scale * p.area.x0;
    const int to_y = y + scale * p.area.y0;
    if (!block_unknown(block_at(p.blocks, to_x / scale, to_y / scale)))
        return;
    const float value = p.pyramids.values[level.offset + static_cast<ptrdiff_t>(y) * level.width + x];
    row_of<Sample>(p.canvas, p.layout, plane, to_y)[to_x] = static_cast<Sample>(value + 0.5F);
}

/// A chroma sample is hole when any sample of its block is.
CLV_DEVICE bool painted(const PaintParams &p, int plane, int x, int y) {
    if (plane == 0)
        return p.hole[static_cast<ptrdiff_t>(y) * p.hole_stride + x] != 0;
    bool any = false;
    for (int j = 2 * y; j < min(2 * y + 2, p.height); j++)
        for (int i = 2 * x; i < min(2 * x + 2, p.width); i++)
            any = any || p.hole[static_cast<ptrdiff_t>(j) * p.hole_stride + i] != 0;
    return any;
}

template <class Sample>
CLV_DEVICE void paint_in(const PaintParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const Level level = p.pyramids.levels[plane][0];
    const int x = thread_x();
    const int y = thread_y();
    if (x >= level.width || y >= level.height)
        return;
    const ptrdiff_t at = level.offset + static_cast<ptrdiff_t>(y) * level.width + x;
    p.pyramids.values[at] =
        static_cast<float>(reinterpret_cast<const Sample *>(p.data[plane] + y * p.stride[plane])[x]);
    p.pyramids.weights[at] = painted(p, plane, x, y) ? 0.F : 1.F;
}

template <class Sample>
CLV_DEVICE void paint_out(const PaintParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const Level level = p.pyramids.levels[plane][0];
    const int x = thread_x();
    const int y = thread_y();
    if (x >= level.width || y >= level.height || !painted(p, plane, x, y))
        return;
    const float value = p.pyramids.values[level.offset + static_cast<ptrdiff_t>(y) * level.width + x];
    reinterpret_cast<Sample *>(p.data[plane] + y * p.stride[plane])[x] =
        static_cast<Sample>(clamp_float(value, 0.F, p.maximum) + 0.5F);
}

// ------------------------------------------------------------------------------------------------ blend

/// Steps (also diagonal ones) to the outside of the hole, at most `limit`: the least of max(|dy|, steps along
/// row y + dy). What lies beyond the picture counts as the hole goes on.
CLV_DEVICE int depth_at(const BlendParams &p, int x, int y) {
    const int width = p.box.x1 - p.box.x0;
    const uint8_t *column = p.depth + (x - p.box.x0);
    int depth = column[static_cast<ptrdiff_t>(y - p.box.y0) * width];
    for (int by = 1; by < depth; by++) {
        for (int side = -1; side <= 1; side += 2) {
            const int there = y + side * by;
            int along = p.limit;
            if (there >= p.box.y0 && there < p.box.y1)
                along = column[static_cast<ptrdiff_t>(there - p.box.y0) * width];
            else if (there >= 0 && there < p.layout.height[0])
                along = 0;
            depth = min(depth, max(by, along));
        }
    }
    return depth;
}

template <class Sample>
CLV_DEVICE void blend_one(const BlendParams &p, int plane, int x, int y, int depth) {
    const auto own = static_cast<float>(row_of<Sample>(p.now, p.layout, plane, y)[x]);
    const auto fill = static_cast<float>(row_of<Sample>(p.canvas, p.layout, plane, y)[x]);
    const float weight = static_cast<float>(depth) * p.step;
    const float value = own + weight * (fill + membrane_at(p, plane, x, y) - own);
    const auto code = static_cast<Sample>(clamp_float(value, 0.F, p.maximum) + 0.5F);
    store_outside<Sample>(p.to, plane, x, y, code);
}

template <class Sample>
CLV_DEVICE void blend_block(const BlendParams &p) {
    const int column = thread_x() + p.box.x0 / 2;
    const int row = thread_y() + p.box.y0 / 2;
    if (2 * column >= p.box.x1 || 2 * row >= p.box.y1)
        return;
    int deepest = 0;
    for (int y = max(2 * row, p.box.y0); y < min(2 * row + 2, p.box.y1); y++)
        for (int x = max(2 * column, p.box.x0); x < min(2 * column + 2, p.box.x1); x++) {
            const int depth = depth_at(p, x, y);
            deepest = max(deepest, depth);
            if (depth > 0)
                blend_one<Sample>(p, 0, x, y, depth);
        }
    if (deepest > 0)
        for (int plane = 1; plane < 3; plane++)
            blend_one<Sample>(p, plane, column, row, deepest);
}

} // namespace
} // namespace clv::mesh::cuda

using namespace clv::mesh::cuda;

CLV_MESH_KERNEL(clv_mesh_cells, CellParams, 256, add_up_cells)
CLV_MESH_KERNEL(clv_mesh_diffuse_in, DiffuseParams, 256, diffuse_in)
CLV_MESH_KERNEL(clv_mesh_diffuse_out, DiffuseParams, 256, diffuse_out)
CLV_MESH_KERNEL(clv_mesh_paint_in, PaintParams, 256, paint_in)
CLV_MESH_KERNEL(clv_mesh_paint_out, PaintParams, 256, paint_out)
CLV_MESH_KERNEL(clv_mesh_blend, BlendParams, 256, blend_block)

CLV_KERNEL(clv_mesh_pull, PullParams, 256, 1) {
    const int plane = static_cast<int>(blockIdx.z);
    if (p.level >= p.pyramids.wide[plane])
        return;
    const Level coarse = p.pyramids.levels[plane][p.level + 1];
    if (thread_x() < coarse.width && thread_y() < coarse.height)
        pull_one(p.pyramids, plane, p.level, thread_x(), thread_y());
}

CLV_KERNEL(clv_mesh_push, PushParams, 256, 1) {
    const int plane = static_cast<int>(blockIdx.z);
    if (p.level >= p.pyramids.wide[plane])
        return;
    const Level fine = p.pyramids.levels[plane][p.level];
    if (thread_x() < fine.width && thread_y() < fine.height)
        push_one(p.pyramids, plane, p.level, thread_x(), thread_y());
}

CLV_KERNEL(clv_mesh_top, TopParams, 512, 1) {
    const int plane = static_cast<int>(blockIdx.x);
    const int first = p.pyramids.wide[plane];
    const int last = p.pyramids.count[plane] - 1;
    for (int level = first; level < last; level++) {
        const Level coarse = p.pyramids.levels[plane][level + 1];
        for (int i = static_cast<int>(threadIdx.x); i < coarse.width * coarse.height;
             i += static_cast<int>(blockDim.x))
            pull_one(p.pyramids, plane, level, i % coarse.width, i / coarse.width);
        __syncthreads();
    }
    const Level top = p.pyramids.levels[plane][last];
    if (threadIdx.x == 0 && p.pyramids.weights[top.offset] <= 0)
        p.pyramids.values[top.offset] = p.otherwise;
    __syncthreads();
    for (int level = last - 1; level >= first; level--) {
        const Level fine = p.pyramids.levels[plane][level];
        for (int i = static_cast<int>(threadIdx.x); i < fine.width * fine.height;
             i += static_cast<int>(blockDim.x))
            push_one(p.pyramids, plane, level, i % fine.width, i / fine.width);
        __syncthreads();
    }
}

/// What the membrane was is mixed in.
CLV_KERNEL(clv_mesh_mix, MixParams, 256, 1) {
    const int plane = static_cast<int>(blockIdx.z);
    const int x = thread_x() + p.cells.x0;
    const int y = thread_y() + p.cells.y0;
    if (x >= p.cells.x1 || y >= p.cells.y1)
        return;
    const ptrdiff_t at =
        static_cast<ptrdiff_t>(y - p.cells.y0) * (p.cells.x1 - p.cells.x0) + (x - p.cells.x0);
    float value = p.pyramids.values[p.pyramids.levels[plane][0].offset + at];
    const ptrdiff_t whole = static_cast<ptrdiff_t>(plane) * p.columns * p.rows;
    if (p.warm) {
        constexpr float kSide = 2.F * kCell;
        const float from_x = (static_cast<float>(x) + 0.5F) * kSide;
        const float from_y = (static_cast<float>(y) + 0.5F) * kSide;
        const Way way = field_at(p.back, p.field_columns, p.field_rows, from_x, from_y);
        const int px = floor_of((from_x + way.x) / kSide);
        const int py = floor_of((from_y + way.y) / kSide);
        if (px >= p.last.x0 && px < p.last.x1 && py >= p.last.y0 && py < p.last.y1)
            value += kPast * (p.before[whole + static_cast<ptrdiff_t>(py) * p.columns + px] - value);
    }
    p.surface[whole + static_cast<ptrdiff_t>(y) * p.columns + x] = value;
}

CLV_KERNEL(clv_mesh_depth, DepthParams, 256, 1) {
    const int x = thread_x() + p.box.x0;
    const int y = thread_y() + p.box.y0;
    if (x >= p.box.x1 || y >= p.box.y1)
        return;
    const uint32_t *bits = p.bits + static_cast<ptrdiff_t>(y - p.box.y0) * p.words;
    // Beyond the box nothing is hole; beyond the picture there is nothing.
    const auto hole = [&](int at) {
        if (at < p.box.x0 || at >= p.box.x1)
            return at < 0 || at >= p.width;
        const int bit = at - p.box.x0;
        return (bits[bit / 32] >> (bit % 32) & 1) != 0;
    };
    int depth = hole(x) ? 1 : 0;
    if (depth)
        while (depth < p.limit && hole(x - depth) && hole(x + depth))
            depth++;
    p.depth[static_cast<ptrdiff_t>(y - p.box.y0) * (p.box.x1 - p.box.x0) + (x - p.box.x0)] =
        static_cast<uint8_t>(depth);
}
