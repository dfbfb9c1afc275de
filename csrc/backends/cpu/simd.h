// SPDX-License-Identifier: BSD-2-Clause
// The bodies of all SIMD kernels; V is a vector of floats with the few operations they need.
#pragma once

#include "kernels.h"

namespace clv::cpu {

/// The end of a value's way: limited and added to the picture, or LeakyReLU. A NaN stays one: of two values
/// that cannot be compared, min() and max() give the second.
template <class V>
inline void finish(V sum, const float *base, V slope, V low, V high, float *out) {
    V::store(out, base ? V::add(V::min(high, V::max(low, sum)), V::load(base))
                       : V::max(sum, V::multiply(sum, slope)));
}

/// acc[g][p] += the values at `from`, of one tap, times its G weights.
template <class V, int G, int P>
inline void accumulate(const float *from, const float *weights, V (&acc)[G][P]) {
    V value[P];
#pragma GCC unroll 16
    for (int p = 0; p < P; p++)
        value[p] = V::load(from + p * V::lanes);
#pragma GCC unroll 16
    for (int g = 0; g < G; g++) {
        const V w = V::broadcast(weights[g]);
#pragma GCC unroll 16
        for (int p = 0; p < P; p++)
            acc[g][p] = V::multiply_add(value[p], w, acc[g][p]);
    }
}

template <class V, int G, int P>
inline void fill(V (&acc)[G][P], const float *values) {
#pragma GCC unroll 16
    for (int g = 0; g < G; g++)
#pragma GCC unroll 16
        for (int p = 0; p < P; p++)
            acc[g][p] = V::broadcast(values ? values[g] : 0.0F);
}

template <class V, int G, int P>
void row(const RowJob &job) {
    for (int x = job.first; x < job.last; x += P * V::lanes) {
        V acc[G][P];
        fill(acc, job.bias);
        const float *weights = job.weights;
        for (int tap = 0; tap < job.tap_count; tap++)
            for (int kx = -1; kx <= 1; kx++, weights += G)
                accumulate(job.taps[tap] + x + kx * job.dilation, weights, acc);
        const V slope = V::broadcast(job.slope);
        const V low = V::broadcast(-job.limit), high = V::broadcast(job.limit);
#pragma GCC unroll 16
        for (int g = 0; g < G; g++)
#pragma GCC unroll 16
            for (int p = 0; p < P; p++)
                finish(acc[g][p], job.base ? job.base[g] + x + p * V::lanes : nullptr, slope, low, high,
                       job.out[g] + x + p * V::lanes);
    }
}

/// v = B' d of kernels.h: from six rows, or columns, to six sums of them; as many additions as
/// multiply-adds, which have units of their own in some processors.
template <class V>
inline void to_sums(const V (&d)[kQuadTaps], V (&v)[kQuadTaps]) {
    const V two = V::broadcast(2.0F), four = V::broadcast(4.0F), minus_two = V::broadcast(-2.0F),
            minus_four = V::broadcast(-4.0F);
    const V even = V::multiply_add(minus_four, d[2], d[4]);
    const V odd = V::multiply_add(minus_four, d[1], d[3]);
    const V far = V::subtract(d[4], d[2]);
    const V near = V::subtract(d[3], d[1]);
    v[0] = V::multiply_add(four, V::subtract(d[0], d[2]), far);
    v[1] = V::add(even, odd);
    v[2] = V::subtract(even, odd);
    v[3] = V::multiply_add(two, near, far);
    v[4] = V::multiply_add(minus_two, near, far);
    v[5] = V::multiply_add(minus_four, near, V::subtract(d[5], d[3]));
}

/// y = A' m of kernels.h.
template <class V>
inline void from_sums(const V (&m)[kQuadTaps], V (&y)[kQuad]) {
    const V two = V::broadcast(2.0F), four = V::broadcast(4.0F), eight = V::broadcast(8.0F);
    const V a = V::add(m[1], m[2]);
    const V b = V::subtract(m[1], m[2]);
    const V c = V::add(m[3], m[4]);
    const V d = V::subtract(m[3], m[4]);
    y[0] = V::add(V::add(m[0], a), c);
    y[1] = V::multiply_add(two, d, b);
    y[2] = V::multiply_add(four, c, a);
    y[3] = V::add(V::multiply_add(eight, d, b), m[5]);
}

template <class V>
void transform(const float *const *rows, int x, float *out, int stride) {
    const float *from[kQuadTaps]; // the compiler cannot know that `out` is not where they are kept
    for (int j = 0; j < kQuadTaps; j++)
        from[j] = rows[j] + x - 1;
    for (int i = 0; i < kStrip + 2; i += V::lanes, out += V::lanes) {
        V d[kQuadTaps], v[kQuadTaps];
#pragma GCC unroll 6
        for (int j = 0; j < kQuadTaps; j++)
            d[j] = V::load(from[j] + i);
        to_sums(d, v);
#pragma GCC unroll 6
        for (int j = 0; j < kQuadTaps; j++)
            V::store(out + j * stride, v[j]);
    }
}

template <class V, int G, int P>
void quad(const QuadJob &job) {
    static_assert(kStrip % (P * V::lanes) == 0);
    const V slope = V::broadcast(job.slope);
    const V low = V::broadcast(-job.limit), high = V::broadcast(job.limit);
    for (int at = 0; at < kStrip; at += P * V::lanes) {
        V sums[kQuadTaps][G][P];
        const float *from = job.strip + at;
        const float *weights = job.weights;
        for (auto &sum : sums) {
            V acc[G][P];
            // The bias is in every row when it is in the second sum: see A'.
            fill(acc, &sum == &sums[1] ? job.bias : nullptr);
            for (int channel = 0; channel < job.in_channels; channel++, from += kStripRow)
#pragma GCC unroll 3
                for (int kx = 0; kx < 3; kx++, weights += G)
                    accumulate(from + kx, weights, acc);
#pragma GCC unroll 16
            for (int g = 0; g < G; g++)
#pragma GCC unroll 16
                for (int p = 0; p < P; p++)
                    sum[g][p] = acc[g][p];
        }
        for (int g = 0; g < G; g++)
            for (int p = 0; p < P; p++) {
                V m[kQuadTaps], rows[kQuad];
#pragma GCC unroll 6
                for (int j = 0; j < kQuadTaps; j++)
                    m[j] = sums[j][g][p];
                from_sums(m, rows);
                const int x = job.first + at + p * V::lanes;
#pragma GCC unroll 4
                for (int r = 0; r < kQuad; r++)
                    finish(rows[r], job.base ? job.base[g * kQuad + r] + x : nullptr, slope, low, high,
                           job.out[g * kQuad + r] + x);
            }
    }
}

template <class V, int G, int P>
constexpr Kernel kernel() {
    static_assert(P * V::lanes <= kMaxBlock && G <= kMaxGroup);
    return {G, P * V::lanes, row<V, G, P>, quad<V, G, P>};
}

} // namespace clv::cpu
