// SPDX-License-Identifier: BSD-2-Clause
//
// The row kernels with AVX-512 (F, BW, VL, DQ). Only intrinsics and things of internal linkage: see half.h.
//
// Sixteen positions at a time, shifted and or-ed together as drawn in avx2.cpp: 256 bytes of tensor in, one
// whole cache line of picture out (K = 4, 8 bit). Masks do the last part, for both reads and writes, so that
// not a byte beyond the row is touched.
//
// Two-byte samples with K = 4 fill two vectors; ab and cd hold two codes a lane:
//
//     ab  a0b0 a1b1 a2b2 a3b3 | a4b4 ...            unpacklo  a0b0 c0d0 a1b1 c1d1 | a4b4 c4d4 a5b5 c5d5 | ...
//     cd  c0d0 c1d1 c2d2 c3d3 | c4d4 ...            unpackhi  a2b2 c2d2 a3b3 c3d3 | a6b6 c6d6 a7b7 c7d7 | ...
//     permutex2var of 64-bit pieces brings them into order: low 0 1, high 0 1, low 2 3, high 2 3, ...

#include "half.h"
#include "kernels.h"

#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined vectors inside its own intrinsics for uninitialised variables (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

namespace clv::pixels {
namespace {

constexpr int block = 16; // positions

/// The low n bits, n = 0..64.
std::uint64_t low_bits(std::ptrdiff_t n) {
    return n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

template <Element E>
struct Lanes;

template <>
struct Lanes<Element::f32> {
    using Type = float;
    static __m512 load(__mmask16 m, const float *p) { return _mm512_maskz_loadu_ps(m, p); }
    static void store(float *p, __mmask16 m, __m512 v) { _mm512_mask_storeu_ps(p, m, v); }
};

template <>
struct Lanes<Element::f16> {
    using Type = std::uint16_t;
    static __m512 load(__mmask16 m, const std::uint16_t *p) {
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, p));
    }
    static void store(std::uint16_t *p, __mmask16 m, __m512 v) {
        _mm256_mask_storeu_epi16(p, m, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
};

template <>
struct Lanes<Element::bf16> {
    using Type = std::uint16_t;
    static __m512 load(__mmask16 m, const std::uint16_t *p) {
        const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p));
        return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
    }
    static void store(std::uint16_t *p, __mmask16 m, __m512 v) {
        const __m512i bits = _mm512_castps_si512(v);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        _mm256_mask_storeu_epi16(p, m, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
    }
};

// ---- picture -> tensor

struct UnpackConstants {
    __m512 offset, span, centre;
    __m128i shift;

    explicit UnpackConstants(const UnpackParams &p)
        : offset(_mm512_set1_ps(p.offset)), span(_mm512_set1_ps(p.span)), centre(_mm512_set1_ps(p.centre)),
          shift(_mm_cvtsi32_si128(p.shift)) {}

    __m512 value(__m512i code) const {
        const __m512 x = _mm512_sub_ps(_mm512_cvtepi32_ps(code), offset);
        return _mm512_sub_ps(_mm512_div_ps(x, span), centre);
    }
};

/// Samples k = 0..K-1 of the first `count` of sixteen positions, one position a lane.
template <typename Sample, int K>
[[gnu::always_inline]] inline void load_block(const std::uint8_t *src, std::ptrdiff_t count,
                                              const UnpackConstants &c, __m512i *codes) {
    const std::uint64_t samples = low_bits(count * K);
    if constexpr (sizeof(Sample) == 1 && K == 1) {
        codes[0] = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(static_cast<__mmask16>(samples), src));
    } else if constexpr (sizeof(Sample) == 1) {
        const __m256i bytes = _mm256_maskz_loadu_epi8(static_cast<__mmask32>(samples), src);
        const __m512i pairs = _mm512_cvtepu16_epi32(bytes);
        codes[0] = _mm512_and_si512(pairs, _mm512_set1_epi32(0xff));
        codes[1] = _mm512_srli_epi32(pairs, 8);
    } else if constexpr (K == 1) {
        const __m256i words = _mm256_maskz_loadu_epi16(static_cast<__mmask16>(samples), src);
        codes[0] = _mm512_srl_epi32(_mm512_cvtepu16_epi32(words), c.shift);
    } else {
        const __m512i pairs = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(samples), src);
        codes[0] = _mm512_srl_epi32(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff)), c.shift);
        codes[1] = _mm512_srl_epi32(_mm512_srli_epi32(pairs, 16), c.shift);
    }
}

template <Element E, typename Sample, int K>
void unpack(const std::uint8_t *src, void *const *dst, std::ptrdiff_t count, const UnpackParams &params) {
    using T = typename Lanes<E>::Type;
    constexpr std::ptrdiff_t step = K * static_cast<std::ptrdiff_t>(sizeof(Sample));
    const UnpackConstants constants(params);
    T *out[K];
    for (int k = 0; k < K; k++)
        out[k] = static_cast<T *>(dst[k]);

    for (std::ptrdiff_t i = 0; i < count; i += block) {
        const std::ptrdiff_t now = count - i < block ? count - i : block;
        const auto mask = static_cast<__mmask16>(low_bits(now));
        __m512i codes[K];
        load_block<Sample, K>(src + i * step, now, constants, codes);
        for (int k = 0; k < K; k++)
            Lanes<E>::store(out[k] + i, mask, constants.value(codes[k]));
    }
}

// ---- tensor -> picture

/// K rows far apart are read at once, a few KB each: too short for the hardware's prefetchers to get going.
/// The next row follows in memory, so looking ahead is right at the end of a row too.
/// Measured at x2: a quarter less time at 8 bit with AVX2, an eighth with AVX-512; 10 bit 13 % and nothing.
void look_ahead(const void *p) {
    constexpr std::uintptr_t distance = 1024;
    // Beyond the tensor at its end: harmless to prefetch, but no pointer may say so.
    const auto address = reinterpret_cast<std::uintptr_t>(p) + distance;
    _mm_prefetch(reinterpret_cast<const char *>(address), _MM_HINT_T0); // NOLINT(performance-no-int-to-ptr)
}

struct PackConstants {
    __m512 span, max_code;
    __m128i shift;

    explicit PackConstants(const PackParams &p)
        : span(_mm512_set1_ps(p.span)), max_code(_mm512_set1_ps(p.max_code)),
          shift(_mm_cvtsi32_si128(p.shift)) {}

    __m512i codes(__m512 x, __m512 bias) const {
        __m512 t = _mm512_add_ps(_mm512_mul_ps(x, span), bias);
        t = _mm512_max_ps(t, _mm512_setzero_ps()); // gives its second operand for NaN
        return _mm512_cvttps_epi32(_mm512_min_ps(t, max_code));
    }
};

__m512i join(__m512i low, __m512i high, unsigned bits) {
    return _mm512_or_si512(low, _mm512_slli_epi32(high, bits));
}

/// The first `samples` of sixteen positions of K codes each, in picture order.
template <typename Sample, int K>
[[gnu::always_inline]] inline void store_block(std::uint8_t *dst, std::ptrdiff_t samples,
                                               const PackConstants &c, const __m512i *v) {
    const std::uint64_t mask = low_bits(samples);
    if constexpr (sizeof(Sample) == 1) {
        if constexpr (K == 1)
            _mm_mask_storeu_epi8(dst, static_cast<__mmask16>(mask), _mm512_cvtepi32_epi8(v[0]));
        else if constexpr (K == 2)
            _mm256_mask_storeu_epi8(dst, static_cast<__mmask32>(mask),
                                    _mm512_cvtepi32_epi16(join(v[0], v[1], 8)));
        else
            _mm512_mask_storeu_epi8(dst, mask, join(join(v[0], v[1], 8), join(v[2], v[3], 8), 16));
    } else if constexpr (K == 1) {
        const __m256i words = _mm512_cvtepi32_epi16(v[0]);
        _mm256_mask_storeu_epi16(dst, static_cast<__mmask16>(mask), _mm256_sll_epi16(words, c.shift));
    } else if constexpr (K == 2) {
        const __m512i words = join(v[0], v[1], 16);
        _mm512_mask_storeu_epi16(dst, static_cast<__mmask32>(mask), _mm512_sll_epi16(words, c.shift));
    } else {
        const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
        const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
        const __m512i ab = _mm512_sll_epi16(join(v[0], v[1], 16), c.shift);
        const __m512i cd = _mm512_sll_epi16(join(v[2], v[3], 16), c.shift);
        const __m512i low = _mm512_unpacklo_epi32(ab, cd);
        const __m512i high = _mm512_unpackhi_epi32(ab, cd);
        _mm512_mask_storeu_epi16(dst, static_cast<__mmask32>(mask),
                                 _mm512_permutex2var_epi64(low, first, high));
        _mm512_mask_storeu_epi16(dst + 64, static_cast<__mmask32>(mask >> 32),
                                 _mm512_permutex2var_epi64(low, second, high));
    }
}

template <Element E, typename Sample, int K>
void pack(std::uint8_t *dst, const void *const *src, std::ptrdiff_t samples, const PackParams &params) {
    using T = typename Lanes<E>::Type;
    constexpr auto bytes = static_cast<std::ptrdiff_t>(sizeof(Sample));
    const PackConstants constants(params);
    const T *in[K];
    __m512 bias[K];
    for (int k = 0; k < K; k++) {
        in[k] = static_cast<const T *>(src[k]);
        bias[k] = _mm512_loadu_ps(params.bias[k]);
    }

    for (std::ptrdiff_t i = 0; i * K < samples; i += block) {
        const std::ptrdiff_t rest = samples - i * K;
        const std::ptrdiff_t now = rest < block * K ? rest : block * K;
        const auto mask = static_cast<__mmask16>(low_bits((now + K - 1) / K));
        __m512i codes[K];
        for (int k = 0; k < K; k++) {
            look_ahead(in[k] + i);
            codes[k] = constants.codes(Lanes<E>::load(mask, in[k] + i), bias[k]);
        }
        store_block<Sample, K>(dst + i * K * bytes, now, constants, codes);
    }
}

void limit(const float *src, float *dst, std::ptrdiff_t count, float low, float high) {
    const __m512 lows = _mm512_set1_ps(low);
    const __m512 highs = _mm512_set1_ps(high);
    for (std::ptrdiff_t i = 0; i < count; i += block) {
        const auto mask = static_cast<__mmask16>(low_bits(count - i));
        __m512 v = _mm512_maskz_loadu_ps(mask, src + i);
        v = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q), v);
        v = _mm512_min_ps(_mm512_max_ps(v, lows), highs);
        _mm512_mask_storeu_ps(dst + i, mask, v);
    }
}

#define UNPACK_ROW(E, S)                                                                                     \
    { nullptr, unpack<E, S, 1>, unpack<E, S, 2> }
#define PACK_ROW(E, S)                                                                                       \
    { nullptr, pack<E, S, 1>, pack<E, S, 2>, nullptr, pack<E, S, 4> }

} // namespace

const Kernels avx512_kernels = {
    "avx512",
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
