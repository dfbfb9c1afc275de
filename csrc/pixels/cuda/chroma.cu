// SPDX-License-Identifier: BSD-2-Clause
//
// Chroma planes at 2 to 4 times the size, for nets that take luma alone: pixels::ChromaScaler on the device,
// to the last bit. zimg resamples codes of 8 bits as 16 bits (code * 256), others as they are, in integers:
// weights of 14 bits (resample.h), first across, then down, rounded to a code in between; at the end 16 bits
// go back to 8, half to even.
//
//     codes of U and V, up to     after the step across            the output's codes
//     40 x 24                     64 x 24                          64 x 32, a thread: 4 of a row
//     +----------+                +----------------------+         +----------------------+
//     | shared   |  6 taps        | shared               | 6 taps  |                      |
//     |          | -------------> |                      | ------> |                      |
//     +----------+  across        +----------------------+  down   |                      |
//                                                                  +----------------------+
//
// Which samples an output takes depends on the position only through tables of the axis, which also hold
// what happens at the edges: 16 bytes a column and row, read by many blocks, so from the caches.
// Memory traffic: the planes of the input once (tiles overlap by 8 samples: 1.5 times at scale 2, the rest
// from the L2) and those of the output once: to 4K in 8 bit 1.0 + 4.1 MB. Shared memory: 9.8 KiB.

#include "pixels/cuda/colour_params.h"
#include "pixels/cuda/pixels.cuh"

namespace clv::pixels::device {
namespace {

constexpr int run = 4;

/// A sum of weighted codes as zimg takes it, with -2^15 added to each code: back to a code.
CLV_DEVICE int rounded(int sum, int max_value) {
    return min(max(((sum + (1 << 13)) >> 14) + 32768, 0), max_value);
}

template <typename Sample>
CLV_DEVICE std::uint32_t final_sample(int value, const SampleFormat &format) {
    if constexpr (sizeof(Sample) == 1)
        return static_cast<std::uint32_t>(min((value + 127 + (value >> 8 & 1)) >> 8, 255));
    else
        return static_cast<std::uint32_t>(value) << format.shift;
}

template <typename Sample>
CLV_DEVICE void scale_chroma(const ScaleChromaParams &p) {
    constexpr int taps = lanczos_taps;
    constexpr int columns = chroma_columns_in;
    constexpr int rows = chroma_rows_in;
    auto *const codes = reinterpret_cast<std::uint16_t *>(clv::cuda::dynamic_shared());
    std::uint16_t *const across = codes + 2 * rows * columns;
    const SampleFormat &f = p.from.format;
    const int thread = static_cast<int>(threadIdx.x);
    const int x0 = static_cast<int>(blockIdx.x) * chroma_columns;
    const int y0 = static_cast<int>(blockIdx.y) * chroma_rows;
    const int left = p.across.first[x0];
    const int top = p.down.first[y0];

    for (int k = thread; k < rows * columns; k += chroma_threads) {
        const int x = clamp_index(left + k % columns, p.from.chroma_width);
        const int y = clamp_index(top + k / columns, p.from.chroma_height);
        const int step = f.semi_planar ? 2 : 1;
        const std::uint8_t *const u = plane_row(p.from, 1, y);
        const std::uint8_t *const v = f.semi_planar ? u : plane_row(p.from, 2, y);
        constexpr int widen = sizeof(Sample) == 1 ? 8 : 0;
        codes[k] = static_cast<std::uint16_t>(code_in<Sample>(load_sample<Sample>(u, step * x), f) << widen);
        codes[rows * columns + k] = static_cast<std::uint16_t>(
            code_in<Sample>(load_sample<Sample>(v, step * x + step - 1), f) << widen);
    }
    __syncthreads();

    const int column = thread % chroma_columns; // the same in all rounds
    {
        const int x = clamp_index(x0 + column, p.to.chroma_width);
        int weight[taps];
#pragma unroll
        for (int t = 0; t < taps; t++)
            weight[t] = p.across.weight[taps * x + t];
        const std::uint16_t *const first = codes + (p.across.first[x] - left);
        for (int row = thread / chroma_columns; row < 2 * rows; row += chroma_threads / chroma_columns) {
            int sum = 0;
#pragma unroll
            for (int t = 0; t < taps; t++)
                sum += weight[t] * (static_cast<int>(first[row * columns + t]) - 32768);
            across[row * chroma_columns + column] = static_cast<std::uint16_t>(rounded(sum, p.max_value));
        }
    }
    __syncthreads();

    const int at = thread % (chroma_columns / run) * run;
    const int x = x0 + at;
    if (x >= p.to.chroma_width)
        return;
#pragma unroll 1
    for (int row = thread / (chroma_columns / run); row < chroma_rows;
         row += chroma_threads / (chroma_columns / run)) {
        const int y = y0 + row;
        if (y >= p.to.chroma_height)
            return;
        int sum[2][run] = {};
        const std::uint16_t *const first = across + (p.down.first[y] - top) * chroma_columns + at;
#pragma unroll
        for (int t = 0; t < taps; t++) {
            const int weight = p.down.weight[taps * y + t];
#pragma unroll
            for (int plane = 0; plane < 2; plane++) {
                const uint2 four =
                    *reinterpret_cast<const uint2 *>(first + (plane * rows + t) * chroma_columns);
                const std::uint32_t word[2] = {four.x, four.y};
#pragma unroll
                for (int n = 0; n < run; n++)
                    sum[plane][n] +=
                        weight * (static_cast<int>(word[n / 2] >> (16 * (n % 2)) & 0xffffu) - 32768);
            }
        }
        if (p.to.format.semi_planar) {
            Run<Sample, 2 *run> samples = {};
#pragma unroll
            for (int k = 0; k < 2 * run; k++)
                samples.set(k, final_sample<Sample>(rounded(sum[k % 2][k / 2], p.max_value), p.to.format));
            store_run<Sample>(plane_row(p.to, 1, y), 2 * x, 2 * p.to.chroma_width, samples);
        } else {
#pragma unroll
            for (int plane = 0; plane < 2; plane++) {
                Run<Sample, run> samples = {};
#pragma unroll
                for (int n = 0; n < run; n++)
                    samples.set(n, final_sample<Sample>(rounded(sum[plane][n], p.max_value), p.to.format));
                store_run<Sample>(plane_row(p.to, 1 + plane, y), x, p.to.chroma_width, samples);
            }
        }
    }
}

} // namespace
} // namespace clv::pixels::device

using namespace clv::pixels::device;

CLV_KERNEL(clv_scale_chroma_1, ScaleChromaParams, chroma_threads, 4) {
    scale_chroma<std::uint8_t>(p);
}
CLV_KERNEL(clv_scale_chroma_2, ScaleChromaParams, chroma_threads, 4) {
    scale_chroma<std::uint16_t>(p);
}
