// SPDX-License-Identifier: BSD-2-Clause
// The super-resolution net (architecture "sr_hpca") on the device.
#pragma once

#include <memory>

#include "core/backend.h"

namespace clv::cuda {

/// Whether make_sr() knows this architecture and this format; cheap.
bool suits_sr(const CompileRequest &request, const PictureSpec &spec);

/// Throws as Backend::compile_pictures(). The request's precision has been checked.
std::unique_ptr<PictureModel> make_sr(const CompileRequest &request, const PictureSpec &spec);

} // namespace clv::cuda
