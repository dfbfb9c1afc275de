// SPDX-License-Identifier: BSD-2-Clause
// Paints holes with a net, all of it on the device: no copy to the host, no wait.
#pragma once

#include <memory>

#include "core/backend.h"
#include "cuda/place.h"
#include "mesh/painter.h"
#include "pixels/pixels.h"

namespace clv::cuda {

/// As CudaServices::make_painter(): what core/net_painter.h does, with the same geometry and rounding. A
/// value of the net that is no number becomes the middle of the range (the host's painter refuses there, but
/// has to wait to know). Throws Error: CLV_ERR_UNSUPPORTED (a net of another shape), CLV_ERR_NO_MEMORY.
std::unique_ptr<mesh::DevicePainter> make_device_painter(const pixels::PictureFormat &format,
                                                         const Place &place, TensorModel &net,
                                                         const TensorShape &input);

} // namespace clv::cuda
