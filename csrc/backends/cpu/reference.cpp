// SPDX-License-Identifier: BSD-2-Clause
// The kernels in plain C++: what the others are checked against, and what runs where they cannot.
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
        const float v[kQuadTaps] = {std::fma(4.0F, d[0], std::fma(-5.0F, d[2], d[4])),
                                    even + odd,
                                    even - odd,
                                    std::fma(2.0F, near, far),
                                    std::fma(-2.0F, near, far),
                                    std::fma(4.0F, d[1], std::fma(-5.0F, d[3], d[5]))};
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

/// A vector of one: the kernels of winograd.h without instructions of their own.
struct Scalar {
    static constexpr int lanes = 1;
    static Scalar load(const float *p) { return {*p}; }
    static void store(float *p, Scalar a) { *p = a.v; }
    static Scalar broadcast(float a) { return {a}; }
    static Scalar multiply_add(Scalar a, Scalar b, Scalar c) { return {std::fma(a.v, b.v, c.v)}; }
    static Scalar add(Scalar a, Scalar b) { return {a.v + b.v}; }
    static Scalar subtract(Scalar a, Scalar b) { return {a.v - b.v}; }
    static Scalar multiply(Scalar a, Scalar b) { return {a.v * b.v}; }
    static Scalar max(Scalar a, Scalar b) { return {a.v > b.v ? a.v : b.v}; }
    static void interleave(Scalar (&)[4]) {}
    float v;
};

} // namespace

const Level kReference = {"plain C++", kKernels, 1, transform, winograd<Scalar, 8, 3>()};

} // namespace clv::cpu
