// SPDX-License-Identifier: BSD-2-Clause
// The body of every SIMD row kernel; V is a vector of floats with the few operations it needs.
#pragma once

#include "kernels.h"

namespace clv::cpu {

template <class V, int G, int P>
void row(const RowJob &job) {
    constexpr int block = P * V::lanes;
    for (int x = job.first; x < job.last; x += block) {
        V acc[G][P];
#pragma GCC unroll 16
        for (int g = 0; g < G; g++)
#pragma GCC unroll 16
            for (int p = 0; p < P; p++)
                acc[g][p] = V::broadcast(job.bias[g]);
        const float *weight = job.weights;
        for (int tap = 0; tap < job.tap_count; tap++) {
            const float *from = job.taps[tap] + x - job.dilation;
            for (int kx = 0; kx < 3; kx++, from += job.dilation, weight += G) {
                V value[P];
#pragma GCC unroll 16
                for (int p = 0; p < P; p++)
                    value[p] = V::load(from + p * V::lanes);
#pragma GCC unroll 16
                for (int g = 0; g < G; g++) {
                    const V w = V::broadcast(weight[g]);
#pragma GCC unroll 16
                    for (int p = 0; p < P; p++)
                        acc[g][p] = V::multiply_add(value[p], w, acc[g][p]);
                }
            }
        }
#pragma GCC unroll 16
        for (int g = 0; g < G; g++) {
            const V slope = V::broadcast(job.slope);
#pragma GCC unroll 16
            for (int p = 0; p < P; p++) {
                const V sum = acc[g][p];
                const V result = job.base ? V::add(sum, V::load(job.base[g] + x + p * V::lanes))
                                          : V::max(sum, V::multiply(sum, slope));
                V::store(job.out[g] + x + p * V::lanes, result);
            }
        }
    }
}

template <class V, int G, int P>
constexpr RowKernel row_kernel() {
    static_assert(P * V::lanes <= kMaxBlock && G <= kMaxGroup);
    return {G, P * V::lanes, row<V, G, P>};
}

} // namespace clv::cpu
