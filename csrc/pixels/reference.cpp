// SPDX-License-Identifier: BSD-2-Clause
//
// The kernels in plain C++: what the others are checked against, and what runs where they cannot.
// Compiled with -ffp-contract=off, as they are, so that every operation rounds once and in the order written.

#include "half.h"
#include "kernels.h"

namespace clv::pixels {
namespace {

template <Element E>
struct Scalar;

template <>
struct Scalar<Element::f32> {
    using Type = float;
    static float load(const float *p) { return *p; }
    static void store(float *p, float value) { *p = value; }
};

template <>
struct Scalar<Element::f16> {
    using Type = std::uint16_t;
    static float load(const std::uint16_t *p) { return f32_from_f16(*p); }
    static void store(std::uint16_t *p, float value) { *p = f16_from_f32(value); }
};

template <>
struct Scalar<Element::bf16> {
    using Type = std::uint16_t;
    static float load(const std::uint16_t *p) { return f32_from_bf16(*p); }
    static void store(std::uint16_t *p, float value) { *p = bf16_from_f32(value); }
};

template <Element E, typename Sample, int K>
void unpack(const std::uint8_t *src, void *const *dst, std::ptrdiff_t count, const UnpackParams &params) {
    using T = Scalar<E>;
    for (int k = 0; k < K; k++) {
        auto *out = static_cast<typename T::Type *>(dst[k]);
        for (std::ptrdiff_t i = 0; i < count; i++) {
            Sample sample; // two-byte samples may lie at any address
            std::memcpy(&sample, src + (K * i + k) * static_cast<std::ptrdiff_t>(sizeof sample),
                        sizeof sample);
            const float code = static_cast<float>(sample >> params.shift);
            T::store(out + i, (code - params.offset) / params.span - params.centre);
        }
    }
}

template <Element E, typename Sample, int K>
void pack(std::uint8_t *dst, const void *const *src, std::ptrdiff_t samples, const PackParams &params) {
    using T = Scalar<E>;
    for (int k = 0; k < K; k++) {
        const auto *in = static_cast<const typename T::Type *>(src[k]);
        const float *bias = params.bias[k];
        for (std::ptrdiff_t i = 0; K * i + k < samples; i++) {
            float t = T::load(in + i) * params.span;
            t = t + bias[i % bias_period];
            t = t > 0.0f ? t : 0.0f; // NaN too
            t = t < params.max_code ? t : params.max_code;
            const Sample sample = static_cast<Sample>(static_cast<int>(t) << params.shift); // t >= 0: floor
            std::memcpy(dst + (K * i + k) * static_cast<std::ptrdiff_t>(sizeof sample), &sample,
                        sizeof sample);
        }
    }
}

void limit(const float *src, float *dst, std::ptrdiff_t count, float low, float high) {
    for (std::ptrdiff_t i = 0; i < count; i++) {
        float value = src[i] == src[i] ? src[i] : 0.0f;
        value = value > low ? value : low;
        dst[i] = value < high ? value : high;
    }
}

#define UNPACK_ROW(E, S)                                                                                     \
    { nullptr, unpack<E, S, 1>, unpack<E, S, 2> }
#define PACK_ROW(E, S)                                                                                       \
    {                                                                                                        \
        nullptr, pack<E, S, 1>, pack<E, S, 2>, pack<E, S, 3>, pack<E, S, 4>, nullptr, pack<E, S, 6>,         \
            nullptr, pack<E, S, 8>                                                                           \
    }

} // namespace

const Kernels reference_kernels = {
    "reference",
    limit,
    {
        {UNPACK_ROW(Element::f32, std::uint8_t), UNPACK_ROW(Element::f32, std::uint16_t)},
        {UNPACK_ROW(Element::f16, std::uint8_t), UNPACK_ROW(Element::f16, std::uint16_t)},
        {UNPACK_ROW(Element::bf16, std::uint8_t), UNPACK_ROW(Element::bf16, std::uint16_t)},
    },
    {
        {PACK_ROW(Element::f32, std::uint8_t), PACK_ROW(Element::f32, std::uint16_t)},
        {PACK_ROW(Element::f16, std::uint8_t), PACK_ROW(Element::f16, std::uint16_t)},
        {PACK_ROW(Element::bf16, std::uint8_t), PACK_ROW(Element::bf16, std::uint16_t)},
    },
};

} // namespace clv::pixels
