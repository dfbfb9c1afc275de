// SPDX-License-Identifier: BSD-2-Clause
// The painting net (architecture "inpaint_coarse_refine", python/clarivid/nets/inpaint.py) on the device.
#pragma once

#include <memory>

#include "core/backend.h"

namespace clv::cuda {

/// Whether make_inpaint() knows this architecture; cheap.
bool suits_inpaint(const CompileRequest &request);

/// [1,7,h,w] -> [1,6,h,w] in f32, computed in fp16 with sums in fp32. Throws as Backend::compile_tensors().
/// The request's precision has been checked.
std::unique_ptr<TensorModel> make_inpaint(const CompileRequest &request, const Place &place);

} // namespace clv::cuda
