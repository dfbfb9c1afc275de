// SPDX-License-Identifier: BSD-2-Clause
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined vectors inside its own intrinsics for uninitialised variables (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "winograd_simd.h"

namespace clv::cpu {
namespace {

struct Vector {
    static constexpr int lanes = 16;
    static Vector load(const float *p) { return {_mm512_loadu_ps(p)}; }
    static void store(float *p, Vector a) { _mm512_storeu_ps(p, a.v); }
    static Vector broadcast(float a) { return {_mm512_set1_ps(a)}; }
    static Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    static Vector add(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
    static Vector subtract(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
    static Vector multiply(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
    static Vector min(Vector a, Vector b) { return {_mm512_min_ps(a.v, b.v)}; }
    static Vector max(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
    /// Four vectors a, b, c, d become a0 b0 c0 d0 a1 b1 ..
    static void interleave(Vector (&v)[4]) {
        const __m512 ab_low = _mm512_unpacklo_ps(v[0].v, v[1].v),
                     ab_high = _mm512_unpackhi_ps(v[0].v, v[1].v);
        const __m512 cd_low = _mm512_unpacklo_ps(v[2].v, v[3].v),
                     cd_high = _mm512_unpackhi_ps(v[2].v, v[3].v);
        const auto pairs = [](__m512 a, __m512 b, bool high) {
            const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
            return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(x, y) : _mm512_unpacklo_pd(x, y));
        };
        // quarter q of t[i] is tile 4q + i
        const __m512 t[4] = {pairs(ab_low, cd_low, false), pairs(ab_low, cd_low, true),
                             pairs(ab_high, cd_high, false), pairs(ab_high, cd_high, true)};
        const __m512 low01 = _mm512_shuffle_f32x4(t[0], t[1], 0x44),
                     high01 = _mm512_shuffle_f32x4(t[0], t[1], 0xee);
        const __m512 low23 = _mm512_shuffle_f32x4(t[2], t[3], 0x44),
                     high23 = _mm512_shuffle_f32x4(t[2], t[3], 0xee);
        v[0].v = _mm512_shuffle_f32x4(low01, low23, 0x88);
        v[1].v = _mm512_shuffle_f32x4(low01, low23, 0xdd);
        v[2].v = _mm512_shuffle_f32x4(high01, high23, 0x88);
        v[3].v = _mm512_shuffle_f32x4(high01, high23, 0xdd);
    }
    __m512 v;
};

constexpr Kernel kKernels[] = {kernel<Vector, 12, 2>(), kernel<Vector, 8, 2>(), kernel<Vector, 6, 4>(),
                               kernel<Vector, 4, 4>(),  kernel<Vector, 2, 4>(), kernel<Vector, 1, 4>()};

} // namespace

const Level kAvx512 = {"AVX-512", kKernels, 6, transform<Vector>, winograd<Vector, 8, 3>()};

} // namespace clv::cpu
