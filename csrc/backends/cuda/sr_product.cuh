// SPDX-License-Identifier: BSD-2-Clause
//
// A 3x3 convolution of a tile in shared memory as a product of matrices that are never written down: M runs
// of sixteen positions, N output channels, K nine taps of all input channels. The rows of A for a tap are
// those of another tap moved by a constant, so ldmatrix takes them from the tile itself.
#pragma once

#include "backends/cuda/sr_layout.h"
#include "cuda/mma.cuh"

namespace clv::cuda::sr {

/// Where this thread is in its warp's fragments: D has row `group` and `group` + 8, columns 2 `pair`, + 1.
struct Lane {
    int warp, lane, group, pair;
};

CLV_DEVICE Lane this_lane() {
    const int lane = static_cast<int>(threadIdx.x % 32);
    return {static_cast<int>(threadIdx.x / 32), lane, lane / 4, lane % 4};
}

CLV_DEVICE float leaky(float x, float slope) {
    return fmaxf(x, slope * x);
}

CLV_DEVICE std::uint32_t pack(float a, float b) {
    const __half2 pair = __floats2half2_rn(a, b);
    return *reinterpret_cast<const std::uint32_t *>(&pair);
}

CLV_DEVICE float2 unpack(std::uint32_t pair) {
    return __half22float2(*reinterpret_cast<const __half2 *>(&pair));
}

/// Every row of the fragments starts as the bias.
template <int Rows, int Blocks>
CLV_DEVICE void start(float (&sum)[Rows][Blocks][4], const float *bias, const Lane &at) {
#pragma unroll
    for (int n = 0; n < Blocks; n++) {
        const float2 two = *reinterpret_cast<const float2 *>(bias + 8 * n + 2 * at.pair);
#pragma unroll
        for (int i = 0; i < Rows; i++) {
            sum[i][n][0] = two.x;
            sum[i][n][1] = two.y;
            sum[i][n][2] = two.x;
            sum[i][n][3] = two.y;
        }
    }
}

/// The fragments of B of a tap, depth 16: of two neighbouring blocks of eight columns 16 bytes a lane, of a
/// last odd one 8.
template <int Blocks>
CLV_DEVICE void load_weights(std::uint32_t (&b)[Blocks][2], const unsigned char *from, int lane) {
#pragma unroll
    for (int n = 0; n + 1 < Blocks; n += 2) {
        const uint4 two = *reinterpret_cast<const uint4 *>(from + n * 256 + lane * 16);
        b[n][0] = two.x;
        b[n][1] = two.y;
        b[n + 1][0] = two.z;
        b[n + 1][1] = two.w;
    }
    if constexpr (Blocks % 2 != 0) {
        const uint2 last = *reinterpret_cast<const uint2 *>(from + (Blocks - 1) * 256 + lane * 8);
        b[Blocks - 1][0] = last.x;
        b[Blocks - 1][1] = last.y;
    }
}

/// Depth 8: 4 bytes a lane and block.
template <int Blocks>
CLV_DEVICE void load_weights(std::uint32_t (&b)[Blocks][1], const unsigned char *from, int lane) {
#pragma unroll
    for (int n = 0; n < Blocks; n++)
        b[n][0] = *reinterpret_cast<const std::uint32_t *>(from + n * 128 + lane * 4);
}

/// A run in two planes, or in one.
CLV_DEVICE void load_run(std::uint32_t (&a)[4], const unsigned char *row) {
    ldmatrix_x4(a, row);
}
CLV_DEVICE void load_run(std::uint32_t (&a)[2], const unsigned char *row) {
    ldmatrix_x2(a, row);
}

CLV_DEVICE void multiply(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
    mma_m16n8k16(sum, a, b);
}
CLV_DEVICE void multiply(float (&sum)[4], const std::uint32_t (&a)[2], const std::uint32_t (&b)[1]) {
    mma_m16n8k8(sum, a, b[0]);
}

/// sum += `Depth` input channels' part: `x` is this lane's row of the matrices in the middle's upper left
/// neighbour. A row that was loaded serves the three rows of the output that it is a neighbour of.
/// keep(r, a) gets the run in the middle of the r-th.
template <int Depth, int Columns, typename Keep>
CLV_DEVICE void convolve_part(float (&sum)[kRunRows][Columns / 8][4], const unsigned char *x,
                              const unsigned char *weights, int lane, Keep keep) {
    constexpr int blocks = Columns / 8;
// Where registers are scarce, weights of the next taps are not to be loaded ahead.
#pragma unroll(Columns == 32 || Depth == 8 ? 1 : 3)
    for (int dx = 0; dx < 3; dx++) {
        std::uint32_t b[3][blocks][Depth / 8];
#pragma unroll
        for (int dy = 0; dy < 3; dy++)
            load_weights(b[dy], weights + (3 * dx + dy) * blocks * Depth * 16, lane);
#pragma unroll
        for (int i = 0; i < kRunRows + 2; i++) {
            std::uint32_t a[Depth / 4];
            load_run(a, x + (i * kWidth + dx) * 16);
            if (dx == 1 && i > 0 && i <= kRunRows)
                keep(i - 1, a);
#pragma unroll
            for (int dy = 0; dy < 3; dy++)
                if (i >= dy && i - dy < kRunRows)
#pragma unroll
                    for (int n = 0; n < blocks; n++)
                        multiply(sum[i - dy][n], a, b[dy][n]);
        }
    }
}

/// sum += the convolution of the tile at kRunRows runs: `x` is the first position of the first one. keep(r,
/// part, a): fragments of sixteen channels, or of the last eight, in the middle of run r.
template <int Channels, int Columns, typename Keep>
CLV_DEVICE void convolve(float (&sum)[kRunRows][Columns / 8][4], const unsigned char *x, int plane,
                         const unsigned char *weights, int lane, Keep keep) {
    constexpr int parts = Channels / 16;
    const unsigned char *const row = x + lane % 16 * 16;
    // Matrices 0 and 1 are the run's halves in the first plane of the two, 2 and 3 in the other.
#pragma unroll 1
    for (int k = 0; k < parts; k++)
        convolve_part<16, Columns>(sum, row + (2 * k + lane / 16) * plane,
                                   weights + k * weight_bytes(16, Columns), lane,
                                   [&](int r, const auto &a) { keep(r, k, a); });
    if constexpr (Channels % 16 != 0)
        convolve_part<8, Columns>(sum, row + 2 * parts * plane, weights + parts * weight_bytes(16, Columns),
                                  lane, [&](int r, const auto &a) { keep(r, parts, a); });
}

/// use(r, part, a) with the fragments of kRunRows runs from position `x` on.
template <int Channels, typename Use>
CLV_DEVICE void read_runs(const unsigned char *x, int plane, int lane, Use use) {
    constexpr int parts = Channels / 16;
    const unsigned char *const row = x + lane % 16 * 16;
#pragma unroll
    for (int r = 0; r < kRunRows; r++) {
#pragma unroll
        for (int k = 0; k < parts; k++) {
            std::uint32_t a[4];
            load_run(a, row + (2 * k + lane / 16) * plane + r * kWidth * 16);
            use(r, k, a);
        }
        if constexpr (Channels % 16 != 0) {
            std::uint32_t a[2];
            load_run(a, row + 2 * parts * plane + r * kWidth * 16);
            use(r, parts, a);
        }
    }
}

} // namespace clv::cuda::sr
