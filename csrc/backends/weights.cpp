// SPDX-License-Identifier: BSD-2-Clause
#include "backends/weights.h"

#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "pixels/half.h"

namespace clv {
namespace {

using Json = nlohmann::json;

[[noreturn]] void damaged() {
    throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors is damaged: install the bundle again");
}

} // namespace

Json architecture_of(const CompileRequest &request, const char *type, clv_layout layout) {
    Json found = Json::parse(request.architecture, nullptr, /*allow_exceptions=*/false);
    const bool named = found.is_object() && found.value("type", Json()) == type;
    return named && !request.weights.empty() && request.layout == layout ? found : Json();
}

Weights::Weights(std::span<const std::byte> file) {
    uint64_t length = 0;
    if (file.size() < sizeof(length))
        damaged();
    std::memcpy(&length, file.data(), sizeof(length));
    if (length > file.size() - sizeof(length))
        damaged();
    const auto *text = reinterpret_cast<const char *>(file.data()) + sizeof(length);
    header_ = Json::parse(text, text + length, nullptr, /*allow_exceptions=*/false);
    data_ = file.subspan(sizeof(length) + static_cast<size_t>(length));
    if (!header_.is_object())
        damaged();
}

std::vector<float> Weights::take(const std::string &name, const std::vector<int> &shape) const {
    const auto entry = header_.find(name);
    const Json type = entry != header_.end() && entry->is_object() ? entry->value("dtype", Json()) : Json();
    if ((type != "F32" && type != "F16") || entry->value("shape", Json()) != Json(shape))
        throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors has no tensor \"" + name +
                                               "\" of f32 or f16 and shape " + Json(shape).dump() +
                                               ", which the architecture in card.json needs");
    const size_t size = type == "F32" ? sizeof(float) : sizeof(uint16_t);
    const Json offsets = entry->value("data_offsets", Json());
    size_t count = 1;
    for (const int each : shape)
        count *= static_cast<size_t>(each);
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
        damaged();
    const auto begin = offsets[0].get<uint64_t>();
    const auto end = offsets[1].get<uint64_t>();
    if (begin > end || end > data_.size() || end - begin != count * size)
        damaged();
    std::vector<float> values(count);
    if (size == sizeof(float)) {
        std::memcpy(values.data(), data_.data() + begin, count * size);
        return values;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t half = 0;
        std::memcpy(&half, data_.data() + begin + i * size, size);
        values[i] = pixels::f32_from_f16(half);
    }
    return values;
}

} // namespace clv
