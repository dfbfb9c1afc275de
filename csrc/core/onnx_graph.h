// SPDX-License-Identifier: BSD-2-Clause
// The nodes of an ONNX graph with their attributes, and the small constants that they refer to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace clv {

/// A tensor of weights: its shape, and its values when they are few integers or floats (kMaxValues).
struct OnnxConstant {
    std::vector<int64_t> shape;
    bool has_values = false;
    std::vector<double> values;
};

struct OnnxAttribute {
    std::optional<int64_t> integer;
    std::vector<int64_t> integers;
    std::string text;
    std::optional<OnnxConstant> tensor;
};

struct OnnxNode {
    std::string name; ///< may be empty
    std::string type; ///< such as "Conv"
    std::string domain;
    std::vector<std::string> inputs; ///< "" for one that is left out
    std::vector<std::string> outputs;
    std::map<std::string, OnnxAttribute> attributes;

    int64_t integer(const std::string &name, int64_t otherwise) const;
    std::vector<int64_t> integers(const std::string &name) const; ///< empty when it is not there
    std::string text(const std::string &name, const std::string &otherwise) const;
    /// "Conv (node head)", for messages.
    std::string label() const;
};

/// Names refer to what was read: nodes come in an order in which they can be computed, as ONNX demands.
struct OnnxGraph {
    std::vector<std::string> inputs; ///< that are no constants
    std::vector<std::string> outputs;
    std::vector<OnnxNode> nodes;
    std::map<std::string, OnnxConstant> constants; ///< initializers and the outputs of Constant nodes
};

/// Throws Error(CLV_ERR_INVALID_MODEL) when the bytes are truncated; `what` names the file.
OnnxGraph read_onnx_graph(std::span<const std::byte> onnx, const std::string &what);

} // namespace clv
