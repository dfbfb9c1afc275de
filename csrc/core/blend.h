// SPDX-License-Identifier: BSD-2-Clause
// Two sets of weights of one net, blended in weight space: w = (1 - s) first + s second, in f32. Weights of
// one set that were trained on from the other's mix well (Wang et al., "ESRGAN: Enhanced Super-Resolution
// Generative Adversarial Networks", ECCV Workshops 2018, section 3.4; Wang et al., "Deep Network
// Interpolation for Continuous Imagery Effect Transition", CVPR 2019). python/clarivid/blend.py makes the
// same bytes.
//
// Files are not written anew: what is given back is the first file with other values in the places of its
// own. A tensor that is the same in both sets stays as it is, and s = 1 gives the second's values.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/model.h"

namespace clv {

/// Blends the weights of `second`, an ONNX file with the same graph, into those of `first`. Weights of fp16
/// are blended in f32 and rounded. `what` names the model in errors. Throws Error(CLV_ERR_INVALID_MODEL) when
/// the two are not files of one net: nodes, ends, operators, or the names, types and shapes of weights
/// differ.
std::vector<std::byte> blend_onnx(std::span<const std::byte> first, std::span<const std::byte> second,
                                  float sharpness, const std::string &what);

/// The fp16 twin of `blended`, which was made of `first`: `twin`, that of `first`, with the weights in which
/// the two differ taken from `blended`, and rounded. Throws as blend_onnx().
std::vector<std::byte> renew_twin(std::span<const std::byte> twin, std::span<const std::byte> first,
                                  std::span<const std::byte> blended, const std::string &what);

/// As blend_onnx(), of two .safetensors files.
std::vector<std::byte> blend_safetensors(std::span<const std::byte> first, std::span<const std::byte> second,
                                         float sharpness, const std::string &what);

/// The bundle with its sets of weights blended, as a bundle of one set: itself at sharpness 0. Throws
/// Error: CLV_ERR_INVALID_ARGUMENT (not in 0..1), CLV_ERR_UNSUPPORTED (above 0, and there is no second set),
/// and as blend_onnx().
std::shared_ptr<const Bundle> sharpened(const std::shared_ptr<const Bundle> &bundle, double sharpness);

} // namespace clv
