// SPDX-License-Identifier: BSD-2-Clause
// The protobuf wire format (protobuf.dev, "Encoding"), as far as onnx.proto needs it. core links against no
// runtime and no protobuf, and every length is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace clv::protobuf {

/// Thrown when bytes end too early or are none of the wire format.
struct Truncated {};

/// The next number, which is taken from the front of `left`.
inline uint64_t take_varint(std::span<const std::byte> &left) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (left.empty())
            throw Truncated();
        const auto byte = static_cast<uint8_t>(left[0]);
        left = left.subspan(1);
        value |= uint64_t{byte & 0x7fU} << shift;
        if (!(byte & 0x80))
            return value;
    }
    throw Truncated();
}

/// Walks the fields of one message.
class Message {
public:
    explicit Message(std::span<const std::byte> bytes) : left_(bytes) {}

    struct Field {
        uint32_t number;
        uint32_t wire_type;
        uint64_t value;                  ///< wire type 0
        std::span<const std::byte> body; ///< wire type 2
    };

    std::optional<Field> next() {
        if (left_.empty())
            return std::nullopt;
        const uint64_t key = varint();
        Field field{static_cast<uint32_t>(key >> 3), static_cast<uint32_t>(key & 7), 0, {}};
        if (field.number == 0)
            throw Truncated();
        switch (field.wire_type) {
        case 0:
            field.value = varint();
            break;
        case 1:
            take(8);
            break;
        case 2:
            field.body = take(varint());
            break;
        case 5:
            take(4);
            break;
        default: // groups (3, 4) are not used by onnx.proto
            throw Truncated();
        }
        return field;
    }

private:
    uint64_t varint() { return take_varint(left_); }

    std::span<const std::byte> take(uint64_t count) {
        if (count > left_.size())
            throw Truncated();
        const auto taken = left_.first(static_cast<size_t>(count));
        left_ = left_.subspan(static_cast<size_t>(count));
        return taken;
    }

    std::span<const std::byte> left_;
};

inline std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

template <class Visit>
void each_field(std::span<const std::byte> bytes, Visit visit) {
    Message message(bytes);
    while (const auto field = message.next())
        visit(*field);
}

} // namespace clv::protobuf
