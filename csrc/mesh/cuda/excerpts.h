// SPDX-License-Identifier: BSD-2-Clause
// Painting in pictures on a device.
#pragma once

#include "mesh/cuda/launches.h"
#include "mesh/cuda/surfaces.h"
#include "mesh/painter.h"

namespace clv::mesh::cuda {

/// Takes excerpts to whoever paints: a painter on the device, one on the host (the excerpt goes there and
/// back, which is waited for), or, when there is none, smooth colours on the device. Memory is taken at the
/// first painting and kept.
class Excerpts {
public:
    Excerpts(const clv::cuda::Place &place, const Shape &shape, const Kernels &kernels,
             DevicePullPush &pyramids);

    void use(Painter *painter) { painter_ = painter; }
    void use(DevicePainter *painter) { device_painter_ = painter; }
    /// As PictureOps::paint(). The context is current.
    void paint(Frame &picture, const Box &box, const uint8_t *hole);
    size_t bytes() const { return hole_.bytes() + host_.bytes(); }

private:
    void paint_on_host(const pixels::Picture &excerpt, int width, int height, const uint8_t *hole);
    void paint_smoothly(const DeviceExcerpt &excerpt);

    clv::cuda::Place place_;
    Shape shape_;
    const Kernels &kernels_;
    DevicePullPush &pyramids_;
    Painter *painter_ = nullptr;
    DevicePainter *device_painter_ = nullptr;
    clv::cuda::Buffer hole_; ///< on the device
    clv::cuda::Pinned host_; ///< the excerpt's planes
};

} // namespace clv::mesh::cuda
