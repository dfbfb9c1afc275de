// SPDX-License-Identifier: BSD-2-Clause
#include "backends/weights.h"

#include <cstdint>
#include <cstring>

#include "core/error.h"

namespace clv {
namespace {

using Json = nlohmann::json;

[[noreturn]] void damaged() {
    throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors is damaged: install the bundle again");
}

} // namespace

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
    if (entry == header_.end() || !entry->is_object() || entry->value("dtype", Json()) != "F32" ||
        entry->value("shape", Json()) != Json(shape))
        throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors has no f32 tensor \"" + name +
                                               "\" of shape " + Json(shape).dump() +
                                               ", which the architecture in card.json needs");
    const Json offsets = entry->value("data_offsets", Json());
    size_t count = 1;
    for (const int size : shape)
        count *= static_cast<size_t>(size);
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
        damaged();
    const auto begin = offsets[0].get<uint64_t>();
    const auto end = offsets[1].get<uint64_t>();
    if (begin > end || end > data_.size() || end - begin != count * sizeof(float))
        damaged();
    std::vector<float> values(count);
    std::memcpy(values.data(), data_.data() + begin, count * sizeof(float));
    return values;
}

} // namespace clv
