// SPDX-License-Identifier: BSD-2-Clause
// What invents the background that no picture has shown.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pixels/pixels.h"

namespace clv::mesh {

/// Paints holes. One thread at a time.
class Painter {
public:
    virtual ~Painter() = default;

    /// Fills the samples of `picture` where `hole` is not 0, and leaves the others as they are.
    /// `picture`: planar 4:2:0 of the format given at construction but of any size (an excerpt around the
    /// hole); `hole`: one byte a luma sample, of the same size, `hole_stride` bytes a row. A hole that covers
    /// everything is filled with middle grey. Throws Error(CLV_ERR_INFERENCE).
    virtual void paint(const pixels::Picture &picture, int width, int height, const uint8_t *hole,
                       ptrdiff_t hole_stride) = 0;
};

/// A hole to paint, in the memory of a device. The excerpt is planar, of the format's bit depth with codes in
/// the low bits; strides are in bytes.
struct DeviceExcerpt {
    pixels::Picture picture; ///< device pointers; any alignment
    int width = 0;           ///< luma samples
    int height = 0;
    const uint8_t *hole = nullptr;      ///< on the device, one byte a luma sample, not 0 in the hole
    ptrdiff_t hole_stride = 0;          ///< of both
    const uint8_t *hole_host = nullptr; ///< the same on the host: bounds and shares without asking the device
};

/// Paints holes where the pictures are: enqueues on the stream of the place that it was made for, and waits
/// for nothing. One thread at a time.
class DevicePainter {
public:
    virtual ~DevicePainter() = default;

    /// Fills the excerpt's hole and leaves all else as it is, as Painter::paint(). What `hole` and
    /// `hole_host` point to may be gone when this returns, and `hole` is in the stream's order. Throws
    /// Error(CLV_ERR_INFERENCE).
    virtual void paint(const DeviceExcerpt &excerpt) = 0;
};

} // namespace clv::mesh
