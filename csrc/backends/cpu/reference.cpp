// SPDX-License-Identifier: BSD-2-Clause
// The kernels in plain C++: what the others are checked against, and what runs where they cannot.
#include <algorithm>
#include <cmath>

#include "winograd_simd.h"

namespace clv::cpu {
namespace {

float finish(float sum, const float *base, float slope, float limit) {
    const float scaled = sum * slope;
    if (!base)
        return sum > scaled ? sum : scaled;
    return (sum < -limit ? -limit : sum > limit ? limit : sum) + *base;
}

void row(const RowJob &job) {
    for (int x = job.first; x < job.last; x++) {
        float sum = job.bias[0];
        const float *weight = job.weights;
        for (int tap = 0; tap < job.tap_count; tap++)
            for (int kx = -1; kx <= 1; kx++)
                sum = std::fma(job.taps[tap][x + kx * job.dilation], *weight++, sum);
        job.out[0][x] = finish(sum, job.base ? job.base[0] + x : nullptr, job.slope, job.limit);
    }
}

void transform(const float *const *rows, int x, float *out, int stride) {
    for (int i = 0; i < kStrip + 2; i++) {
        float d[kQuadTaps];
        for (int j = 0; j < kQuadTaps; j++)
            d[j] = rows[j][x - 1 + i];
        const float even = std::fma(-4.0F, d[2], d[4]), odd = std::fma(-4.0F, d[1], d[3]);
        const float far = d[4] - d[2], near = d[3] - d[1];
        const float v[kQuadTaps] = {std::fma(4.0F, d[0] - d[2], far),
                                    even + odd,
                                    even - odd,
                                    std::fma(2.0F, near, far),
                                    std::fma(-2.0F, near, far),
                                    std::fma(-4.0F, near, d[5] - d[3])};
        for (int j = 0; j < kQuadTaps; j++)
            out[j * stride + i] = v[j];
    }
}

void quad(const QuadJob &job) {
    for (int at = 0; at < kStrip; at++) {
        float m[kQuadTaps];
        const float *weight = job.weights;
        const float *from = job.strip + at;
        for (int j = 0; j < kQuadTaps; j++) {
            m[j] = j == 1 ? job.bias[0] : 0.0F;
            for (int channel = 0; channel < job.in_channels; channel++, from += kStripRow)
                for (int kx = 0; kx < 3; kx++)
                    m[j] = std::fma(from[kx], *weight++, m[j]);
        }
        const float a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
        const float rows[kQuad] = {m[0] + a + c, std::fma(2.0F, d, b), std::fma(4.0F, c, a),
                                   std::fma(8.0F, d, b) + m[5]};
        const int x = job.first + at;
        for (int r = 0; r < kQuad; r++)
            job.out[r][x] = finish(rows[r], job.base ? job.base[r] + x : nullptr, job.slope, job.limit);
    }
}

constexpr Kernel kKernels[] = {{1, 1, row, quad}};

/// Vectors without instructions: for the kernels of winograd.h, whose layout needs eight lanes.
struct Vector {
    static constexpr int lanes = 8;
    template <class Value>
    static Vector make(Value value) {
        Vector out;
        for (int i = 0; i < lanes; i++)
            out.v[i] = value(i);
        return out;
    }
    static Vector load(const float *p) {
        return make([&](int i) { return p[i]; });
    }
    static void store(float *p, const Vector &a) { std::copy_n(a.v, lanes, p); }
    static Vector broadcast(float a) {
        return make([&](int /*i*/) { return a; });
    }
    static Vector multiply_add(const Vector &a, const Vector &b, const Vector &c) {
        return make([&](int i) { return std::fma(a.v[i], b.v[i], c.v[i]); });
    }
    static Vector add(const Vector &a, const Vector &b) {
        return make([&](int i) { return a.v[i] + b.v[i]; });
    }
    static Vector subtract(const Vector &a, const Vector &b) {
        return make([&](int i) { return a.v[i] - b.v[i]; });
    }
    static Vector multiply(const Vector &a, const Vector &b) {
        return make([&](int i) { return a.v[i] * b.v[i]; });
    }
    static Vector max(const Vector &a, const Vector &b) {
        return make([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
    }
    template <int k>
    static Vector of_fours(const Vector &a) {
        return make([&](int i) { return a.v[i / 4 * 4 + k]; });
    }
    static void pixels(const Vector (&sums)[kTile], const float *base, float *upper, float *lower) {
        for (int x = 0; x < kTile; x++)
            for (int column = 0; column < 2; column++) {
                const float *sum = sums[x].v + column;
                upper[2 * x + column] = sum[0] + sum[4] + base[x];
                lower[2 * x + column] = sum[2] + sum[6] + base[x];
            }
    }
    float v[lanes];
};

using Set = Halves<Vector>;
using Wide = Set::Wide;

} // namespace

const Level kReference = {"plain C++",
                          kKernels,
                          1,
                          transform,
                          {winograd<Set, Vector, 1>(), winograd<Set, Wide, 1>(),
                           winograd<Set, Pair<Wide, Vector>, 1>(), winograd<Set, Pair<Wide, Wide>, 1>()}};

} // namespace clv::cpu
