// SPDX-License-Identifier: BSD-2-Clause
#include "backends/tensorrt/engine_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>

#include "core/checks.h"
#include "core/files.h"
#include "core/sha256.h"

namespace clv::tensorrt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Shape = std::array<int64_t, 4>;

constexpr int kSchema = 1;
constexpr size_t kPrefix = 16; ///< digits of the key's digest in a file's name
constexpr size_t kMaxTold = 3; ///< engines that nearly fit, in an error
constexpr std::string_view kUnproved =
    "it was never compared with the reference, and precision=auto takes only what passed";

/// A sidecar that was read and does not contradict itself.
struct Sidecar {
    fs::path engine;
    std::string model;
    std::string onnx;
    std::string made_of; ///< the bundle's ONNX that `onnx` was made of, when it is none of the bundle's
    std::string precision;
    std::string runtime;
    std::string version;
    std::string sha256;
    uint64_t bytes = 0;
    Shape least{};
    Shape largest{};
    Identity device;
    bool version_compatible = false;
    bool hardware_compatible = false;
    float sharpness = 0;
    bool parity_failed = false;
    bool parity_passed = false;
};

void refuse_writable_by_all(const fs::path &path) {
    struct stat status = {};
    if (stat(path.c_str(), &status) == 0 && (status.st_mode & S_IWOTH) != 0)
        throw Error(CLV_ERR_BACKEND,
                    path.string() +
                        " may be written by every user of this machine, and engines are code: "
                        "chmod o-w " +
                        path.string() + ", and run 'clarivid engines verify'");
}

Shape shape_of(const Json &json) {
    if (!json.is_array() || json.size() != 4)
        throw Error(CLV_ERR_INVALID_MODEL, "a shape has four numbers");
    Shape shape{};
    for (size_t i = 0; i < 4; i++)
        shape[i] = json[i].get<int64_t>();
    return shape;
}

/// Throws what the JSON library throws, or Error, when the sidecar is no good.
Sidecar read_sidecar(const fs::path &path) {
    const auto text = read_file(path);
    const auto *begin = reinterpret_cast<const char *>(text.data());
    const Json json = Json::parse(begin, begin + text.size());
    const Json &key = json.at("key");
    // As Python wrote it: keys sorted, no blanks, ASCII.
    const std::string canonical = key.dump(-1, ' ', /*ensure_ascii=*/true);
    const std::string digest =
        sha256_hex({reinterpret_cast<const std::byte *>(canonical.data()), canonical.size()});
    Sidecar sidecar;
    sidecar.engine = path;
    sidecar.engine.replace_extension(".engine");
    const std::string stem = key.at("model").get<std::string>() + "-" + digest.substr(0, kPrefix);
    if (json.at("schema") != kSchema || key.at("schema") != kSchema || json.at("key_sha256") != digest ||
        path.stem() != stem || json.at("engine").at("file") != sidecar.engine.filename().string())
        throw Error(CLV_ERR_INVALID_MODEL, "contradicts itself");
    sidecar.model = key.at("model");
    sidecar.onnx = key.at("onnx_sha256");
    sidecar.made_of = key.at("arguments").value("made_of", "");
    sidecar.precision = key.at("precision");
    sidecar.runtime = key.at("runtime");
    sidecar.version = key.at("runtime_version");
    sidecar.least = shape_of(key.at("profile").at("least"));
    sidecar.largest = shape_of(key.at("profile").at("largest"));
    const Json &device = key.at("device");
    sidecar.device = {device.at("sm"),         device.at("name"),      device.at("multiprocessors"),
                      device.at("memory_mib"), device.at("bus_width"), device.at("l2_bytes")};
    sidecar.version_compatible = key.at("arguments").value("version_compatible", false);
    sidecar.hardware_compatible = key.at("arguments").value("hardware_compatible", false);
    sidecar.sharpness = std::strtof(key.at("arguments").value("sharpness", "0").c_str(), nullptr);
    sidecar.sha256 = json.at("engine").at("sha256");
    sidecar.bytes = json.at("engine").at("bytes");
    if (const Json parity = json.value("parity", Json()); parity.is_object()) {
        sidecar.parity_passed = parity.value("passed", false);
        sidecar.parity_failed = !sidecar.parity_passed;
    }
    return sidecar;
}

const std::map<std::string, clv_precision> &precisions() {
    static const std::map<std::string, clv_precision> known = {{"fp32", CLV_PRECISION_FP32},
                                                               {"fp16", CLV_PRECISION_FP16},
                                                               {"bf16", CLV_PRECISION_BF16},
                                                               {"int8", CLV_PRECISION_INT8}};
    return known;
}

std::optional<clv_precision> precision_of(const std::string &name) {
    const auto found = precisions().find(name);
    return found == precisions().end() ? std::nullopt : std::optional(found->second);
}

bool takes(const Sidecar &sidecar, const TensorShape &input) {
    const Shape shape = {1, input.channels, input.height, input.width};
    for (size_t i = 0; i < 4; i++)
        if (shape[i] < sidecar.least[i] || shape[i] > sidecar.largest[i])
            return false;
    return true;
}

/// The numbers of "10.14.1.48"; what is no number counts as 0.
std::vector<int> numbers(const std::string &version) {
    std::vector<int> found;
    std::istringstream stream(version);
    for (std::string part; std::getline(stream, part, '.');)
        found.push_back(std::atoi(part.c_str()));
    return found;
}

/// Whether an engine that `built` made, version-compatible, runs with `loaded`: the same major, no earlier.
bool runs_later(const std::string &built, const std::string &loaded) {
    const auto from = numbers(built), to = numbers(loaded);
    return !from.empty() && !to.empty() && from[0] == to[0] && from <= to;
}

constexpr int kAmpere = 80;

bool is_for(const Sidecar &sidecar, const Identity &gpu) {
    if (sidecar.hardware_compatible)
        return gpu.sm >= kAmpere;
    return sidecar.device.is_exact() ? sidecar.device == gpu : sidecar.device.sm == gpu.sm;
}

/// The fields in which two GPUs of one name and capability differ: the name says that they do not.
std::string hidden_differences(const Identity &engine, const Identity &gpu) {
    std::string text;
    const auto compare = [&](const char *field, int64_t has, int64_t is) {
        if (has != is)
            text += std::string(text.empty() ? " (" : ", ") + field + " is " + std::to_string(has) +
                    ", not " + std::to_string(is);
    };
    if (!engine.is_exact() || engine.text() != gpu.text())
        return "";
    compare("multiprocessors", engine.multiprocessors, gpu.multiprocessors);
    compare("memory_mib", engine.memory_mib, gpu.memory_mib);
    compare("bus_width", engine.bus_width, gpu.bus_width);
    compare("l2_bytes", engine.l2_bytes, gpu.l2_bytes);
    return text.empty() ? "" : text + ")";
}

std::string size(const Shape &shape) {
    return std::to_string(shape[3]) + "x" + std::to_string(shape[2]);
}

/// Whether it was built from the bundle's ONNX of its precision, or from a form that was made of the bundle's
/// ONNX of fp32.
bool is_of(const Sidecar &sidecar, const Wanted &wanted) {
    const bool made = !sidecar.made_of.empty();
    const auto digest = wanted.onnx.find(made ? "fp32" : sidecar.precision);
    return digest != wanted.onnx.end() && digest->second == (made ? sidecar.made_of : sidecar.onnx);
}

/// What keeps an engine from being taken, a phrase each; empty when nothing does.
std::vector<std::string> obstacles(const Sidecar &sidecar, const Wanted &wanted) {
    std::vector<std::string> found;
    if (sidecar.runtime != wanted.runtime)
        found.push_back("it is for " + sidecar.runtime + ", not " + wanted.runtime);
    else if (wanted.lean && !sidecar.version_compatible)
        found.emplace_back("it was not built with --version-compatible, and libnvinfer_lean runs no others");
    else if (sidecar.version != wanted.version &&
             !(sidecar.version_compatible && runs_later(sidecar.version, wanted.version)))
        found.push_back("runtime_version is " + sidecar.version + ", " + wanted.version + " is loaded");
    if (!is_for(sidecar, wanted.device))
        found.push_back(
            "device is " + (sidecar.hardware_compatible ? "any GPU from sm_80 on" : sidecar.device.text()) +
            ", this GPU is " + wanted.device.text() + hidden_differences(sidecar.device, wanted.device));
    if (!is_of(sidecar, wanted))
        found.push_back(sidecar.sharpness == wanted.sharpness
                            ? "onnx_sha256 differs: the model has changed since"
                            : "sharpness is " + shortest_text(sidecar.sharpness) + ", not " +
                                  shortest_text(wanted.sharpness));
    if (!takes(sidecar, wanted.input))
        found.push_back("its profile takes tensors of " + size(sidecar.least) +
                        (sidecar.least == sidecar.largest ? "" : " to " + size(sidecar.largest)) + ", not " +
                        std::to_string(wanted.input.width) + "x" + std::to_string(wanted.input.height));
    const auto precision = precision_of(sidecar.precision);
    if (!precision || (wanted.precision != CLV_PRECISION_AUTO && *precision != wanted.precision))
        found.push_back("precision is " + sidecar.precision);
    else if (wanted.precision == CLV_PRECISION_AUTO && sidecar.parity_failed)
        found.emplace_back("it failed its parity check, and precision=auto takes none that did");
    else if (wanted.precision == CLV_PRECISION_AUTO && !sidecar.parity_passed)
        found.push_back(std::string(kUnproved) + "; precision=" + sidecar.precision +
                        " takes it all the same");
    return found;
}

/// The less, the better.
int rank(const Sidecar &sidecar) {
    const bool range = sidecar.least != sidecar.largest;
    const auto precision = precision_of(sidecar.precision);
    const int order = precision == CLV_PRECISION_FP16   ? 0
                      : precision == CLV_PRECISION_INT8 ? 1
                      : precision == CLV_PRECISION_BF16 ? 2
                                                        : 3;
    return 8 * order + (sidecar.hardware_compatible ? 4 : 0) + (range ? 2 : 0) +
           (sidecar.version_compatible ? 1 : 0);
}

/// Why an engine is not taken.
struct Refusal {
    size_t problems = 1;
    std::string text;
};

struct Search {
    std::vector<Sidecar> fitting;   ///< the best first; earlier folders before later ones
    std::vector<Refusal> told;      ///< what comes nearest first
    bool unproved = false;          ///< there is one that lacks nothing but its parity check
    std::vector<TensorShape> parts; ///< of the input that others take, for which all of it is too large
};

/// " --sharpness 0.5", or nothing for the first set of weights.
std::string sharpness_text(const Wanted &wanted) {
    return wanted.sharpness > 0 ? " --sharpness " + shortest_text(wanted.sharpness) : "";
}

/// "run 'clarivid engines build ...'" with all that makes the engine that is wanted.
std::string build_command(const Wanted &wanted) {
    std::string command = "run 'clarivid engines build " + wanted.model + " --for this --runtime " +
                          wanted.runtime + " --shapes " +
                          std::to_string(wanted.input.width * wanted.samples) + "x" +
                          std::to_string(wanted.input.height * wanted.samples);
    command += sharpness_text(wanted);
    clv_precision asked = wanted.precision;
    if (asked == CLV_PRECISION_AUTO)
        asked = wanted.onnx.contains("fp16") ? CLV_PRECISION_FP16 : CLV_PRECISION_FP32;
    for (const auto &[name, precision] : precisions())
        if (precision == asked && precision != CLV_PRECISION_FP16)
            command += " --precision " + name + (name == "int8" ? " --calibrate VIDEO" : "");
    return command + (wanted.lean ? " --version-compatible'" : "'");
}

/// What of `input` is within the engine's profile, from above.
TensorShape part_of(const TensorShape &input, const Sidecar &sidecar) {
    return {input.channels, std::min(input.height, sidecar.largest[2]),
            std::min(input.width, sidecar.largest[3])};
}

Search search(const Wanted &wanted, const std::vector<fs::path> &folders) {
    Search result;
    for (const fs::path &folder : folders) {
        std::vector<fs::path> sidecars;
        std::error_code problem;
        const fs::directory_iterator entries(folder, problem);
        if (problem && problem != std::errc::no_such_file_or_directory)
            result.told.push_back({0, folder.string() + " cannot be read: " + problem.message()});
        for (const auto &entry : entries) {
            const std::string name = entry.path().filename().string();
            if (entry.path().extension() == ".json" && name.starts_with(wanted.model + "-"))
                sidecars.push_back(entry.path());
        }
        if (!sidecars.empty())
            refuse_writable_by_all(folder);
        std::sort(sidecars.begin(), sidecars.end());
        std::vector<Sidecar> own;
        for (const fs::path &path : sidecars) {
            try {
                Sidecar sidecar = read_sidecar(path);
                if (sidecar.model != wanted.model) // its name only begins alike
                    continue;
                const auto problems = obstacles(sidecar, wanted);
                if (problems.empty()) {
                    own.push_back(std::move(sidecar));
                    continue;
                }
                Wanted part = wanted;
                part.input = part_of(wanted.input, sidecar);
                if (obstacles(sidecar, part).empty())
                    result.parts.push_back(part.input);
                if (problems.size() == 1 && problems[0].starts_with(kUnproved))
                    result.unproved = true;
                std::string phrase = sidecar.engine.filename().string() + ": " + problems[0];
                for (size_t i = 1; i < problems.size(); i++)
                    phrase += "; " + problems[i];
                result.told.push_back({problems.size(), phrase});
            } catch (const std::exception &error) {
                result.told.push_back({1, path.filename().string() + " cannot be used: " + error.what()});
            }
        }
        std::stable_sort(own.begin(), own.end(),
                         [](const Sidecar &a, const Sidecar &b) { return rank(a) < rank(b); });
        std::move(own.begin(), own.end(), std::back_inserter(result.fitting));
    }
    std::stable_sort(result.told.begin(), result.told.end(),
                     [](const Refusal &a, const Refusal &b) { return a.problems < b.problems; });
    return result;
}

/// What is missing, what comes near, and what to do.
std::string refusal(const Search &found, const Wanted &wanted, const std::vector<fs::path> &folders) {
    std::string sentence = "there is no engine of model " + wanted.model + " for " + wanted.device.text() +
                           " and " + wanted.runtime + " " + wanted.version + " in";
    for (const fs::path &folder : folders)
        sentence += " " + folder.string();
    for (size_t i = 0; i < std::min(found.told.size(), kMaxTold); i++)
        sentence += (i == 0 ? " (" : "; ") + found.told[i].text;
    if (found.told.size() > kMaxTold)
        sentence += "; and " + std::to_string(found.told.size() - kMaxTold) + " more";
    sentence += found.told.empty() ? "" : ")";
    // What is there and lacks the check only need not be built again.
    return sentence + ": " +
           (found.unproved ? "run 'clarivid parity " + wanted.model + " --backend tensorrt" +
                                 sharpness_text(wanted) + "'"
                           : build_command(wanted)) +
           ", or use backend=cuda for clarivid's own nets";
}

} // namespace

std::string Identity::text() const {
    return is_exact() ? name + " (sm_" + std::to_string(sm) + ")" : "any sm_" + std::to_string(sm);
}

std::vector<fs::path> engine_folders() {
    std::vector<fs::path> folders = folders_from_environment("CLARIVID_ENGINE_PATH");
    const auto variable = [](const char *name) {
        const char *value = std::getenv(name);
        return std::string(value ? value : "");
    };
    const std::string own = variable("CLARIVID_CACHE");
    const std::string xdg = variable("XDG_CACHE_HOME");
    if (!own.empty())
        folders.push_back(fs::path(own) / "engines");
    else if (!xdg.empty() && xdg[0] == '/')
        folders.push_back(fs::path(xdg) / "clarivid" / "engines");
    else
        folders.push_back(fs::path(variable("HOME")) / ".cache" / "clarivid" / "engines");
    return folders;
}

EngineFile find_engine(const Wanted &wanted, const std::vector<fs::path> &folders) {
    const Search found = search(wanted, folders);
    if (found.fitting.empty())
        throw Error(CLV_ERR_NOT_FOUND, refusal(found, wanted, folders));
    const Sidecar &best = found.fitting.front();
    refuse_writable_by_all(best.engine);
    EngineFile file{best.engine, *precision_of(best.precision), best.version_compatible,
                    read_file(best.engine)};
    if (file.bytes.size() != best.bytes || sha256_hex(file.bytes) != best.sha256)
        throw Error(CLV_ERR_BACKEND, "the engine " + best.engine.string() +
                                         " is not the one that its sidecar describes (its SHA-256 differs): "
                                         "it was not loaded; remove it "
                                         "with its .json, and " +
                                         build_command(wanted));
    return file;
}

std::optional<TensorShape> largest_part(const Wanted &wanted, const std::vector<fs::path> &folders) noexcept {
    try {
        const auto parts = search(wanted, folders).parts;
        const auto largest =
            std::max_element(parts.begin(), parts.end(), [](const TensorShape &a, const TensorShape &b) {
                return a.height * a.width < b.height * b.width;
            });
        return largest == parts.end() ? std::nullopt : std::optional(*largest);
    } catch (const std::exception &) {
        return std::nullopt;
    }
}

std::string why_no_engine(const Wanted &wanted, const std::vector<fs::path> &folders) noexcept {
    try {
        const Search found = search(wanted, folders);
        return found.fitting.empty() ? refusal(found, wanted, folders) : "";
    } catch (const std::exception &error) {
        return error.what();
    }
}

} // namespace clv::tensorrt
