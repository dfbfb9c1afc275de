// SPDX-License-Identifier: BSD-2-Clause
// A net made ready on a backend: what sessions, painters and segmenters run.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/model.h"
#include "core/tiles.h"

namespace clv {

/// What the bundle says about itself, and what its host wants; `backend` as in clv_session_params.
struct EngineOptions {
    std::string backend; ///< "" is "auto"
    std::string device;
    clv_precision precision = CLV_PRECISION_AUTO;
    int threads = 1; ///< at least 1
    int in_flight = 1;
    bool half_output = false;                                    ///< as in CompileRequest
    float strength = 1;                                          ///< for bundles that have one
    TileWish tiles;                                              ///< none unless set
    std::function<void(clv_log_level, const std::string &)> log; ///< as in CompileRequest
};

struct Engine {
    // The model goes before the backend that made it: destroyed from the last to the first.
    std::string backend_name;
    std::string runtime; ///< with its version
    std::string why;     ///< this backend was taken, for the log
    std::string tiles;   ///< how pictures are cut and why, "" when they are not
    std::unique_ptr<Backend> backend;
    std::unique_ptr<CompiledModel> model;

    /// "OpenVINO 2026.4.1 (backend=openvino, as asked), precision=fp32", for the log.
    std::string text() const;
};

/// Spans and strings of the bundle that it holds must outlive it.
CompileRequest compile_request(const Bundle &bundle, const TensorShape &input, const EngineOptions &options);

/// backend=auto takes "cpu", our own kernels, for a net that they know, else "openvino"; a named backend that
/// cannot run is an error. Throws Error: CLV_ERR_NOT_FOUND, CLV_ERR_BACKEND, CLV_ERR_UNSUPPORTED,
/// CLV_ERR_INVALID_MODEL, and for tiles what compile_in_tiles() throws.
Engine make_engine(const Bundle &bundle, const TensorShape &input, const EngineOptions &options);

} // namespace clv
