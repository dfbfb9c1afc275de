// SPDX-License-Identifier: BSD-2-Clause
#include "core/onnx_graph.h"

#include <cstring>

#include "core/error.h"
#include "core/protobuf.h"

namespace clv {
namespace {

using protobuf::each_field;
using protobuf::Message;

constexpr size_t kMaxValues = 64; // paddings, scales, axes; no weights
constexpr int kFloat = 1;         // TensorProto.DataType
constexpr int kInt32 = 6;
constexpr int kInt64 = 7;

/// A repeated scalar: packed, or one field an element.
void append_integers(const Message::Field &field, std::vector<int64_t> &to) {
    if (field.wire_type == 0)
        to.push_back(static_cast<int64_t>(field.value));
    else if (field.wire_type == 2)
        for (auto left = field.body; !left.empty();)
            to.push_back(static_cast<int64_t>(protobuf::take_varint(left)));
}

template <class T>
void append_raw(std::span<const std::byte> bytes, std::vector<double> &to) {
    for (size_t at = 0; at + sizeof(T) <= bytes.size(); at += sizeof(T)) {
        T value;
        std::memcpy(&value, bytes.data() + at, sizeof(T));
        to.push_back(static_cast<double>(value));
    }
}

// TensorProto { dims = 1; data_type = 2; float_data = 4; int32_data = 5; int64_data = 7; name = 8; raw_data =
// 9 }
OnnxConstant read_tensor(std::span<const std::byte> bytes, std::string *name) {
    OnnxConstant tensor;
    int type = 0;
    std::span<const std::byte> raw;
    std::vector<int64_t> integers;
    std::vector<double> floats;
    each_field(bytes, [&](const Message::Field &field) {
        if (field.number == 1)
            append_integers(field, tensor.shape);
        else if (field.number == 2 && field.wire_type == 0)
            type = static_cast<int>(field.value);
        else if (field.number == 4 && field.wire_type == 2 && field.body.size() <= kMaxValues * sizeof(float))
            append_raw<float>(field.body, floats);
        else if ((field.number == 5 || field.number == 7) && field.body.size() <= kMaxValues * 10)
            append_integers(field, integers);
        else if (field.number == 8 && field.wire_type == 2 && name)
            *name = protobuf::text(field.body);
        else if (field.number == 9 && field.wire_type == 2)
            raw = field.body;
    });
    if (raw.size() <= kMaxValues * sizeof(int64_t)) {
        if (type == kFloat)
            append_raw<float>(raw, floats);
        else if (type == kInt64)
            append_raw<int64_t>(raw, floats);
        else if (type == kInt32)
            append_raw<int32_t>(raw, floats);
    }
    tensor.values = std::move(floats);
    tensor.values.insert(tensor.values.end(), integers.begin(), integers.end());
    size_t count = 1;
    for (const int64_t dim : tensor.shape)
        count = dim >= 0 && dim <= static_cast<int64_t>(kMaxValues) ? count * static_cast<size_t>(dim)
                                                                    : kMaxValues + 1;
    tensor.has_values = count <= kMaxValues && tensor.values.size() == count;
    return tensor;
}

// AttributeProto { name = 1; i = 3; s = 4; t = 5; floats = 7; ints = 8 }
void read_attribute(std::span<const std::byte> bytes, OnnxNode &node) {
    std::string name;
    OnnxAttribute attribute;
    each_field(bytes, [&](const Message::Field &field) {
        if (field.number == 1 && field.wire_type == 2)
            name = protobuf::text(field.body);
        else if (field.number == 3 && field.wire_type == 0)
            attribute.integer = static_cast<int64_t>(field.value);
        else if (field.number == 4 && field.wire_type == 2)
            attribute.text = protobuf::text(field.body);
        else if (field.number == 5 && field.wire_type == 2)
            attribute.tensor = read_tensor(field.body, nullptr);
        else if (field.number == 8)
            append_integers(field, attribute.integers);
    });
    node.attributes[name] = std::move(attribute);
}

// NodeProto { input = 1; output = 2; name = 3; op_type = 4; attribute = 5; domain = 7 }
OnnxNode read_node(std::span<const std::byte> bytes) {
    OnnxNode node;
    each_field(bytes, [&](const Message::Field &field) {
        if (field.wire_type != 2)
            return;
        if (field.number == 1)
            node.inputs.push_back(protobuf::text(field.body));
        else if (field.number == 2)
            node.outputs.push_back(protobuf::text(field.body));
        else if (field.number == 3)
            node.name = protobuf::text(field.body);
        else if (field.number == 4)
            node.type = protobuf::text(field.body);
        else if (field.number == 5)
            read_attribute(field.body, node);
        else if (field.number == 7)
            node.domain = protobuf::text(field.body);
    });
    return node;
}

// GraphProto { node = 1; initializer = 5; input = 11; output = 12 }; ValueInfoProto { name = 1 }
OnnxGraph read_graph(std::span<const std::byte> bytes) {
    OnnxGraph graph;
    const auto name_of = [](std::span<const std::byte> value) {
        std::string name;
        each_field(value, [&](const Message::Field &field) {
            if (field.number == 1 && field.wire_type == 2)
                name = protobuf::text(field.body);
        });
        return name;
    };
    each_field(bytes, [&](const Message::Field &field) {
        if (field.wire_type != 2)
            return;
        if (field.number == 1)
            graph.nodes.push_back(read_node(field.body));
        else if (field.number == 5) {
            std::string name;
            OnnxConstant constant = read_tensor(field.body, &name);
            graph.constants[name] = std::move(constant);
        } else if (field.number == 11)
            graph.inputs.push_back(name_of(field.body));
        else if (field.number == 12)
            graph.outputs.push_back(name_of(field.body));
    });
    std::erase_if(graph.inputs, [&](const std::string &name) { return graph.constants.contains(name); });
    for (const OnnxNode &node : graph.nodes)
        if (node.type == "Constant" && !node.outputs.empty()) {
            const auto value = node.attributes.find("value");
            graph.constants[node.outputs[0]] = value != node.attributes.end() && value->second.tensor
                                                   ? *value->second.tensor
                                                   : OnnxConstant();
        }
    return graph;
}

} // namespace

int64_t OnnxNode::integer(const std::string &key, int64_t otherwise) const {
    const auto found = attributes.find(key);
    return found == attributes.end() ? otherwise : found->second.integer.value_or(otherwise);
}

std::vector<int64_t> OnnxNode::integers(const std::string &key) const {
    const auto found = attributes.find(key);
    return found == attributes.end() ? std::vector<int64_t>() : found->second.integers;
}

std::string OnnxNode::text(const std::string &key, const std::string &otherwise) const {
    const auto found = attributes.find(key);
    return found == attributes.end() || found->second.text.empty() ? otherwise : found->second.text;
}

std::string OnnxNode::label() const {
    const std::string &known = name.empty() && !outputs.empty() ? outputs[0] : name;
    return type + (known.empty() ? "" : " (" + known + ")");
}

OnnxGraph read_onnx_graph(std::span<const std::byte> onnx, const std::string &what) {
    OnnxGraph graph;
    try {
        each_field(onnx, [&](const Message::Field &field) { // ModelProto { graph = 7 }
            if (field.number == 7 && field.wire_type == 2)
                graph = read_graph(field.body);
        });
    } catch (const protobuf::Truncated &) {
        throw Error(CLV_ERR_INVALID_MODEL, what + " is truncated: copy it again");
    }
    return graph;
}

} // namespace clv
