// SPDX-License-Identifier: BSD-2-Clause
// The samples' side of the inpainter in device memory.
//
// What passes between host and device for each picture, W x H of luma, all of it enqueued on the place's
// stream and counted:
//
//     to the host     reduced luma (at most 480 samples wide: 130 KB for 16:9) and, when the mask is on the
//                     device, a bit of it a sample; one transfer, and the one wait, in reduced_luma()
//     to the device   where lights are compared, a byte for each block of hole and skirt, nodes of the slots'
//                     fields there; nodes of the way back; a bit for each sample of the hole's box: three
//                     transfers, from pinned memory
//
// Besides: a painter on the host gets its excerpt to the host and back, with a wait; a DevicePainter gets a
// byte of hole a sample of it; drawing with `annotate` takes the whole result to the host and back.
#pragma once

#include <memory>

#include "cuda/place.h"
#include "mesh/picture_ops.h"

namespace clv::mesh::cuda {

/// For pictures of `format` in the memory of the place's context; strides must not be negative. Throws Error:
/// CLV_ERR_NO_MEMORY, CLV_ERR_BACKEND.
std::unique_ptr<PictureOps> make_cuda_ops(const pixels::PictureFormat &format, const clv::cuda::Place &place);

} // namespace clv::mesh::cuda
