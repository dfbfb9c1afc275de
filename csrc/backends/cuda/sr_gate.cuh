// SPDX-License-Identifier: BSD-2-Clause
//
// The gate of a block: one weight a channel from the mean of |y - its 3x3 mean| over windows of the picture.
// Each block of threads sums its own tiles, always the same ones in the same order; the last block that is
// done adds the sums of all, in the order of their numbers, and computes the two small layers. No other
// kernel, no round trip to the host, the same bits every time.
#pragma once

#include "backends/cuda/sr_product.cuh"

namespace clv::cuda::sr {

CLV_DEVICE void add_halves(float (&sum)[8], const uint4 &v) {
    const std::uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 two = __half22float2(*reinterpret_cast<const __half2 *>(&words[i]));
        sum[2 * i] += two.x;
        sum[2 * i + 1] += two.y;
    }
}

/// sums[c] += |high-pass| of the windows of the tile that lie in the tensor. `y` is the tile with its border,
/// of which nothing is read.
template <class T, int Channels>
CLV_DEVICE void add_statistics(float *sums, const unsigned char *y, const Grid &grid, const Corner &corner,
                               const Lane &at) {
    constexpr int across = T::width / kGateStride;
    constexpr int windows = across * (T::height / kGateStride);
#pragma unroll 1
    for (int block = at.warp; block < Channels / 8; block += T::warps) {
        float sum[8] = {};
        for (int w = at.lane; w < windows; w += 32) {
            const int row = w / across * kGateStride;
            const int column = w % across * kGateStride;
            if (corner.y + row + 2 >= grid.height || corner.x + column + 2 >= grid.width)
                continue;
            const uint4 *const from = reinterpret_cast<const uint4 *>(y) + block * T::x_positions +
                                      (row + 1) * T::x_width + column + 1;
            float total[8] = {};
            float centre[8] = {};
#pragma unroll
            for (int tap = 0; tap < kTaps; tap++)
                add_halves(total, from[tap / 3 * T::x_width + tap % 3]);
            add_halves(centre, from[T::x_width + 1]);
#pragma unroll
            for (int c = 0; c < 8; c++)
                sum[c] += fabsf(centre[c] - total[c] * (1.0F / kTaps));
        }
        // Lanes halve the channels among them, then add up: 4 + 2 + 1 + 1 + 1 exchanges for eight sums.
#pragma unroll
        for (int half = 4; half > 0; half /= 2) {
            const bool upper = (at.lane & (4 * half)) != 0;
#pragma unroll
            for (int c = 0; c < half; c++) {
                const float kept = upper ? sum[c + half] : sum[c];
                const float given = upper ? sum[c] : sum[c + half];
                sum[c] = kept + __shfl_xor_sync(0xffffffffU, given, 4 * half);
            }
        }
        sum[0] += __shfl_xor_sync(0xffffffffU, sum[0], 2);
        sum[0] += __shfl_xor_sync(0xffffffffU, sum[0], 1);
        if (at.pair == 0)
            sums[8 * block + at.group] += sum[0];
    }
}

/// Hands this block's sums in; in the last block, `gate.out` = 2 sigmoid(up(LeakyReLU(down(mean)))). All
/// threads of the block; `scratch` is free shared memory, `last` a word of it.
template <class T, int Channels>
CLV_DEVICE void close_gate(const Gate &gate, const float *sums, unsigned char *scratch, int *last,
                           float slope) {
    static_assert(T::threads >= Channels);
    constexpr int parts = T::threads / Channels;
    const int thread = static_cast<int>(threadIdx.x);
    __syncthreads();
    if (thread < Channels)
        gate.partial[blockIdx.x * Channels + thread] = sums[thread];
    __threadfence();
    __syncthreads();
    if (thread == 0) {
        *last = atomicAdd(gate.finished, 1U) == gridDim.x - 1;
        if (*last)
            *gate.finished = 0; // for the next picture
    }
    __syncthreads();
    if (!*last)
        return;
    __threadfence();

    float *const part = reinterpret_cast<float *>(scratch); // [parts][Channels]
    float *const mean = part + parts * Channels;            // [Channels]
    float *const hidden = mean + Channels;                  // [gate.hidden]
    const int channel = thread % Channels;
    if (thread < parts * Channels) {
        float sum = 0;
#pragma unroll 8
        for (int block = thread / Channels; block < static_cast<int>(gridDim.x); block += parts)
            sum += __ldcg(gate.partial + block * Channels + channel); // others wrote it: not from L1
        part[thread] = sum;
    }
    __syncthreads();
    if (thread < Channels) {
        float sum = 0;
        for (int k = 0; k < parts; k++)
            sum += part[k * Channels + thread];
        mean[thread] = sum * gate.share;
    }
    __syncthreads();
    if (thread < gate.hidden) {
        float sum = gate.down_bias[thread];
#pragma unroll 8
        for (int c = 0; c < Channels; c++)
            sum += gate.down_weight[c * gate.hidden + thread] * mean[c];
        hidden[thread] = leaky(sum, slope);
    }
    __syncthreads();
    if (thread < Channels) {
        float sum = gate.up_bias[thread];
#pragma unroll 8
        for (int j = 0; j < gate.hidden; j++)
            sum += gate.up_weight[j * Channels + thread] * hidden[j];
        static_cast<__half *>(gate.out)[thread] = __float2half_rn(2.0F / (1.0F + expf(-sum)));
    }
}

} // namespace clv::cuda::sr
