// SPDX-License-Identifier: BSD-2-Clause
// A net made ready for pictures in device memory: what sessions on CUDA memory run.
#pragma once

#include <memory>
#include <string>

#include "core/backend.h"
#include "core/cuda_services.h"
#include "core/engine.h"
#include "core/model.h"

namespace clv {

struct DeviceEngine {
    // The model goes before the backend that made it: destroyed from the last to the first.
    std::string backend_name;
    std::string runtime; ///< with its version
    std::string why;     ///< this backend was taken, for the log
    std::string tiles;   ///< how pictures are cut and why, "" when they are not
    std::unique_ptr<Backend> backend;
    std::unique_ptr<PictureModel> model;

    /// "clarivid's CUDA kernels (backend=cuda, as asked), precision=fp16, ...", for the log.
    std::string text() const;
};

/// backend=auto takes "tensorrt" when there is an engine for this net, size and GPU, else "cuda", our own
/// kernels, for a net that they know, else "tensorrt" in tiles when there is an engine for smaller pictures;
/// a named backend that cannot is an error. A backend that takes tensors only gets them from `services`,
/// which must outlive the engine. Throws Error: CLV_ERR_NOT_FOUND, CLV_ERR_BACKEND, CLV_ERR_UNSUPPORTED,
/// CLV_ERR_INVALID_MODEL, CLV_ERR_NO_MEMORY.
DeviceEngine make_device_engine(const Bundle &bundle, const PictureSpec &spec, const EngineOptions &options,
                                CudaServices &services);

} // namespace clv
