// SPDX-License-Identifier: BSD-2-Clause
// What an inpainter has besides when its pictures are in CUDA memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clarivid/clarivid.h"
#include "core/cuda_services.h"
#include "core/engine.h"
#include "core/painter_on_device.h"
#include "mesh/picture_ops.h"

namespace clv {

/// The device, the work of csrc/mesh on it, and pictures and masks that the host must see. One thread at a
/// time.
class InpaintDevice {
public:
    /// Throws Error as CudaServices::check().
    InpaintDevice(const clv_cuda_device &device, const clv_format &format);
    InpaintDevice(const InpaintDevice &) = delete;
    InpaintDevice &operator=(const InpaintDevice &) = delete;

    const std::string &name() const { return name_; }
    /// Has `net` paint on the device; false when it is to run on the host (painter_on_device.h).
    bool take_painter(const Bundle &net, const EngineOptions &options);
    /// "model NAME: paints at ...", for the log; the painter is there.
    const std::string &painter_text() const { return painter_->text(); }

    /// The samples' side of an inpainter. `host`: what paints when there is no painter on the device; may be
    /// null, for smooth colours.
    std::unique_ptr<mesh::PictureOps> make_ops(mesh::Painter *host);
    /// Paints the hole (0 or 255 a luma sample, rows without gaps) of one picture, in place.
    void paint(const clv_picture &picture, const std::vector<uint8_t> &hole, mesh::Painter *host);

    /// Reads a picture, or a mask, back: waits for the stream. What is returned is kept until the next call.
    clv_picture on_host(const clv_picture &picture);
    clv_mask on_host(const clv_mask &mask);

    void synchronise() { services_->synchronise(place_); }
    /// What was done so far counts no more.
    void clear_stats();
    clv_device_stats stats() const;

private:
    const clv_format format_;
    const cuda::Place place_;
    const std::unique_ptr<CudaServices> services_;
    const std::string name_;
    std::unique_ptr<PainterOnDevice> painter_; // after the services: destroyed before them
    std::vector<uint8_t> picture_;
    std::vector<uint8_t> mask_;
};

} // namespace clv
