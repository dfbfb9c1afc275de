// SPDX-License-Identifier: BSD-2-Clause
// What one position of a net's output sees of its input, read from the ONNX graph without any runtime.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace clv {

/// In positions of the input tensor.
struct ReceptiveField {
    /// How far to each side of its own position a value of the output depends on the input, at most. What a
    /// layer takes from the whole picture is not counted here.
    int64_t radius = 0;
    /// Pictures that are shifted by a multiple of this fall on the same grid in every layer: the product of
    /// what the net shrinks by.
    int64_t alignment = 1;
    /// Why the radius is not known, as "Reshape (node /up/Reshape)"; "" when it is.
    std::string unknown;
    /// The first layer that looks at the whole picture at once, as "ReduceMean (node gate.mean)"; "" when
    /// there is none.
    std::string whole;
};

/// Follows convolutions, pools, resizes, shuffles and layers that compute value by value from the graph's
/// input to its output, along every path. `what` names the file in errors. Throws
/// Error(CLV_ERR_INVALID_MODEL) when the bytes are truncated.
ReceptiveField receptive_field(std::span<const std::byte> onnx, const std::string &what);

} // namespace clv
