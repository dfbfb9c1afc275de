// SPDX-License-Identifier: BSD-2-Clause
#include "core/device_engine.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "core/adapter.h"
#include "core/backend_loader.h"
#include "core/checks.h"
#include "core/device_tensors.h"
#include "core/tiled_tensors.h"
#include "core/tiling.h"

namespace clv {
namespace {

constexpr const char *kDownload =
    "download the pictures first (in ffmpeg: hwdownload,format=nv12), where backend=openvino runs any model";

/// " (architecture \"sr_luma\")", or nothing for a model without a card.
std::string architecture_text(const Bundle &bundle) {
    const auto json = nlohmann::json::parse(bundle.architecture, nullptr, false);
    if (!json.is_object() || !json.contains("type") || !json["type"].is_string())
        return " (no architecture in a card.json)";
    return " (architecture \"" + json["type"].get<std::string>() + "\")";
}

/// What the backend is asked to run, and how much of a picture.
struct Choice {
    bool tensors = false;             ///< it takes tensors instead of pictures
    std::optional<TensorShape> limit; ///< tensors no larger than this, which is less than a picture
};

/// What the backend can run of pictures that are cut as `wish` says; nothing when it cannot run the net.
std::optional<Choice> tensors_on(const Backend &backend, const CompileRequest &request,
                                 const cuda::Place &place, const TileWish &wish) {
    if (backend.suits_tensors(request, place))
        return Choice{true, std::nullopt};
    if (wish.kind == TileWish::Kind::automatic)
        if (const auto largest = backend.largest_input(request, place))
            return Choice{true, largest};
    return std::nullopt;
}

/// `request` is for what the backend is to run: a whole picture, or a tile when tile=WxH asks for them.
Choice choose_backend(DeviceEngine &engine, const std::string &wanted, const Bundle &bundle,
                      const CompileRequest &request, const PictureSpec &spec, const TileWish &wish) {
    std::unique_ptr<Backend> tensorrt;
    if (wanted == "auto" && has_backend("tensorrt"))
        tensorrt = load_backend("tensorrt");
    const auto take_tensorrt = [&](const std::string &why) {
        engine.backend = std::move(tensorrt);
        engine.backend_name = "tensorrt";
        engine.why = why;
    };
    if (tensorrt && tensorrt->suits_tensors(request, spec.place)) {
        take_tensorrt("chosen because there is an engine for this GPU");
        return {true, std::nullopt};
    }
    engine.backend_name = wanted == "auto" ? "cuda" : wanted;
    engine.backend = load_backend(engine.backend_name);
    engine.why = wanted == "auto" ? "chosen because it knows this net and the pictures are in CUDA memory"
                                  : "as asked";
    if (engine.backend->suits_pictures(request, spec))
        return {};
    if (const auto choice = tensors_on(*engine.backend, request, spec.place, wish))
        return *choice;
    if (tensorrt) // our own kernels do not know the net
        if (const auto choice = tensors_on(*tensorrt, request, spec.place, wish)) {
            take_tensorrt("chosen because there is an engine for this GPU, for smaller pictures");
            return *choice;
        }
    if (wanted == "tensorrt")
        return {true, std::nullopt}; // compile_tensors() says which engine is missing
    if (wanted == "auto")
        throw Error(
            CLV_ERR_UNSUPPORTED,
            "model " + bundle.name + architecture_text(bundle) +
                " cannot run on pictures in CUDA memory: clarivid's CUDA kernels know the "
                "architectures lowrank_chain and sr_luma of its own bundles, and there is no TensorRT "
                "engine for this net, size and GPU ('clarivid engines build'); take one of those, or " +
                kDownload);
    if (wanted == "openvino" || wanted == "cpu")
        throw Error(CLV_ERR_UNSUPPORTED, "backend " + wanted +
                                             " takes pictures in host memory only: leave backend out, use "
                                             "backend=cuda, or " +
                                             kDownload);
    return {}; // compile_pictures() says why it cannot
}

[[noreturn]] void refuse_tiles(const std::string &backend, const TileWish &wish) {
    throw Error(CLV_ERR_INVALID_ARGUMENT,
                "tile=" + size_text(wish.width, wish.height) + " is for nets that take tensors: backend=" +
                    backend + " works on whole pictures and keeps little memory; leave tile out");
}

/// A net on tensors, for whole pictures or in tiles; smaller ones when the device's memory asks for them and
/// the host leaves it to us.
class TensorPictures {
public:
    TensorPictures(const Bundle &bundle, const CompileRequest &request, const PictureSpec &spec,
                   const TileWish &wish, CudaServices &services)
        : bundle_(bundle), request_(request), spec_(spec), wish_(wish), services_(services) {}

    /// Sets engine.model and engine.tiles.
    void make(DeviceEngine &engine, const std::optional<TensorShape> &limit,
              const std::optional<TilePlan> &asked) const {
        std::optional<TilePlan> plan = asked;
        std::string why = "as asked";
        if (limit) {
            why = "no engine takes a tensor of " + request_.input.text() + ", the largest takes " +
                  limit->text();
            plan = rules_for(CLV_ERR_UNSUPPORTED, why).within(*limit);
            if (!plan)
                throw Error(CLV_ERR_UNSUPPORTED, why + ", which is too small for tiles of model " +
                                                     bundle_.name + ": " + build_command());
            why = "chosen because " + why;
        }
        while (true) {
            try {
                engine.model = made(*engine.backend, plan);
                break;
            } catch (const Error &error) {
                if (error.status() != CLV_ERR_NO_MEMORY || wish_.kind != TileWish::Kind::automatic)
                    throw;
                plan = rules_for(CLV_ERR_NO_MEMORY, error.what()).halved(plan ? plan->tile : request_.input);
                if (!plan || !engine.backend->suits_tensors(of(*plan), spec_.place))
                    throw;
                why = std::string("chosen because ") + error.what();
            }
        }
        if (plan && plan->count() > 1)
            engine.tiles = TileRules(bundle_, request_.input, wish_).text(*plan) + ", " + why;
    }

private:
    std::string build_command() const {
        return "build one with 'clarivid engines build " + bundle_.name + " --for this --shapes " +
               std::to_string(spec_.format.width) + "x" + std::to_string(spec_.format.height) + "'";
    }

    TileRules rules_for(clv_status status, const std::string &why) const {
        return exact_tile_rules(bundle_, request_.input, wish_, status, why,
                                status == CLV_ERR_NO_MEMORY ? "take smaller pictures" : build_command());
    }

    CompileRequest of(const TilePlan &plan) const {
        CompileRequest request = request_;
        request.input = plan.tile;
        return request;
    }

    std::unique_ptr<PictureModel> made(Backend &backend, const std::optional<TilePlan> &plan) const {
        const bool tiled = plan && plan->count() > 1;
        auto net = backend.compile_tensors(tiled ? of(*plan) : request_, spec_.place);
        if (tiled)
            net = tiled_tensors(std::move(net), *plan, spec_.place, services_, bundle_.name);
        return pictures_from_tensors(bundle_, request_.input, spec_, std::move(net), services_);
    }

    const Bundle &bundle_;
    const CompileRequest &request_;
    const PictureSpec &spec_;
    const TileWish &wish_;
    CudaServices &services_;
};

} // namespace

std::string DeviceEngine::text() const {
    const std::string how = model->text();
    return runtime + " (backend=" + backend_name + ", " + why +
           "), precision=" + precision_name(model->precision()) + (how.empty() ? "" : ", " + how) +
           (tiles.empty() ? "" : ", " + tiles);
}

DeviceEngine make_device_engine(const Bundle &bundle, const PictureSpec &spec, const EngineOptions &options,
                                CudaServices &services) {
    const CompileRequest request = compile_request(bundle, input_shape(bundle, spec.format), options);
    const bool asked = options.tiles.kind == TileWish::Kind::fixed;
    std::optional<TilePlan> plan;
    CompileRequest part = request;
    const std::string wanted = options.backend.empty() ? "auto" : options.backend;
    if (asked) {
        if (wanted != "auto" && load_backend(wanted)->suits_pictures(request, spec))
            refuse_tiles(wanted, options.tiles);
        plan = TileRules(bundle, request.input, options.tiles).fixed(request.log);
        part.input = plan->tile;
    }
    DeviceEngine engine;
    const Choice choice = choose_backend(engine, wanted, bundle, part, spec, options.tiles);
    if (asked && !choice.tensors && engine.backend->suits_pictures(request, spec))
        refuse_tiles(engine.backend_name, options.tiles);
    if (!options.device.empty() && engine.backend_name == "cuda")
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "device=" + options.device +
                        " cannot be chosen for pictures in CUDA memory: they are worked on where they are; "
                        "leave device out");
    engine.runtime = engine.backend->runtime();
    if (choice.tensors)
        TensorPictures(bundle, request, spec, options.tiles, services).make(engine, choice.limit, plan);
    else
        engine.model = engine.backend->compile_pictures(request, spec);
    return engine;
}

} // namespace clv
