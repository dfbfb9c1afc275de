// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clarivid/clarivid.h"

namespace clv {

/// The second set of weights of a bundle, which sharpness mixes in (core/blend.h).
struct PerceptualSet {
    std::vector<std::byte> onnx;    ///< model_perceptual.onnx
    std::vector<std::byte> weights; ///< weights_perceptual.safetensors; empty when the first set has none
    std::vector<std::byte> twin;    ///< model_fp16.onnx of the first set, when there is one
    bool bf16_passed = false;       ///< the parity gate's record of this set and of mixtures
    bool fp16_passed = false;
};

/// A model bundle, read and checked (docs/models.md). Immutable.
struct Bundle {
    std::string name;
    std::filesystem::path path; ///< what was opened: a folder or an .onnx file
    std::string task;
    clv_layout layout = CLV_LAYOUT_RGB;
    int scale = 0; ///< 0: the file does not say
    int multiple_of = 1;
    int min_width = 1;
    int min_height = 1;
    int receptive_field = 0; ///< width of what a sample of the output sees, in luma samples; 0: not said
    int best_size = 0;       ///< inpaint: long side of the excerpt that the net is run on; 0: not said
    int input_width = 0;     ///< segment: what pictures are scaled to, with input_height; 0: not said
    int input_height = 0;
    bool has_card = false;
    bool bf16_passed = false; ///< the parity gate's record in the card
    bool fp16_passed = false;
    bool has_strength = false;                       ///< the net has a second input, "strength", of one value
    std::vector<std::byte> onnx;                     ///< model.onnx, digest checked when there is a card
    std::map<std::string, std::string> onnx_digests; ///< as of CompileRequest; empty without a card
    std::string architecture;                        ///< the card's entry as JSON, "" without
    std::vector<std::byte> weights; ///< weights.safetensors if the card lists it, digest checked
    std::shared_ptr<const PerceptualSet> perceptual; ///< nothing when there is one set only
    float sharpness = 0;                             ///< what the weights were mixed with

    /// `name` as clv_model_open() takes it. Throws Error.
    static Bundle open(const std::string &name);
};

} // namespace clv
