// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"
#include "core/cuda_services.h"

namespace clv {

/// Whether libclarivid_<name>.so is where load_backend() looks for it.
bool has_backend(const std::string &name);

/// Opens libclarivid_<name>.so from CLARIVID_BACKEND_PATH or from beside libclarivid.so and starts its
/// runtime. The library stays loaded for the life of the process: runtimes keep threads that outlive their
/// objects. Throws Error: CLV_ERR_NOT_FOUND (no such backend), CLV_ERR_BACKEND (its runtime is missing or
/// failed).
std::unique_ptr<Backend> load_backend(const std::string &name);

/// What libclarivid_cuda.so offers besides its backend; found, opened and kept as above. Does not touch the
/// driver. Throws Error(CLV_ERR_BACKEND).
std::unique_ptr<CudaServices> load_cuda_services();

} // namespace clv
