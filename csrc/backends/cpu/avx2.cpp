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
    /// Of each four lanes the k-th, in all four.
    template <int k>
    static Vector of_fours(Vector a) {
        return {_mm256_permute_ps(a.v, k * 0x55)};
    }
    /// Halves of sums of four positions, added up, + base -> two rows of pixels.
    static void pixels(const Vector (&sums)[kTile], const float *base, float *upper, float *lower) {
        const auto whole = [](Vector a, Vector b) {
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

constexpr Kernel kKernels[] = {kernel<Vector, 6, 2>(), kernel<Vector, 4, 2>(), kernel<Vector, 2, 4>(),
                               kernel<Vector, 1, 8>()};

using Set = Halves<Vector>;
using Wide = Set::Wide;

} // namespace

const Level kAvx2 = {"AVX2",
                     kKernels,
                     4,
                     transform<Vector>,
                     {winograd<Set, Vector, 12>(), winograd<Set, Wide, 6>(),
                      winograd<Set, Pair<Wide, Vector>, 4>(), winograd<Set, Pair<Wide, Wide>, 3>()}};

} // namespace clv::cpu
