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

/// The fragments of B of one step, Columns output channels. In memory: of two neighbouring blocks of eight
/// channels 16 bytes a lane, of a last odd one 8.
template <int Columns>
struct Weights {
    static constexpr int blocks = Columns / 8;

    template <typename F>
    static CLV_DEVICE void for_each(const unsigned char *weights, int step, int lane, F use) {
        const unsigned char *const from = weights + step * blocks * 256;
#pragma unroll
        for (int n = 0; n + 1 < blocks; n += 2) {
            const uint4 b = *reinterpret_cast<const uint4 *>(from + n * 256 + lane * 16);
            const std::uint32_t left[2] = {b.x, b.y};
            const std::uint32_t right[2] = {b.z, b.w};
            use(n, left);
            use(n + 1, right);
        }
        if constexpr (blocks % 2 != 0) {
            const uint2 b = *reinterpret_cast<const uint2 *>(from + (blocks - 1) * 256 + lane * 8);
            const std::uint32_t last[2] = {b.x, b.y};
            use(blocks - 1, last);
        }
    }
};

/// `bytes`, a multiple of 16, from global to shared memory, by all threads of the block.
template <int Threads>
CLV_DEVICE void copy_in(unsigned char *to, const void *from, int bytes) {
    for (int i = static_cast<int>(threadIdx.x); i < bytes / 16; i += Threads)
        reinterpret_cast<uint4 *>(to)[i] = __ldg(static_cast<const uint4 *>(from) + i);
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

/// Row of the tile of a warp's first run, and its column.
template <class T>
CLV_DEVICE int first_row(const Lane &at) {
    return at.warp / T::warps_across * T::runs;
}
template <class T>
CLV_DEVICE int first_column(const Lane &at) {
    return at.warp % T::warps_across * 16;
}

/// sum += the convolution of x, a tile of Channels with its border, at this warp's runs.
template <class T, int Channels, int Columns>
CLV_DEVICE void convolve(float (&sum)[T::runs][Columns / 8][4], const unsigned char *x,
                         const unsigned char *weights, const Lane &at) {
    constexpr int plane = T::x_positions * 16;
    constexpr int line = T::x_width * 16;
    constexpr int depth = Channels / 16; // steps of a tap
    // Matrices 0 and 1 are the run's halves in the step's first eight channels, 2 and 3 in its others.
    const int position = first_row<T>(at) * T::x_width + first_column<T>(at) + at.lane % 16;
    const unsigned char *rows = x + position * 16 + at.lane / 16 * plane;
    const unsigned char *b = weights;
#pragma unroll 1
    for (int dy = 0; dy < 3; dy++) {
#pragma unroll
        for (int step = 0; step < 3 * depth; step++) {
            const int offset = step / depth * 16 + step % depth * 2 * plane;
            std::uint32_t a[T::runs][4];
#pragma unroll
            for (int i = 0; i < T::runs; i++)
                ldmatrix_x4(a[i], rows + offset + i * line);
            Weights<Columns>::for_each(b, step, at.lane, [&](int n, const std::uint32_t(&w)[2]) {
#pragma unroll
                for (int i = 0; i < T::runs; i++)
                    mma_m16n8k16(sum[i][n], a[i], w);
            });
        }
        rows += line;
        b += weight_bytes(3 * depth, Columns);
    }
}

} // namespace clv::cuda::sr
