// SPDX-License-Identifier: BSD-2-Clause
// Smooth surfaces on the device: PullPush (mesh/diffuse.h) for three planes at a time, and the Membrane
// (mesh/light.h).
#pragma once

#include "mesh/cuda/launches.h"
#include "mesh/cuda/uploads.h"

namespace clv::mesh::cuda {

/// Keeps its memory, which grows to what the largest surface took.
class DevicePullPush {
public:
    DevicePullPush(const clv::cuda::Place &place, const Kernels &kernels)
        : place_(place), kernels_(kernels) {}

    /// Levels for three planes; the finest one is the caller's to write.
    const Pyramids &plan(const int (&width)[3], const int (&height)[3]);
    /// Mixes what comes from coarser levels into the finest.
    void fill(float otherwise);
    size_t bytes() const { return memory_.bytes(); }

private:
    clv::cuda::Place place_;
    const Kernels &kernels_;
    clv::cuda::Buffer memory_;
    Pyramids pyramids_{};
};

/// The state of a Membrane: what it does is in clv_mesh_cells and clv_mesh_mix.
class DeviceMembrane {
public:
    DeviceMembrane(const clv::cuda::Place &place, const Shape &shape, const Kernels &kernels);

    void reset();
    /// `blocks` is that of `map` on the device.
    void update(const BlockMap &map, const Frame &canvas, const Frame &now, const Field &back,
                DevicePullPush &pyramids, Uploads &uploads);
    const float *surface() const { return side(turn_); }
    int columns() const { return columns_; }
    int rows() const { return rows_; }
    size_t bytes() const { return memory_.bytes(); }

private:
    float *side(int which) const { return memory_.get<float>() + which * (memory_.bytes() / 8); }
    void clear();

    clv::cuda::Place place_;
    Shape shape_;
    const Kernels &kernels_;
    int columns_;
    int rows_;
    clv::cuda::Buffer memory_; ///< two surfaces of three planes, which take turns
    int turn_ = 0;
    bool warm_ = false;
    Box cells_;
};

} // namespace clv::mesh::cuda
