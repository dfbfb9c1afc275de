// SPDX-License-Identifier: BSD-2-Clause
// Finding an engine in the folders that `clarivid engines` fills (docs/engines.md has the format), and
// refusing those that are not exactly what is wanted. Nothing here needs TensorRT or CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"

namespace clv::tensorrt {

/// As the key's "device": one SKU, or, with nothing but `sm`, any GPU of that compute capability.
struct Identity {
    int sm = 0;
    std::string name;
    int multiprocessors = 0;
    int memory_mib = 0;
    int bus_width = 0; ///< bits
    int64_t l2_bytes = 0;

    bool is_exact() const { return !name.empty(); }
    bool operator==(const Identity &) const = default;
    std::string text() const;
};

/// What an engine must be.
struct Wanted {
    std::string model;
    /// SHA-256 of the bundle's ONNX files: precision -> digest. Other precisions' ONNX are made of that of
    /// fp32 when the engine is built, and the key's arguments name it as "made_of".
    std::map<std::string, std::string> onnx;
    TensorShape input;
    int samples = 1; ///< luma samples of one position of it, along each axis
    clv_precision precision = CLV_PRECISION_AUTO;
    std::string runtime; ///< "tensorrt"
    std::string version; ///< of the runtime that is loaded
    bool lean = false;   ///< it runs version-compatible engines only
    Identity device;
    float sharpness = 0; ///< what the weights behind `onnx` were mixed with; for messages
};

struct EngineFile {
    std::filesystem::path path;
    clv_precision precision = CLV_PRECISION_FP16;
    bool version_compatible = false;
    std::vector<std::byte> bytes; ///< their SHA-256 is the sidecar's
};

/// The folders that are searched: those of CLARIVID_ENGINE_PATH, then engines/ in the cache
/// (CLARIVID_CACHE, else $XDG_CACHE_HOME/clarivid, else ~/.cache/clarivid).
std::vector<std::filesystem::path> engine_folders();

/// The engine for `wanted`. An engine fits its own SKU and release of the runtime; a version-compatible one
/// also later releases of the same major, a hardware-compatible one every GPU from Ampere (sm_80) on. Of
/// several that fit, with precision AUTO fp16 goes before the others, of which those count that passed their
/// parity check; then one built for this SKU, for exactly this size, for this release. Throws Error:
/// CLV_ERR_NOT_FOUND when none fits (the sentence says for each that comes close which field differs, and the
/// command that builds one), CLV_ERR_BACKEND when one that fits is damaged or when everybody may write it or
/// its folder.
EngineFile find_engine(const Wanted &wanted, const std::vector<std::filesystem::path> &folders);

/// "" when there is one, which is not read; else find_engine()'s sentence.
std::string why_no_engine(const Wanted &wanted, const std::vector<std::filesystem::path> &folders) noexcept;

/// The largest part of wanted.input, in positions, for which there is an engine that is too small for all of
/// it and fits in everything else; nothing when there is none.
std::optional<TensorShape> largest_part(const Wanted &wanted,
                                        const std::vector<std::filesystem::path> &folders) noexcept;

} // namespace clv::tensorrt
