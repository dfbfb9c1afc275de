// SPDX-License-Identifier: BSD-2-Clause
// The architecture and the weights of a bundle, for backends that run nets with kernels of their own.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"

namespace clv {

/// What the card of a bundle with weights says of its architecture; null when its type or layout is another.
nlohmann::json architecture_of(const CompileRequest &request, const char *type, clv_layout layout);

/// The tensors of a .safetensors file: 8 bytes with the length of a JSON header, the header, the data.
/// Everything throws Error(CLV_ERR_INVALID_MODEL) with a sentence.
class Weights {
public:
    /// The bytes of `file` have to outlive this object; they are checked as they are taken.
    explicit Weights(std::span<const std::byte> file);

    /// The values of a tensor of f32 or f16 with this shape.
    std::vector<float> take(const std::string &name, const std::vector<int> &shape) const;

private:
    nlohmann::json header_;
    std::span<const std::byte> data_;
};

} // namespace clv
