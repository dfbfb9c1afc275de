// SPDX-License-Identifier: BSD-2-Clause
#include "core/device_engine.h"

#include <nlohmann/json.hpp>

#include "core/adapter.h"
#include "core/backend_loader.h"
#include "core/checks.h"
#include "core/device_tensors.h"

namespace clv {
namespace {

constexpr const char *kDownload =
    "download the pictures first (in ffmpeg: hwdownload,format=nv12), where backend=openvino runs any model";

/// " (architecture \"sr_hpca\")", or nothing for a model without a card.
std::string architecture_text(const Bundle &bundle) {
    const auto json = nlohmann::json::parse(bundle.architecture, nullptr, false);
    if (!json.is_object() || !json.contains("type") || !json["type"].is_string())
        return " (no architecture in a card.json)";
    return " (architecture \"" + json["type"].get<std::string>() + "\")";
}

/// The backend, and whether it takes tensors instead of pictures.
bool choose_backend(DeviceEngine &engine, const std::string &wanted, const Bundle &bundle,
                    const CompileRequest &request, const PictureSpec &spec) {
    if (wanted == "auto" && has_backend("tensorrt")) {
        auto tensorrt = load_backend("tensorrt");
        if (tensorrt->suits_tensors(request, spec.place)) {
            engine.backend = std::move(tensorrt);
            engine.backend_name = "tensorrt";
            engine.why = "chosen because there is an engine for this GPU";
            return true;
        }
    }
    engine.backend_name = wanted == "auto" ? "cuda" : wanted;
    engine.backend = load_backend(engine.backend_name);
    engine.why = wanted == "auto" ? "chosen because it knows this net and the pictures are in CUDA memory"
                                  : "as asked";
    if (engine.backend->suits_pictures(request, spec))
        return false;
    if (wanted == "tensorrt" || engine.backend->suits_tensors(request, spec.place))
        return true; // compile_tensors() says which engine is missing
    if (wanted == "auto")
        throw Error(
            CLV_ERR_UNSUPPORTED,
            "model " + bundle.name + architecture_text(bundle) +
                " cannot run on pictures in CUDA memory: clarivid's CUDA kernels know the "
                "architectures lowrank_chain and sr_hpca of its own bundles, and there is no TensorRT "
                "engine for this net, size and GPU ('clarivid engines build'); take one of those, or " +
                kDownload);
    if (wanted == "openvino" || wanted == "cpu")
        throw Error(CLV_ERR_UNSUPPORTED, "backend " + wanted +
                                             " takes pictures in host memory only: leave backend out, use "
                                             "backend=cuda, or " +
                                             kDownload);
    return false; // compile_pictures() says why it cannot
}

} // namespace

std::string DeviceEngine::text() const {
    const std::string how = model->text();
    return runtime + " (backend=" + backend_name + ", " + why +
           "), precision=" + precision_name(model->precision()) + (how.empty() ? "" : ", " + how);
}

DeviceEngine make_device_engine(const Bundle &bundle, const PictureSpec &spec, const EngineOptions &options,
                                CudaServices &services) {
    const CompileRequest request = compile_request(bundle, input_shape(bundle, spec.format), options);
    DeviceEngine engine;
    const bool tensors =
        choose_backend(engine, options.backend.empty() ? "auto" : options.backend, bundle, request, spec);
    if (!options.device.empty() && engine.backend_name == "cuda")
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "device=" + options.device +
                        " cannot be chosen for pictures in CUDA memory: they are worked on where they are; "
                        "leave device out");
    engine.runtime = engine.backend->runtime();
    engine.model = tensors
                       ? pictures_from_tensors(bundle, request.input, spec,
                                               engine.backend->compile_tensors(request, spec.place), services)
                       : engine.backend->compile_pictures(request, spec);
    return engine;
}

} // namespace clv
