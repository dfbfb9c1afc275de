// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"

namespace clv {

/// Whether libclarivid_<name>.so is where load_backend() looks for it.
bool has_backend(const std::string &name);

/// Opens libclarivid_<name>.so from CLARIVID_BACKEND_PATH or from beside libclarivid.so and starts its
/// runtime. The library stays loaded for the life of the process: runtimes keep threads that outlive their
/// objects. Throws Error: CLV_ERR_NOT_FOUND (no such backend), CLV_ERR_BACKEND (its runtime is missing or
/// failed).
std::unique_ptr<Backend> load_backend(const std::string &name);

} // namespace clv
