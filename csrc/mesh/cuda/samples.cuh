// SPDX-License-Identifier: BSD-2-Clause
// What the inpainter's kernels share. The same operations in the same order as on the host, and no fma
// (-fmad=false): results are the host's, bit by bit.
#pragma once

#include "cuda/device.cuh"
#include "mesh/cuda/kernels.h"

namespace clv::mesh::cuda {

// mesh/blocks.h
constexpr unsigned kSlotBits = 31;
constexpr unsigned kHole = 32;
constexpr unsigned kSkirt = 64;
// mesh/store.h
constexpr int kBorder = 8;
// mesh/warp.h
constexpr int kFieldStep = 16;

CLV_DEVICE bool block_drawn(unsigned block) {
    return (block & kHole) != 0 || ((block & kSkirt) != 0 && (block & kSlotBits) != 0);
}
CLV_DEVICE bool block_comparable(unsigned block) {
    return (block & kSkirt) != 0 && (block & kSlotBits) != 0;
}
CLV_DEVICE bool block_unknown(unsigned block) {
    return (block & (kHole | kSlotBits)) == kHole;
}

CLV_DEVICE int clamp_int(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}
/// As std::clamp, also for what is no number.
CLV_DEVICE float clamp_float(float value, float low, float high) {
    return value < low ? low : value > high ? high : value;
}
CLV_DEVICE int floor_of(float value) {
    const int whole = static_cast<int>(value);
    return whole - (static_cast<float>(whole) > value ? 1 : 0);
}

CLV_DEVICE int thread_x() {
    return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}
CLV_DEVICE int thread_y() {
    return static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
}

/// Row y of a plane of a frame.
template <class Sample>
CLV_DEVICE const Sample *row_of(const void *frame, const Layout &layout, int plane, int y) {
    return static_cast<const Sample *>(frame) + layout.offset[plane] +
           static_cast<ptrdiff_t>(y) * layout.stride[plane];
}
template <class Sample>
CLV_DEVICE Sample *row_of(void *frame, const Layout &layout, int plane, int y) {
    return static_cast<Sample *>(frame) + layout.offset[plane] +
           static_cast<ptrdiff_t>(y) * layout.stride[plane];
}

template <class Sample>
CLV_DEVICE void store_outside(const Outside &to, int plane, int x, int y, int code) {
    reinterpret_cast<Sample *>(to.data[plane] + y * to.stride[plane])[x * to.step[plane]] =
        static_cast<Sample>(code << to.shift);
}

CLV_DEVICE unsigned block_at(const BlockMap &map, int column, int row) {
    const Area &box = map.box;
    if (column < box.x0 || column >= box.x1 || row < box.y0 || row >= box.y1)
        return 0;
    return map.bytes[static_cast<ptrdiff_t>(row - box.y0) * (box.x1 - box.x0) + (column - box.x0)];
}

/// Field::at() and, as positions on the grid of samples are exact, Field::row().
CLV_DEVICE Way field_at(const Nodes &nodes, int columns, int rows, float x, float y) {
    const float u = x * (1.F / kFieldStep);
    const float v = y * (1.F / kFieldStep);
    const int column = clamp_int(floor_of(u), 0, columns - 2);
    const int row = clamp_int(floor_of(v), 0, rows - 2);
    const float t = v - static_cast<float>(row);
    const float s = u - static_cast<float>(column);
    const Way *upper = nodes.nodes + static_cast<ptrdiff_t>(row - nodes.first_row) * nodes.stride +
                       (column - nodes.first_column);
    const Way *lower = upper + nodes.stride;
    const float left_x = upper[0].x + t * (lower[0].x - upper[0].x);
    const float left_y = upper[0].y + t * (lower[0].y - upper[0].y);
    const float right_x = upper[1].x + t * (lower[1].x - upper[1].x);
    const float right_y = upper[1].y + t * (lower[1].y - upper[1].y);
    return {left_x + s * (right_x - left_x), left_y + s * (right_y - left_y)};
}

} // namespace clv::mesh::cuda

/// A kernel for samples of one byte and of two; `body` is a template.
#define CLV_MESH_KERNEL(name, Params, threads, body)                                                         \
    CLV_KERNEL(name##_8, Params, threads, 1) {                                                               \
        body<uint8_t>(p);                                                                                    \
    }                                                                                                        \
    CLV_KERNEL(name##_16, Params, threads, 1) {                                                              \
        body<uint16_t>(p);                                                                                   \
    }
