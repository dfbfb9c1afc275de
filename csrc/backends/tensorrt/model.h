// SPDX-License-Identifier: BSD-2-Clause
// A net that a TensorRT engine runs.
#pragma once

#include <memory>

#include "backends/tensorrt/engine_files.h"
#include "core/backend.h"

namespace clv::tensorrt {

/// What `request` asks of an engine on the place's GPU. Throws Error(CLV_ERR_BACKEND): no TensorRT, no
/// driver.
Wanted wanted_of(const CompileRequest &request, const cuda::Place &place);

/// Finds the engine, checks and loads it. Throws Error as find_engine() does, and CLV_ERR_BACKEND when
/// TensorRT refuses the engine, CLV_ERR_UNSUPPORTED or CLV_ERR_INVALID_MODEL when it is no net of a bundle,
/// CLV_ERR_NO_MEMORY when weights or activations find no room.
std::unique_ptr<TensorModel> load_model(const CompileRequest &request, const cuda::Place &place);

} // namespace clv::tensorrt
