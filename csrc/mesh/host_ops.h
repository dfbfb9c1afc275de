// SPDX-License-Identifier: BSD-2-Clause
// The samples' side of the inpainter in host memory.
#pragma once

#include <memory>

#include "mesh/picture_ops.h"
#include "pixels/thread_pool.h"

namespace clv::mesh {

/// `pool` must outlive what is returned.
std::unique_ptr<PictureOps> make_host_ops(const pixels::PictureFormat &format, pixels::ThreadPool &pool);

Shape shape_of(const pixels::PictureFormat &format);

} // namespace clv::mesh
