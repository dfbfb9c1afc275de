// SPDX-License-Identifier: BSD-2-Clause
#include <immintrin.h>

#include "simd.h"

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
    __m256 v;
};

constexpr Kernel kKernels[] = {kernel<Vector, 6, 2>(), kernel<Vector, 4, 2>(), kernel<Vector, 2, 4>(),
                               kernel<Vector, 1, 8>()};

} // namespace

const Level kAvx2 = {"AVX2", kKernels, 4, transform<Vector>};

} // namespace clv::cpu
