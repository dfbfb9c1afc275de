// SPDX-License-Identifier: BSD-2-Clause
// A net in device memory that was made for tiles, as one for whole pictures.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"
#include "core/cuda_services.h"
#include "core/tiles.h"

namespace clv {

/// `tile` was made for plan.tile at `place`. Tiles are cut, run and put together in the order of the stream,
/// by copies on the device: the host waits for nothing. The net always sees the same two addresses, so that
/// what it recorded for them (a CUDA graph) stays good. `services` must outlive the result. Throws Error:
/// CLV_ERR_UNSUPPORTED as tile_scale(), CLV_ERR_NO_MEMORY.
std::unique_ptr<TensorModel> tiled_tensors(std::unique_ptr<TensorModel> tile, const TilePlan &plan,
                                           const cuda::Place &place, CudaServices &services,
                                           const std::string &name);

} // namespace clv
