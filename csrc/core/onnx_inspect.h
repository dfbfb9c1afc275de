// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace clv {

/// A tensor that goes into or comes out of an ONNX graph.
struct OnnxValue {
    std::string name;
    int element_type = 0;       ///< TensorProto.DataType: 1 float, 10 float16, 16 bfloat16
    std::vector<int64_t> shape; ///< -1 for a dynamic dimension
};

/// What clarivid must know of an ONNX file before it chooses a runtime.
struct OnnxSummary {
    int64_t ir_version = 0;
    std::map<std::string, std::string> metadata; ///< ModelProto.metadata_props
    std::vector<OnnxValue> inputs;               ///< graph inputs that are no initializers
    std::vector<OnnxValue> outputs;
    bool external_data = false; ///< weights lie in another file
};

/// Reads the summary from a serialised ModelProto (onnx.proto of ONNX 1.x) without any runtime.
/// `what` names the file in errors. Throws Error(CLV_ERR_INVALID_MODEL) when the bytes are truncated or no
/// ONNX.
OnnxSummary inspect_onnx(std::span<const std::byte> bytes, const std::string &what);

} // namespace clv
