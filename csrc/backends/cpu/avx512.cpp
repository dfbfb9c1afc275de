// SPDX-License-Identifier: BSD-2-Clause
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the undefined vectors inside its own intrinsics for uninitialised variables (its bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "simd.h"

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

} // namespace

const Level kAvx512 = {"AVX-512", kKernels, 6, transform<Vector>};

} // namespace clv::cpu
