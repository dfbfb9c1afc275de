// SPDX-License-Identifier: BSD-2-Clause
// A vector of eight floats, for the levels whose processors have AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include "winograd.h"

namespace clv::cpu {
namespace { // levels are compiled for different processors: none may be linked with another's

struct Eight {
    static constexpr int lanes = 8;
    static Eight load(const float *p) { return {_mm256_loadu_ps(p)}; }
    static void store(float *p, Eight a) { _mm256_storeu_ps(p, a.v); }
    static Eight broadcast(float a) { return {_mm256_set1_ps(a)}; }
    static Eight multiply_add(Eight a, Eight b, Eight c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    static Eight add(Eight a, Eight b) { return {_mm256_add_ps(a.v, b.v)}; }
    static Eight subtract(Eight a, Eight b) { return {_mm256_sub_ps(a.v, b.v)}; }
    static Eight multiply(Eight a, Eight b) { return {_mm256_mul_ps(a.v, b.v)}; }
    static Eight min(Eight a, Eight b) { return {_mm256_min_ps(a.v, b.v)}; }
    static Eight max(Eight a, Eight b) { return {_mm256_max_ps(a.v, b.v)}; }
    /// Of each four lanes the k-th, in all four.
    template <int k>
    static Eight of_fours(Eight a) {
        return {_mm256_permute_ps(a.v, k * 0x55)};
    }
    /// Halves of sums of four positions, added up, + base -> two rows of pixels.
    static void pixels(const Eight (&sums)[kTile], const float *base, float *upper, float *lower) {
        const auto whole = [](Eight a, Eight b) {
            return _mm256_castps_pd(_mm256_add_ps(_mm256_permute2f128_ps(a.v, b.v, 0x20),
                                                  _mm256_permute2f128_ps(a.v, b.v, 0x31)));
        };
        const __m256d x01 = whole(sums[0], sums[1]), x23 = whole(sums[2], sums[3]);
        const __m256d rows[2] = {_mm256_unpacklo_pd(x01, x23), _mm256_unpackhi_pd(x01, x23)};
        const __m256 bases = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(base)),
                                                      _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
        const auto pixels_of = [&](__m256d row) {
            return _mm256_add_ps(_mm256_castpd_ps(_mm256_permute4x64_pd(row, 0xd8)), bases);
        };
        _mm256_storeu_ps(upper, pixels_of(rows[0]));
        _mm256_storeu_ps(lower, pixels_of(rows[1]));
    }
    __m256 v;
};

} // namespace
} // namespace clv::cpu
