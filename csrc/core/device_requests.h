// SPDX-License-Identifier: BSD-2-Clause
// Nets on a device that code on the host feeds, such as the painter of an inpainter whose pictures are there:
// the tensors go up and come down (counted), the net's layers stay where they are fast.
#pragma once

#include "core/cuda_services.h"
#include "core/engine.h"

namespace clv {

/// backend=auto runs the net at `place` when "cuda" knows it in a precision that passed the parity gate, else
/// on the host as make_engine() does; a named backend that takes device tensors runs it there; others on the
/// host. `services` must outlive the engine. Throws Error as make_engine(), and CLV_ERR_NO_MEMORY.
Engine make_engine_at(const cuda::Place &place, CudaServices &services, const Bundle &bundle,
                      const TensorShape &input, const EngineOptions &options);

} // namespace clv
