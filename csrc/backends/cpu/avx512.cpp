// SPDX-License-Identifier: BSD-2-Clause
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined vectors inside its own intrinsics for uninitialised variables (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "eight.h"
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
    __m512 v;
};

constexpr Kernel kKernels[] = {kernel<Vector, 12, 2>(), kernel<Vector, 8, 2>(), kernel<Vector, 6, 4>(),
                               kernel<Vector, 4, 4>(),  kernel<Vector, 2, 4>(), kernel<Vector, 1, 4>()};

using Narrow = Eight; ///< for the last eight of channels

struct Set {
    using Wide = Vector;
    static void add_product(Vector value, const float *weights, int /*first*/, Vector &sums) {
        sums.v = _mm512_fmadd_ps(_mm512_permute_ps(value.v, 0x00), _mm512_loadu_ps(weights), sums.v);
        sums.v = _mm512_fmadd_ps(_mm512_permute_ps(value.v, 0x55), _mm512_loadu_ps(weights + 16), sums.v);
        sums.v = _mm512_fmadd_ps(_mm512_permute_ps(value.v, 0xaa), _mm512_loadu_ps(weights + 32), sums.v);
        sums.v = _mm512_fmadd_ps(_mm512_permute_ps(value.v, 0xff), _mm512_loadu_ps(weights + 48), sums.v);
    }
    /// The first two quarters.
    static void add_product(Narrow value, const float *weights, int /*first*/, Vector &sums) {
        __m256 half = _mm512_castps512_ps256(sums.v);
        half = _mm256_fmadd_ps(_mm256_permute_ps(value.v, 0x00), _mm256_loadu_ps(weights), half);
        half = _mm256_fmadd_ps(_mm256_permute_ps(value.v, 0x55), _mm256_loadu_ps(weights + 16), half);
        half = _mm256_fmadd_ps(_mm256_permute_ps(value.v, 0xaa), _mm256_loadu_ps(weights + 32), half);
        half = _mm256_fmadd_ps(_mm256_permute_ps(value.v, 0xff), _mm256_loadu_ps(weights + 48), half);
        sums.v = _mm512_mask_mov_ps(sums.v, 0x00ff, _mm512_castps256_ps512(half));
    }
    static void pixels(const Vector (&sums)[kTile], const float *base, float *upper, float *lower) {
        // Pairs of quarters, of two positions; then whole sums, of four.
        const auto halves = [](Vector a, Vector b) {
            return _mm512_add_ps(_mm512_shuffle_f32x4(a.v, b.v, 0x44), _mm512_shuffle_f32x4(a.v, b.v, 0xee));
        };
        const __m512 x01 = halves(sums[0], sums[1]), x23 = halves(sums[2], sums[3]);
        const __m512 whole =
            _mm512_add_ps(_mm512_shuffle_f32x4(x01, x23, 0x88), _mm512_shuffle_f32x4(x01, x23, 0xdd));
        const __m512i rows = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
        const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1, 2, 2, 3, 3);
        const __m512 bases = _mm512_permutexvar_ps(twice, _mm512_castps128_ps512(_mm_loadu_ps(base)));
        const __m512 both = _mm512_add_ps(_mm512_permutexvar_ps(rows, whole), bases);
        _mm256_storeu_ps(upper, _mm512_castps512_ps256(both));
        _mm256_storeu_ps(lower, _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(both), 1)));
    }
};

} // namespace

const Level kAvx512 = {"AVX-512",
                       kKernels,
                       6,
                       transform<Vector>,
                       {winograd<Set, Narrow, 12>(), winograd<Set, Vector, 12>(),
                        winograd<Set, Pair<Vector, Narrow>, 8>(), winograd<Set, Pair<Vector, Vector>, 6>()}};

} // namespace clv::cpu
