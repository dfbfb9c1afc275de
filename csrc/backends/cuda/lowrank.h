// SPDX-License-Identifier: BSD-2-Clause
// The pre-encoding net (architecture "lowrank_chain") on the device: one kernel for a picture.
#pragma once

#include <memory>

#include "core/backend.h"

namespace clv::cuda {

/// Whether make_lowrank() knows this architecture and this format; cheap.
bool suits_lowrank(const CompileRequest &request, const PictureSpec &spec);

/// Throws as Backend::compile_pictures(). The request's precision has been checked.
std::unique_ptr<PictureModel> make_lowrank(const CompileRequest &request, const PictureSpec &spec);

} // namespace clv::cuda
