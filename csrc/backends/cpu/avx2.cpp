// SPDX-License-Identifier: BSD-2-Clause
#include <immintrin.h>

#include "winograd_simd.h"

namespace clv::cpu {
namespace {

struct Vector {
    static constexpr int lanes = 8;
    static Vector load(const float *p) { return {_mm256_loadu_ps(p)}; }
    static void store(float *p, Vector a) { _mm256_storeu_ps(p, a.v); }
    static Vector broadcast(float a) { return {_mm256_set1_ps(a)}; }
    static Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    static Vector add(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
    static Vector subtract(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
    static Vector multiply(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
    static Vector min(Vector a, Vector b) { return {_mm256_min_ps(a.v, b.v)}; }
    static Vector max(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }
    /// Four vectors a, b, c, d become a0 b0 c0 d0 a1 b1 ..
    static void interleave(Vector (&v)[4]) {
        const __m256 ab_low = _mm256_unpacklo_ps(v[0].v, v[1].v),
                     ab_high = _mm256_unpackhi_ps(v[0].v, v[1].v);
        const __m256 cd_low = _mm256_unpacklo_ps(v[2].v, v[3].v),
                     cd_high = _mm256_unpackhi_ps(v[2].v, v[3].v);
        // half h of t[i] is tile 4h + i
        const __m256 t[4] = {_mm256_shuffle_ps(ab_low, cd_low, 0x44), _mm256_shuffle_ps(ab_low, cd_low, 0xee),
                             _mm256_shuffle_ps(ab_high, cd_high, 0x44),
                             _mm256_shuffle_ps(ab_high, cd_high, 0xee)};
        v[0].v = _mm256_permute2f128_ps(t[0], t[1], 0x20);
        v[1].v = _mm256_permute2f128_ps(t[2], t[3], 0x20);
        v[2].v = _mm256_permute2f128_ps(t[0], t[1], 0x31);
        v[3].v = _mm256_permute2f128_ps(t[2], t[3], 0x31);
    }
    __m256 v;
};

constexpr Kernel kKernels[] = {kernel<Vector, 6, 2>(), kernel<Vector, 4, 2>(), kernel<Vector, 2, 4>(),
                               kernel<Vector, 1, 8>()};

} // namespace

const Level kAvx2 = {"AVX2", kKernels, 4, transform<Vector>, winograd<Vector, 4, 3>()};

} // namespace clv::cpu
