// SPDX-License-Identifier: BSD-2-Clause
#include "core/model.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/files.h"
#include "core/library_folder.h"
#include "core/onnx_inspect.h"
#include "core/sha256.h"

namespace clv {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char *kModelFile = "model.onnx";
constexpr const char *kWeightsFile = "weights.safetensors";
constexpr const char *kHalfFile = "model_fp16.onnx";
constexpr const char *kPerceptualModelFile = "model_perceptual.onnx";
constexpr const char *kPerceptualWeightsFile = "weights_perceptual.safetensors";
constexpr const char *kCardFile = "card.json";
constexpr const char *kPerceptual = "perceptual";
constexpr int kSchema = 1;
constexpr const char *kNormalisation = "ycbcr_unit_centred";
constexpr const char *kStrength = "strength";
constexpr const char *kLayoutNames = "yuv420_s2d, yuv420_s2d_mask, y or rgb";
constexpr const char *kInpaint = "inpaint";
constexpr const char *kSegment = "segment";

bool is_s2d(clv_layout layout) {
    return layout == CLV_LAYOUT_YUV420_S2D || layout == CLV_LAYOUT_YUV420_S2D_MASK;
}

/// Input channels of a layout.
int channels_of(clv_layout layout) {
    switch (layout) {
    case CLV_LAYOUT_Y:
        return 1;
    case CLV_LAYOUT_RGB:
        return 3;
    case CLV_LAYOUT_YUV420_S2D:
        return 6;
    case CLV_LAYOUT_YUV420_S2D_MASK:
        return 7;
    }
    return 0;
}

[[noreturn]] void bad_card(const fs::path &card, const std::string &why) {
    throw Error(CLV_ERR_INVALID_MODEL, card.string() + ": " + why);
}

std::optional<clv_layout> layout_from(const std::string &text) {
    static const std::map<std::string, clv_layout> kLayouts = {
        {"yuv420_s2d", CLV_LAYOUT_YUV420_S2D},
        {"y", CLV_LAYOUT_Y},
        {"rgb", CLV_LAYOUT_RGB},
        {"yuv420_s2d_mask", CLV_LAYOUT_YUV420_S2D_MASK}};
    const auto found = kLayouts.find(text);
    return found == kLayouts.end() ? std::nullopt : std::optional(found->second);
}

/// Where a bundle's name is looked up, in this order.
std::vector<fs::path> search_path() {
    auto folders = folders_from_environment("CLARIVID_MODEL_PATH");
    // Beside lib/, or beside lib/<triplet>/ where a distribution's packages have it.
    const auto beside = [](const char *up) {
        return (library_folder() / up / "share/clarivid/models").lexically_normal();
    };
    std::error_code ignored;
    const auto near = beside(".."), far = beside("../..");
    folders.push_back(!fs::exists(near, ignored) && fs::exists(far, ignored) ? far : near);
    return folders;
}

/// The bundle's folder or .onnx file.
fs::path locate(const std::string &name) {
    if (name.empty())
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "no model is named: give model=NAME or model=/path/to/model.onnx");
    std::error_code ignored;
    if (name.find('/') != std::string::npos || name.ends_with(".onnx")) {
        if (!fs::exists(name, ignored))
            throw Error(CLV_ERR_NOT_FOUND, "model " + name + " does not exist");
        return name;
    }
    std::string looked;
    for (const auto &folder : search_path()) {
        if (fs::exists(folder / name / kCardFile, ignored) || fs::exists(folder / name / kModelFile, ignored))
            return folder / name;
        looked += (looked.empty() ? "" : ", ") + folder.string();
    }
    throw Error(CLV_ERR_NOT_FOUND,
                "model \"" + name + "\" is not in " + looked +
                    ": `clarivid models list` shows the known ones; CLARIVID_MODEL_PATH adds "
                    "folders; a path with a '/' is taken as it is");
}

int small_integer(const Json &json, const fs::path &card, const std::string &key, int low, int high) {
    if (!json.is_number_integer() || json.get<int64_t>() < low || json.get<int64_t>() > high)
        bad_card(card, "\"" + key + "\" is " + json.dump() + ", not an integer of " + std::to_string(low) +
                           ".." + std::to_string(high));
    return json.get<int>();
}

bool parity_passed(const Json &card, const char *precision) {
    const auto parity = card.find("parity");
    if (parity == card.end() || !parity->is_object())
        return false;
    const auto entry = parity->find(precision);
    return entry != parity->end() && entry->is_object() && entry->value("passed", Json()) == Json(true);
}

Json parse_card(const fs::path &path) {
    const auto bytes = read_file(path);
    const auto *text = reinterpret_cast<const char *>(bytes.data());
    Json card = Json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
    if (!card.is_object())
        bad_card(path, "is not a JSON object: the file is damaged, copy the bundle again");
    return card;
}

std::string required_text(const Json &card, const fs::path &path, const char *key) {
    const auto value = card.find(key);
    if (value == card.end() || !value->is_string())
        bad_card(path, std::string("\"") + key + "\" is missing or no text");
    return value->get<std::string>();
}

/// Checks every file that the card lists and keeps those that are run; `second` takes what belongs to the
/// second set of weights, when there is one.
void read_files(Bundle &bundle, const Json &card, const fs::path &card_path, PerceptualSet *second) {
    const auto files = card.find("files");
    const auto need = [&](const char *name) {
        if (!files->contains(name))
            bad_card(card_path, std::string("\"files\" lacks ") + name);
    };
    if (files == card.end() || !files->is_object())
        bad_card(card_path, "\"files\" is missing or no object");
    need(kModelFile);
    if (second) {
        need(kPerceptualModelFile);
        if (files->contains(kWeightsFile))
            need(kPerceptualWeightsFile);
    }
    for (const auto &[name, entry] : files->items()) {
        if (name.find('/') != std::string::npos)
            bad_card(card_path, "\"files\" names " + name + ", which is no plain file name");
        const auto digest = entry.is_object() ? entry.value("sha256", std::string()) : std::string();
        const auto path = card_path.parent_path() / name;
        auto bytes = read_file(path);
        const auto actual = sha256_hex(bytes);
        if (actual != digest)
            throw Error(CLV_ERR_INVALID_MODEL,
                        path.string() + " has SHA-256 " + actual + " but its card says " +
                            (digest.empty() ? "nothing" : digest) +
                            ": the file is damaged or was changed; install the bundle again");
        if (name == kModelFile)
            bundle.onnx_digests["fp32"] = digest;
        else if (name == kHalfFile)
            bundle.onnx_digests["fp16"] = digest;
        if (name == kModelFile)
            bundle.onnx = std::move(bytes);
        else if (name == kWeightsFile)
            bundle.weights = std::move(bytes);
        else if (second && name == kPerceptualModelFile)
            second->onnx = std::move(bytes);
        else if (second && name == kPerceptualWeightsFile)
            second->weights = std::move(bytes);
        else if (second && name == kHalfFile)
            second->twin = std::move(bytes);
    }
}

void read_card(Bundle &bundle, const fs::path &path) {
    const Json card = parse_card(path);
    const int schema = small_integer(card.value("schema", Json()), path, "schema", 1, 1 << 20);
    if (schema > kSchema)
        bad_card(path, "has schema " + std::to_string(schema) + ", this library reads up to " +
                           std::to_string(kSchema) + ": update clarivid");
    bundle.name = required_text(card, path, "name");
    bundle.task = required_text(card, path, "task");
    const auto layout = required_text(card, path, "layout");
    if (const auto known = layout_from(layout))
        bundle.layout = *known;
    else
        bad_card(path, "\"layout\" is \"" + layout + "\", not " + kLayoutNames);
    if (is_s2d(bundle.layout)) {
        const auto normalisation = required_text(card, path, "normalisation");
        if (normalisation != kNormalisation)
            bad_card(path, "\"normalisation\" is \"" + normalisation + "\", not " + kNormalisation);
    }
    bundle.scale = small_integer(card.value("scale", Json()), path, "scale", 1, 4);
    if (const auto input = card.find("input"); input != card.end() && input->is_object()) {
        bundle.multiple_of =
            small_integer(input->value("multiple_of", Json(1)), path, "input.multiple_of", 1, 1024);
        bundle.min_width =
            small_integer(input->value("min_width", Json(1)), path, "input.min_width", 1, 32768);
        bundle.min_height =
            small_integer(input->value("min_height", Json(1)), path, "input.min_height", 1, 32768);
        const auto optional = [&](const char *key) {
            return input->contains(key)
                       ? small_integer(input->at(key), path, std::string("input.") + key, 16, 4096)
                       : 0;
        };
        bundle.best_size = optional("best_size");
        bundle.input_width = optional("width");
        bundle.input_height = optional("height");
    }
    if (const auto field = card.find("receptive_field"); field != card.end() && !field->is_null())
        bundle.receptive_field = small_integer(*field, path, "receptive_field", 1, 32768);
    if (const auto controls = card.find("controls"); controls != card.end() && controls->is_object())
        bundle.has_strength = controls->contains(kStrength);
    if (const auto architecture = card.find("architecture"); architecture != card.end())
        bundle.architecture = architecture->dump();
    bundle.fp16_passed = parity_passed(card, "fp16");
    bundle.bf16_passed = parity_passed(card, "bf16");
    bundle.has_card = true;
    const auto perceptual = card.find(kPerceptual);
    if (perceptual == card.end()) {
        read_files(bundle, card, path, nullptr);
        return;
    }
    if (!perceptual->is_object())
        bad_card(path, "\"perceptual\" is " + perceptual->dump() + ", not an object");
    auto second = std::make_shared<PerceptualSet>();
    second->bf16_passed = parity_passed(*perceptual, "bf16");
    second->fp16_passed = parity_passed(*perceptual, "fp16");
    read_files(bundle, card, path, second.get());
    bundle.perceptual = std::move(second);
}

std::string shape_text(const OnnxValue &value) {
    std::string text;
    for (const auto dim : value.shape)
        text += (text.empty() ? "" : "x") + (dim < 0 ? "?" : std::to_string(dim));
    return "\"" + value.name + "\" " + (text.empty() ? "without a shape" : text);
}

std::optional<clv_layout> layout_of(int64_t channels) {
    for (const auto layout :
         {CLV_LAYOUT_Y, CLV_LAYOUT_RGB, CLV_LAYOUT_YUV420_S2D, CLV_LAYOUT_YUV420_S2D_MASK})
        if (channels == channels_of(layout))
            return layout;
    return std::nullopt;
}

/// What a bare .onnx says: metadata_props when they are there, else the number of channels.
void read_onnx_facts(Bundle &bundle, const OnnxSummary &onnx, const std::string &what) {
    const auto metadata = [&](const char *key) {
        const auto found = onnx.metadata.find(key);
        return found == onnx.metadata.end() ? std::string() : found->second;
    };
    bundle.task = metadata("clarivid.task");
    if (const auto name = metadata("clarivid.name"); !name.empty())
        bundle.name = name;
    if (const auto normalisation = metadata("clarivid.normalisation");
        !normalisation.empty() && normalisation != kNormalisation)
        throw Error(CLV_ERR_INVALID_MODEL, what + " asks for normalisation \"" + normalisation +
                                               "\", which this library does not know");
    if (const auto scale = metadata("clarivid.scale"); !scale.empty()) {
        const auto [end, error] = std::from_chars(scale.data(), scale.data() + scale.size(), bundle.scale);
        if (error != std::errc() || end != scale.data() + scale.size() || bundle.scale < 1 ||
            bundle.scale > 4)
            throw Error(CLV_ERR_INVALID_MODEL,
                        what + " has scale \"" + scale + "\" in its metadata, not 1..4");
    }
    const int64_t channels = onnx.inputs[0].shape[1];
    if (const auto text = metadata("clarivid.layout"); !text.empty()) {
        const auto known = layout_from(text);
        if (!known)
            throw Error(CLV_ERR_INVALID_MODEL,
                        what + " has layout \"" + text + "\" in its metadata, not " + kLayoutNames);
        bundle.layout = *known;
    } else if (const auto known_by = layout_of(channels)) {
        bundle.layout = *known_by;
    } else {
        throw Error(CLV_ERR_UNSUPPORTED,
                    what + " takes " + shape_text(onnx.inputs[0]) +
                        ": a net needs 1 (luma), 3 (RGB), 6 (YUV 4:2:0 space-to-depth) or 7 (with a mask) "
                        "input channels");
    }
    bundle.multiple_of = is_s2d(bundle.layout) ? 2 : 1;
    if (bundle.layout == CLV_LAYOUT_YUV420_S2D_MASK && bundle.task.empty())
        bundle.task = kInpaint;
}

/// Takes the input "strength" out of `onnx`, so that the picture is the only one left. A card must agree.
void take_strength(Bundle &bundle, OnnxSummary &onnx, const std::string &what) {
    const auto found = std::find_if(onnx.inputs.begin(), onnx.inputs.end(),
                                    [](const OnnxValue &input) { return input.name == kStrength; });
    const bool present = found != onnx.inputs.end();
    if (bundle.has_card && bundle.has_strength != present)
        throw Error(CLV_ERR_INVALID_MODEL,
                    what +
                        (present ? " has an input \"strength\" that its card does not list "
                                   "under \"controls\""
                                 : " has no input \"strength\", but its card lists it under "
                                   "\"controls\"") +
                        ": the bundle is inconsistent");
    bundle.has_strength = present;
    if (!present)
        return;
    if (found->shape != std::vector<int64_t>{1})
        throw Error(CLV_ERR_UNSUPPORTED,
                    what + " takes " + shape_text(*found) + ": a strength has the shape [1]");
    onnx.inputs.erase(found);
}

void check_graph(const Bundle &bundle, const OnnxSummary &onnx, const std::string &what) {
    if (onnx.external_data)
        throw Error(CLV_ERR_UNSUPPORTED, what + " keeps its weights in another file: save it as one file "
                                                "(onnx.save_model(..., save_as_external_data=False))");
    if (onnx.inputs.size() != 1 || onnx.outputs.size() != 1)
        throw Error(CLV_ERR_UNSUPPORTED, what + " has " + std::to_string(onnx.inputs.size()) +
                                             " inputs and " + std::to_string(onnx.outputs.size()) +
                                             " outputs beside \"strength\": a net needs one of each");
    if (onnx.inputs[0].shape.size() != 4)
        throw Error(CLV_ERR_UNSUPPORTED, what + " takes " + shape_text(onnx.inputs[0]) +
                                             ": a net needs an input of four dimensions, NCHW");
    const int64_t channels = onnx.inputs[0].shape[1];
    const int64_t wanted = channels_of(bundle.layout);
    if (channels > 0 && bundle.has_card && channels != wanted)
        throw Error(CLV_ERR_INVALID_MODEL, what + " takes " + shape_text(onnx.inputs[0]) +
                                               " but its layout needs " + std::to_string(wanted) +
                                               " channels");
}

/// The task of inpainting and the layout with a mask belong together, in a card and in metadata.
void check_task(Bundle &bundle, const OnnxSummary &onnx, const std::string &what) {
    const bool masked = bundle.layout == CLV_LAYOUT_YUV420_S2D_MASK;
    if (masked != (bundle.task == kInpaint))
        throw Error(CLV_ERR_INVALID_MODEL,
                    what + (masked ? " has the layout yuv420_s2d_mask, but is for the task \"" + bundle.task +
                                         "\": that layout is for \"inpaint\""
                                   : " is for the task \"inpaint\", but lacks the layout yuv420_s2d_mask"));
    if (bundle.task != kSegment)
        return;
    if (bundle.layout != CLV_LAYOUT_RGB)
        throw Error(CLV_ERR_INVALID_MODEL, what + " is for the task \"segment\", but lacks the layout rgb");
    const auto &shape = onnx.inputs[0].shape; // a size that is fixed needs no card
    if (!bundle.input_width && shape[3] > 0)
        bundle.input_width = static_cast<int>(std::min<int64_t>(shape[3], 4096));
    if (!bundle.input_height && shape[2] > 0)
        bundle.input_height = static_cast<int>(std::min<int64_t>(shape[2], 4096));
}

} // namespace

Bundle Bundle::open(const std::string &name) {
    Bundle bundle;
    bundle.path = locate(name);
    std::error_code ignored;
    const bool folder = fs::is_directory(bundle.path, ignored);
    const fs::path file = folder ? bundle.path / kModelFile : bundle.path;
    const fs::path card = file.parent_path() / kCardFile;
    bundle.name = (folder ? fs::canonical(bundle.path).filename() : file.stem()).string();

    // An .onnx file named by its path stands for its bundle when it is the bundle's model.onnx.
    if ((folder || file.filename() == kModelFile) && fs::exists(card, ignored))
        read_card(bundle, card);
    else {
        bundle.onnx = read_file(file);
        bundle.onnx_digests["fp32"] = sha256_hex(bundle.onnx);
    }

    const std::string what = "model " + file.string();
    OnnxSummary onnx = inspect_onnx(bundle.onnx, what);
    take_strength(bundle, onnx, what);
    check_graph(bundle, onnx, what);
    if (!bundle.has_card)
        read_onnx_facts(bundle, onnx, what);
    check_task(bundle, onnx, what);
    return bundle;
}

} // namespace clv
