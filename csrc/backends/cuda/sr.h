// SPDX-License-Identifier: BSD-2-Clause
// The super-resolution net (architecture "sr_luma") on the device.
#pragma once

#include <memory>

#include "core/backend.h"

namespace clv::cuda {

/// Whether make_sr() knows this architecture; cheap.
bool suits_sr(const CompileRequest &request);

/// [1,1,h,w] -> [1,1,2h,2w] in f32, computed in fp16 with sums in fp32. Throws as Backend::compile_tensors().
/// The request's precision has been checked.
std::unique_ptr<TensorModel> make_sr(const CompileRequest &request, const Place &place);

} // namespace clv::cuda
