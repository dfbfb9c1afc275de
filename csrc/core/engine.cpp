// SPDX-License-Identifier: BSD-2-Clause
#include "core/engine.h"

#include "core/backend_loader.h"
#include "core/checks.h"
#include "core/tiled_model.h"

namespace clv {
namespace {

void choose_backend(Engine &engine, const std::string &wanted, const CompileRequest &request) {
    if (wanted == "auto" && !request.architecture.empty() && has_backend("cpu")) {
        auto own = load_backend("cpu");
        if (own->suits(request)) {
            engine.backend = std::move(own);
            engine.backend_name = "cpu";
            engine.why = "chosen because it knows this net and the pictures are in host memory";
            return;
        }
    }
    engine.backend_name = wanted == "auto" ? "openvino" : wanted;
    engine.backend = load_backend(engine.backend_name);
    engine.why = wanted == "auto" ? "chosen because the pictures are in host memory" : "as asked";
}

} // namespace

std::string Engine::text() const {
    return runtime + " (backend=" + backend_name + ", " + why +
           "), precision=" + precision_name(model->precision()) + (tiles.empty() ? "" : ", " + tiles);
}

CompileRequest compile_request(const Bundle &bundle, const TensorShape &input, const EngineOptions &options) {
    CompileRequest request;
    request.onnx = bundle.onnx;
    request.onnx_digests = bundle.onnx_digests;
    request.model_name = bundle.name;
    request.architecture = bundle.architecture;
    request.weights = bundle.weights;
    request.input = input;
    request.scale = bundle.scale;
    request.layout = bundle.layout;
    request.device = options.device;
    request.precision = options.precision;
    request.bf16_passed = bundle.bf16_passed;
    request.fp16_passed = bundle.fp16_passed;
    request.half_output = options.half_output;
    if (bundle.has_strength)
        request.strength = options.strength;
    request.sharpness = bundle.sharpness;
    request.threads = options.threads;
    request.in_flight = options.in_flight;
    request.log = options.log;
    return request;
}

Engine make_engine(const Bundle &bundle, const TensorShape &input, const EngineOptions &options) {
    const CompileRequest request = compile_request(bundle, input, options);
    Engine engine;
    choose_backend(engine, options.backend.empty() ? "auto" : options.backend, request);
    engine.runtime = engine.backend->runtime();
    engine.model = compile_in_tiles(*engine.backend, bundle, request, options.tiles, engine.tiles);
    return engine;
}

} // namespace clv
