// SPDX-License-Identifier: BSD-2-Clause
// Pictures in device memory for backends that take tensors there.
#pragma once

#include <memory>

#include "core/backend.h"
#include "core/cuda_services.h"
#include "core/model.h"

namespace clv {

/// Conversions by `services`, the net by backend.compile_tensors(). `services` must outlive the model. Throws
/// Error: CLV_ERR_UNSUPPORTED (layouts other than yuv420_s2d) and what the backend throws.
std::unique_ptr<PictureModel> pictures_from_tensors(const Bundle &bundle, const CompileRequest &request,
                                                    const PictureSpec &spec, Backend &backend,
                                                    CudaServices &services);

} // namespace clv
