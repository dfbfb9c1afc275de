// SPDX-License-Identifier: BSD-2-Clause
// What core and csrc/mesh need of a CUDA device, without linking against anything of CUDA: an object that
// libclarivid_cuda.so makes, loaded on demand (backend_loader.h). It knows no nets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/backend.h"
#include "cuda/place.h"
#include "mesh/painter.h"
#include "pixels/pixels.h"

namespace clv {

namespace mesh {
class PictureOps;
}

/// A window of every channel of a contiguous tensor in device memory.
struct DeviceWindow {
    void *tensor = nullptr;
    size_t row_bytes = 0, rows = 0; ///< of the tensor
    size_t left_bytes = 0, top = 0; ///< where the window begins
};

/// Device memory. Giving it back waits for the device's work. Counted in Counters::device_bytes.
class DeviceMemory {
public:
    virtual ~DeviceMemory() = default;
    virtual void *data() const = 0;
    virtual size_t bytes() const = 0;
};

/// Pictures <-> [3, height, width] tensors of R'G'B' in device memory: pixels::RgbConverter there.
class DeviceRgb {
public:
    virtual ~DeviceRgb() = default;
    virtual void to_tensor(const pixels::ConstPicture &picture, const pixels::Tensor &tensor) = 0;
    virtual void from_tensor(const pixels::ConstTensor &tensor, const pixels::Picture &picture) = 0;
};

/// Chroma planes at several times the size in device memory: pixels::ChromaScaler there.
class DeviceChroma {
public:
    virtual ~DeviceChroma() = default;
    virtual void scale(const pixels::ConstPicture &from, const pixels::Picture &to) = 0;
    virtual size_t bytes() const = 0; ///< of device memory held
};

/// Made for one session or inpainter, and for one context: it keeps the kernels that it loaded there until it
/// goes, before which the stream must have passed. One thread at a time. Whatever takes a place makes its
/// context current for the call, enqueues on its stream and counts in its counters. Pointers
/// are device pointers unless a name says host; strides are in bytes and positive. Everything throws
/// Error: CLV_ERR_BACKEND when the device refuses or there is no driver, CLV_ERR_NO_MEMORY when it has no
/// memory left, after which all goes on.
class CudaServices {
public:
    virtual ~CudaServices() = default;

    /// Throws Error: CLV_ERR_BACKEND (no driver), CLV_ERR_INVALID_ARGUMENT (handles that are none),
    /// CLV_ERR_UNSUPPORTED (a device older than the kernels). Returns the device's name for the log, such as
    /// "NVIDIA H100 80GB HBM3 (sm_90)".
    virtual std::string check(const cuda::Place &place) = 0;

    // ---- memory
    virtual std::unique_ptr<DeviceMemory> allocate(const cuda::Place &place, size_t bytes) = 0;
    /// `rows` rows of `row_bytes` from device to device.
    virtual void copy(const cuda::Place &place, const void *from, ptrdiff_t from_stride, void *to,
                      ptrdiff_t to_stride, size_t row_bytes, int rows) = 0;
    /// `rows` rows of `row_bytes` of each of `channels` channels, in one transfer.
    virtual void copy_window(const cuda::Place &place, const DeviceWindow &from, const DeviceWindow &to,
                             size_t row_bytes, size_t rows, size_t channels) = 0;
    /// Counted. Returns when `host_to` is written: it waits for the stream (counted too).
    virtual void download(const cuda::Place &place, const void *from, ptrdiff_t from_stride, void *host_to,
                          ptrdiff_t to_stride, size_t row_bytes, int rows) = 0;
    /// Counted. `host_from` has been read when it returns; the device's copy is in the stream's order.
    virtual void upload(const cuda::Place &place, const void *host_from, ptrdiff_t from_stride, void *to,
                        ptrdiff_t to_stride, size_t row_bytes, int rows) = 0;
    /// Waits for all that is enqueued (counted).
    virtual void synchronise(const cuda::Place &place) = 0;

    // ---- pixels, as the functions of the same names in pixels.h, over all rows of the tensor
    virtual void space_to_depth(const cuda::Place &place, const pixels::PictureFormat &format,
                                const pixels::ConstPicture &picture, const pixels::Tensor &tensor) = 0;
    virtual void depth_to_space(const cuda::Place &place, const pixels::ConstTensor &tensor, int scale,
                                const pixels::PictureFormat &format, const pixels::Picture &picture,
                                pixels::Dither dither) = 0;
    virtual void luma_to_tensor(const cuda::Place &place, const pixels::PictureFormat &format,
                                const pixels::ConstPicture &picture, const pixels::Tensor &tensor) = 0;
    virtual void tensor_to_luma(const cuda::Place &place, const pixels::ConstTensor &tensor,
                                const pixels::PictureFormat &format, const pixels::Picture &picture,
                                pixels::Dither dither) = 0;

    // ---- colours, as the classes of colour.h: `format` is that of the pictures that are read, those that
    // are written have `scale` times its size
    virtual std::unique_ptr<DeviceRgb> make_rgb(const cuda::Place &place, const pixels::PictureFormat &format,
                                                int scale, pixels::Dither dither, pixels::Element input,
                                                pixels::Element output) = 0;
    virtual std::unique_ptr<DeviceChroma> make_chroma(const cuda::Place &place,
                                                      const pixels::PictureFormat &format, int scale) = 0;

    // ---- inpainting
    /// The pixel work of an inpainter for pictures of `format` that lie at `place` (csrc/mesh).
    virtual std::unique_ptr<mesh::PictureOps> make_picture_ops(const pixels::PictureFormat &format,
                                                               const cuda::Place &place) = 0;
    /// What paints excerpts of planar pictures of `format` with a net of the layout yuv420_s2d_mask, whose
    /// one input is `input` (excerpt.h has the geometry). `net` was compiled for `place` and must outlive the
    /// painter.
    virtual std::unique_ptr<mesh::DevicePainter> make_painter(const pixels::PictureFormat &format,
                                                              const cuda::Place &place, TensorModel &net,
                                                              const TensorShape &input) = 0;
};

} // namespace clv

/// Beside clarivid_backend_create() in libclarivid_cuda.so. Returns NULL when `abi` is not its kBackendAbi.
/// Never touches the driver. The caller owns the result.
extern "C" __attribute__((visibility("default"))) clv::CudaServices *
clarivid_cuda_services_create(uint32_t abi);
