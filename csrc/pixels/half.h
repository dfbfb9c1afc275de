// SPDX-License-Identifier: BSD-2-Clause
//
// Scalar f16 and bf16 <-> f32, in plain integers: no compiler support needed, the same rounding (to nearest,
// ties to even) as VCVTPS2PH and VCVTNEPS2BF16.
//
// Everything here has internal linkage on purpose. This header is included by files that are compiled for
// AVX2 and AVX-512; an inline function with external linkage might be emitted there and chosen by the linker
// for everybody, which then fails with SIGILL on older machines. The test `pixels_no_weak_symbols` watches
// over it.
#pragma once

#include <cstdint>
#include <cstring>

namespace clv::pixels {
namespace {

[[maybe_unused]] inline float float_from_bits(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

[[maybe_unused]] inline std::uint32_t bits_from_float(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

[[maybe_unused]] inline float f32_from_bf16(std::uint16_t h) {
    return float_from_bits(static_cast<std::uint32_t>(h) << 16);
}

/// `value` must not be NaN.
[[maybe_unused]] inline std::uint16_t bf16_from_f32(float value) {
    const std::uint32_t bits = bits_from_float(value);
    return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

[[maybe_unused]] inline float f32_from_f16(std::uint16_t h) {
    const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
    const std::uint32_t magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) // infinity, NaN
        return float_from_bits(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
    if (magnitude < 0x0400u) { // zero and subnormal: magnitude * 2^-24 is exact
        const float value = static_cast<float>(magnitude) * 0x1p-24f;
        return float_from_bits(sign | bits_from_float(value));
    }
    return float_from_bits(sign | ((magnitude + (112u << 10)) << 13));
}

/// `value` must not be NaN.
[[maybe_unused]] inline std::uint16_t f16_from_f32(float value) {
    const std::uint32_t bits = bits_from_float(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x477ff000u) // 65520 and above round to infinity
        return static_cast<std::uint16_t>(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { // below 2^-14: adding 0.5 leaves a subnormal's bits in the low mantissa
        const std::uint32_t rounded = bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
        return static_cast<std::uint16_t>(sign | rounded);
    }
    const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

} // namespace
} // namespace clv::pixels
