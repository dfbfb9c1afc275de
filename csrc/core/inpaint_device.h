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
    std::unique_ptr<mesh::PictureOps> make_ops();
    /// For the painter: on the device if it can (device_requests.h).
    MakeEngine make_engine();

    /// Reads a picture, or a mask, back: waits for the stream. What is returned is kept until the next call.
    clv_picture on_host(const clv_picture &picture);
    clv_mask on_host(const clv_mask &mask);
    /// Writes `host`, which on_host() gave, over `picture`.
    void put_back(const clv_picture &host, const clv_picture &picture);

    void synchronise() { services_->synchronise(place_); }
    /// What was done so far counts no more.
    void clear_stats();
    clv_device_stats stats() const;
    /// For the log.
    std::string text() const;

private:
    const clv_format format_;
    const cuda::Place place_;
    const std::unique_ptr<CudaServices> services_;
    const std::string name_;
    std::vector<uint8_t> picture_;
    std::vector<uint8_t> mask_;
};

} // namespace clv
