// SPDX-License-Identifier: BSD-2-Clause
// Compiled with -ffp-contract=off: products are rounded before they are added, as numpy has it.
#include "core/blend.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/checks.h"
#include "core/error.h"
#include "core/protobuf.h"
#include "core/sha256.h"
#include "pixels/half.h"

namespace clv {
namespace {

using protobuf::each_field;
using protobuf::Message;
using Bytes = std::span<const std::byte>;
using Json = nlohmann::json;

constexpr int kFloat = 1; // TensorProto.DataType
constexpr int kHalf = 10;

bool same(Bytes a, Bytes b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

template <class T>
T value_at(Bytes bytes, size_t index) {
    T value;
    std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
    return value;
}

float mixed(float first, float second, float sharpness) {
    return sharpness >= 1.0F ? second : (1.0F - sharpness) * first + sharpness * second;
}

/// Values of a tensor that are f32, or f16.
struct Values {
    Bytes bytes;
    bool half = false;

    size_t count() const { return bytes.size() / (half ? sizeof(uint16_t) : sizeof(float)); }
    float at(size_t i) const {
        return half ? pixels::f32_from_f16(value_at<uint16_t>(bytes, i)) : value_at<float>(bytes, i);
    }
};

void store(std::byte *to, bool half, size_t i, float value) {
    if (half) {
        const uint16_t rounded = pixels::f16_from_f32(value);
        std::memcpy(to + i * sizeof(rounded), &rounded, sizeof(rounded));
    } else {
        std::memcpy(to + i * sizeof(value), &value, sizeof(value));
    }
}

/// Writes the mixture of two tensors of one type and size where the first one lies in `out`, a copy of its
/// file, `file`.
void mix(std::vector<std::byte> &out, Bytes file, const Values &first, const Values &second,
         float sharpness) {
    std::byte *to = out.data() + (first.bytes.data() - file.data());
    for (size_t i = 0; i < first.count(); i++)
        store(to, first.half, i, mixed(first.at(i), second.at(i), sharpness));
}

// ---- ONNX

/// An initialiser.
struct Tensor {
    Bytes whole;
    int type = 0;
    std::vector<int64_t> shape;
    std::optional<Values> values; ///< of f32 and f16 that lie in the file byte by byte

    std::string text() const {
        std::string out;
        for (const int64_t size : shape)
            out += (out.empty() ? "" : "x") + std::to_string(size);
        return (out.empty() ? "one value" : out) + " of type " + std::to_string(type);
    }
};

/// What of a file makes its net: everything but weights, names and metadata has to be the same in both sets.
struct Net {
    std::vector<std::pair<uint32_t, Bytes>> fixed; ///< fields with their numbers; those of the model + 1000
    std::map<std::string, Tensor> tensors;
};

// TensorProto { dims = 1; data_type = 2; float_data = 4; name = 8; raw_data = 9 }
Tensor read_tensor(Bytes bytes, std::string &name) {
    Tensor tensor;
    tensor.whole = bytes;
    Bytes floats, raw;
    each_field(bytes, [&](const Message::Field &field) {
        if (field.number == 1 && field.wire_type == 0)
            tensor.shape.push_back(static_cast<int64_t>(field.value));
        else if (field.number == 1 && field.wire_type == 2)
            for (auto left = field.body; !left.empty();)
                tensor.shape.push_back(static_cast<int64_t>(protobuf::take_varint(left)));
        else if (field.number == 2 && field.wire_type == 0)
            tensor.type = static_cast<int>(field.value);
        else if (field.number == 4 && field.wire_type == 2)
            floats = field.body; // packed: little-endian f32, one after the other
        else if (field.number == 8 && field.wire_type == 2)
            name = protobuf::text(field.body);
        else if (field.number == 9 && field.wire_type == 2)
            raw = field.body;
    });
    const bool half = tensor.type == kHalf;
    if (tensor.type != kFloat && !half)
        return tensor;
    const Values values{raw.empty() && !half ? floats : raw, half};
    size_t count = 1;
    for (const int64_t size : tensor.shape)
        count = size >= 0 && static_cast<uint64_t>(size) <= bytes.size() ? count * static_cast<size_t>(size)
                                                                         : SIZE_MAX / 2;
    if (values.count() == count && values.bytes.size() % (half ? sizeof(uint16_t) : sizeof(float)) == 0)
        tensor.values = values;
    return tensor;
}

// ModelProto { graph = 7; opset_import = 8; functions = 25 }
// GraphProto { name = 2; initializer = 5; doc_string = 10 }
Net read_net(Bytes file, const std::string &what) {
    Net net;
    try {
        each_field(file, [&](const Message::Field &field) {
            if (field.number == 8 || field.number == 25)
                net.fixed.emplace_back(field.number + 1000, field.body);
            if (field.number != 7 || field.wire_type != 2)
                return;
            each_field(field.body, [&](const Message::Field &part) {
                if (part.number == 5 && part.wire_type == 2) {
                    std::string name;
                    Tensor tensor = read_tensor(part.body, name);
                    net.tensors[name] = std::move(tensor);
                } else if (part.number != 2 && part.number != 10) {
                    net.fixed.emplace_back(part.number, part.body);
                }
            });
        });
    } catch (const protobuf::Truncated &) {
        throw Error(CLV_ERR_INVALID_MODEL, what + " is truncated: install the bundle again");
    }
    return net;
}

[[noreturn]] void different(const std::string &what, const std::string &why) {
    throw Error(CLV_ERR_INVALID_MODEL, what + " has two sets of weights that are not of one net: " + why +
                                           "; export both from checkpoints of one architecture");
}

void check_same_graph(const Net &first, const Net &second, const std::string &what) {
    for (const auto &[name, tensor] : first.tensors) {
        const auto other = second.tensors.find(name);
        if (other == second.tensors.end())
            different(what, "the second has no weights \"" + name + "\"");
        if (tensor.shape != other->second.shape || tensor.type != other->second.type)
            different(what, "weights \"" + name + "\" are " + tensor.text() + " in the first and " +
                                other->second.text() + " in the second");
    }
    for (const auto &[name, tensor] : second.tensors)
        if (!first.tensors.contains(name))
            different(what, "the first has no weights \"" + name + "\"");
    bool equal = first.fixed.size() == second.fixed.size();
    for (size_t i = 0; equal && i < first.fixed.size(); i++)
        equal = first.fixed[i].first == second.fixed[i].first &&
                same(first.fixed[i].second, second.fixed[i].second);
    if (!equal)
        different(what, "their graphs have other nodes, inputs, outputs or operators");
}

// ---- safetensors: 8 bytes with the length of a JSON header, the header, the data

struct Table {
    Json header;
    Bytes data;
};

[[noreturn]] void damaged(const std::string &what) {
    throw Error(CLV_ERR_INVALID_MODEL, what + " has damaged .safetensors files: install the bundle again");
}

Table read_table(Bytes file, const std::string &what) {
    if (file.size() < sizeof(uint64_t) || value_at<uint64_t>(file, 0) > file.size() - sizeof(uint64_t))
        damaged(what);
    const auto length = static_cast<size_t>(value_at<uint64_t>(file, 0));
    const auto *text = reinterpret_cast<const char *>(file.data()) + sizeof(uint64_t);
    Table table{Json::parse(text, text + length, nullptr, /*allow_exceptions=*/false),
                file.subspan(sizeof(uint64_t) + length)};
    if (!table.header.is_object())
        damaged(what);
    table.header.erase("__metadata__");
    return table;
}

Values values_of(const Table &table, const Json &entry, const std::string &what) {
    const Json offsets = entry.value("data_offsets", Json());
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
        damaged(what);
    const auto begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
    if (begin > end || end > table.data.size())
        damaged(what);
    return {table.data.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)),
            entry.value("dtype", "") == "F16"};
}

} // namespace

std::vector<std::byte> blend_onnx(Bytes first, Bytes second, float sharpness, const std::string &what) {
    const Net from = read_net(first, what), to = read_net(second, what);
    check_same_graph(from, to, what);
    std::vector<std::byte> out(first.begin(), first.end());
    for (const auto &[name, tensor] : from.tensors) {
        const Tensor &other = to.tensors.at(name);
        if (tensor.values && other.values) {
            if (!same(tensor.values->bytes, other.values->bytes))
                mix(out, first, *tensor.values, *other.values, sharpness);
        } else if (!same(tensor.whole, other.whole)) {
            different(what, "\"" + name + "\" (" + tensor.text() +
                                ") differs, and is not weights in fp32 or "
                                "fp16 within the file");
        }
    }
    return out;
}

std::vector<std::byte> renew_twin(Bytes twin, Bytes first, Bytes blended, const std::string &what) {
    const Net old = read_net(first, what), now = read_net(blended, what), halves = read_net(twin, what);
    std::vector<std::byte> out(twin.begin(), twin.end());
    for (const auto &[name, tensor] : now.tensors) {
        if (same(tensor.whole, old.tensors.at(name).whole))
            continue;
        const auto found = halves.tensors.find(name);
        if (found == halves.tensors.end() || !found->second.values || !tensor.values ||
            found->second.shape != tensor.shape)
            different(what, "weights \"" + name + "\" of model.onnx are not in its fp16 twin");
        mix(out, twin, *found->second.values, *tensor.values, 1.0F);
    }
    return out;
}

std::vector<std::byte> blend_safetensors(Bytes first, Bytes second, float sharpness,
                                         const std::string &what) {
    const Table from = read_table(first, what), to = read_table(second, what);
    if (from.header.size() != to.header.size())
        different(what, "their .safetensors files have other tensors");
    std::vector<std::byte> out(first.begin(), first.end());
    for (const auto &[name, entry] : from.header.items()) {
        const auto other = to.header.find(name);
        if (other == to.header.end() || !entry.is_object() || !other->is_object() ||
            entry.value("dtype", Json()) != other->value("dtype", Json()) ||
            entry.value("shape", Json()) != other->value("shape", Json()))
            different(what, "weights \"" + name + "\" have another type or shape in the second");
        const Values a = values_of(from, entry, what), b = values_of(to, *other, what);
        if (same(a.bytes, b.bytes))
            continue;
        if ((entry.value("dtype", "") != "F32" && !a.half) || a.bytes.size() != b.bytes.size())
            different(what, "\"" + name + "\" differs, and is not weights in fp32 or fp16");
        mix(out, first, a, b, sharpness);
    }
    return out;
}

std::shared_ptr<const Bundle> sharpened(const std::shared_ptr<const Bundle> &bundle, double sharpness) {
    if (!(sharpness >= 0.0 && sharpness <= 1.0)) // NaN too
        throw Error(CLV_ERR_INVALID_ARGUMENT, "sharpness=" + number_text(sharpness) + " is not in 0..1");
    const auto value = static_cast<float>(sharpness);
    if (value == 0.0F)
        return bundle;
    if (!bundle->perceptual)
        throw Error(
            CLV_ERR_UNSUPPORTED,
            "model " + bundle->name + " has one set of weights, and sharpness=" + number_text(sharpness) +
                " mixes two: leave sharpness out, or take a bundle whose card has a \"perceptual\" set "
                "('clarivid models list' tells)");
    const PerceptualSet &second = *bundle->perceptual;
    const std::string what = "model " + bundle->name;
    auto made = std::make_shared<Bundle>(*bundle);
    made->perceptual.reset();
    made->sharpness = value;
    made->onnx = blend_onnx(bundle->onnx, second.onnx, value, what);
    made->onnx_digests = {{"fp32", sha256_hex(made->onnx)}};
    if (!second.twin.empty())
        made->onnx_digests["fp16"] = sha256_hex(renew_twin(second.twin, bundle->onnx, made->onnx, what));
    if (!bundle->weights.empty())
        made->weights = blend_safetensors(bundle->weights, second.weights, value, what);
    made->bf16_passed = bundle->bf16_passed && second.bf16_passed;
    made->fp16_passed = bundle->fp16_passed && second.fp16_passed;
    return made;
}

} // namespace clv
