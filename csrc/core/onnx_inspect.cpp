// SPDX-License-Identifier: BSD-2-Clause
// A reader of the few fields of onnx.proto that clarivid needs before it chooses a runtime.
#include "core/onnx_inspect.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/protobuf.h"

namespace clv {
namespace {

using protobuf::each_field;
using protobuf::Message;
using protobuf::text;
using protobuf::Truncated;

// TensorShapeProto { repeated Dimension dim = 1 { int64 dim_value = 1; string dim_param = 2; } }
std::vector<int64_t> read_shape(std::span<const std::byte> bytes) {
    std::vector<int64_t> shape;
    each_field(bytes, [&](const Message::Field &dim) {
        if (dim.number != 1 || dim.wire_type != 2)
            return;
        int64_t value = -1;
        each_field(dim.body, [&](const Message::Field &field) {
            if (field.number == 1 && field.wire_type == 0 && static_cast<int64_t>(field.value) > 0)
                value = static_cast<int64_t>(field.value);
        });
        shape.push_back(value);
    });
    return shape;
}

// ValueInfoProto { name = 1; TypeProto type = 2 { Tensor tensor_type = 1 { elem_type = 1; shape = 2; } } }
OnnxValue read_value(std::span<const std::byte> bytes) {
    OnnxValue value;
    each_field(bytes, [&](const Message::Field &info) {
        if (info.number == 1 && info.wire_type == 2)
            value.name = text(info.body);
        if (info.number != 2 || info.wire_type != 2)
            return;
        each_field(info.body, [&](const Message::Field &type) {
            if (type.number != 1 || type.wire_type != 2)
                return;
            each_field(type.body, [&](const Message::Field &tensor) {
                if (tensor.number == 1 && tensor.wire_type == 0)
                    value.element_type = static_cast<int>(tensor.value);
                else if (tensor.number == 2 && tensor.wire_type == 2)
                    value.shape = read_shape(tensor.body);
            });
        });
    });
    return value;
}

// GraphProto { initializer = 5; input = 11; output = 12 }; TensorProto { name = 8; data_location = 14 }
void read_graph(std::span<const std::byte> bytes, OnnxSummary &summary) {
    std::set<std::string> initializers;
    each_field(bytes, [&](const Message::Field &field) {
        if (field.wire_type != 2)
            return;
        if (field.number == 11)
            summary.inputs.push_back(read_value(field.body));
        else if (field.number == 12)
            summary.outputs.push_back(read_value(field.body));
        else if (field.number == 5)
            each_field(field.body, [&](const Message::Field &tensor) {
                if (tensor.number == 8 && tensor.wire_type == 2)
                    initializers.insert(text(tensor.body));
                else if (tensor.number == 14 && tensor.wire_type == 0 && tensor.value == 1)
                    summary.external_data = true;
            });
    });
    std::erase_if(summary.inputs, [&](const OnnxValue &value) { return initializers.contains(value.name); });
}

} // namespace

OnnxSummary inspect_onnx(std::span<const std::byte> bytes, const std::string &what) {
    OnnxSummary summary;
    try {
        // ModelProto { ir_version = 1; graph = 7; metadata_props = 14 { key = 1; value = 2 } }
        each_field(bytes, [&](const Message::Field &field) {
            if (field.number == 1 && field.wire_type == 0)
                summary.ir_version = static_cast<int64_t>(field.value);
            else if (field.number == 7 && field.wire_type == 2)
                read_graph(field.body, summary);
            else if (field.number == 14 && field.wire_type == 2) {
                std::string key, value;
                each_field(field.body, [&](const Message::Field &entry) {
                    if (entry.wire_type == 2 && (entry.number == 1 || entry.number == 2))
                        (entry.number == 1 ? key : value) = text(entry.body);
                });
                summary.metadata[key] = value;
            }
        });
    } catch (const Truncated &) {
        throw Error(CLV_ERR_INVALID_MODEL,
                    what + " is truncated or is no ONNX file: copy it again, or check what made it");
    }
    if (summary.ir_version < 1 || summary.ir_version > 1000 || summary.inputs.empty() ||
        summary.outputs.empty())
        throw Error(CLV_ERR_INVALID_MODEL,
                    what + " is no ONNX model: it has no graph with inputs and outputs");
    return summary;
}

} // namespace clv
