// SPDX-License-Identifier: BSD-2-Clause
// Pictures in device memory for backends that take tensors there.
#pragma once

#include <memory>

#include "core/backend.h"
#include "core/cuda_services.h"
#include "core/model.h"

namespace clv {

/// Conversions by `services`, which must outlive the model, around `net`, which was made for `input` at the
/// place of `spec`. All layouts that sessions take, as the host's Adapters have them. Throws Error:
/// CLV_ERR_UNSUPPORTED (a net whose output is none of its layout) and what `services` throw.
std::unique_ptr<PictureModel> pictures_from_tensors(const Bundle &bundle, const TensorShape &input,
                                                    const PictureSpec &spec, std::unique_ptr<TensorModel> net,
                                                    CudaServices &services);

} // namespace clv
