// SPDX-License-Identifier: BSD-2-Clause
//
// Pictures <-> R'G'B' NCHW tensors, for nets of the layout rgb: pixels::RgbConverter on the device. Range and
// matrix are H.273's (BT.601, BT.709, BT.2020), chroma is resampled with Catmull-Rom's cubic, level with
// luma's even columns or rows or half-way between, as zimg does it (its arithmetic too: f32, one fused
// multiply-add a tap, rounding half to even, Bayer's 16x16 for the ordered dither).
//
// picture -> tensor. A block makes 64x32 positions of all three planes:
//
//     chroma codes                 values, f32, U and V         after the step across
//     +--------------------+       +-------------+              +-------------+
//     | 32x16 and 2 on all | range | 36 x 20     | 4 taps       | 64 x 20     | 4 taps down,
//     | sides: 36 x 20     | ----> | shared      | -----------> | shared      | luma, matrix
//     +--------------------+       +-------------+ across       +-------------+ ------------+
//                                                                                           v
//                                                                            64 x 32  R' G' B'
//                                                                            a thread: 4 x 2
//
// tensor -> picture. A block makes 64x32 luma samples and the 32x16 of chroma that go with them:
//
//     R' G' B'  64+8 x 32+6       Y' -> range, codes: written at once
//     +------------------+        +-----------------+        +---------+        +---------+
//     | 64x32, 4 columns | matrix | U and V, 72x38  | 8 taps | 72 x 16 | 8 taps | 32 x 16 |  a thread: 2
//     | and 3 rows on    | -----> | shared          | -----> | shared  | -----> | codes   |  samples of
//     | each side        |        |                 |  down  |         | across |         |  both planes
//     +------------------+        +-----------------+        +---------+        +---------+
//
// Memory traffic. Unpacking reads a picture once (chroma 1.4 times, the rest from the L2) and writes the
// tensor once: at 1080p in 8 bit 3.1 + 24.9 MB in f32, 12.4 in f16. Packing reads the tensor once, 1.34 times
// with the tiles' margins, which the L2 has: to 4K 99.5 MB in f32, 49.8 in f16, and writes 12.4 MB.
// Shared memory: 15.6 and 30.4 KiB a block. Accesses of 16 bytes a thread to tensors in f32, 8 in f16.
//
// Where a picture has an odd size its last column or row counts twice, as on the host. Positions of the
// tensor beyond the picture repeat its last column's or row's R'G'B'.

#include "pixels/cuda/colour_params.h"
#include "pixels/cuda/tensor.cuh"

namespace clv::pixels::device {
namespace {

constexpr int run = 4;

/// Samples beyond a plane's ends are those mirrored there (zimg's rule; a half-sample symmetry).
CLV_DEVICE int mirror(int i, int count) {
    return clamp_index(i < 0 ? -1 - i : i >= count ? 2 * count - 1 - i : i, count);
}

CLV_DEVICE float linear(float x, const Linear &by) {
    return fma_rn(x, by.scale, by.offset);
}

/// One row of a matrix.
CLV_DEVICE float weigh(const float (&row)[3], float a, float b, float c) {
    return fma_rn(row[2], c, fma_rn(row[1], b, mul_rn(row[0], a)));
}

/// N values in a row of shared memory, N a multiple of 4, from an address that is a multiple of 16 on.
template <int N>
CLV_DEVICE void load_shared(const float *from, float (&to)[N]) {
#pragma unroll
    for (int k = 0; k < N / 4; k++) {
        const float4 v = reinterpret_cast<const float4 *>(from)[k];
        to[4 * k] = v.x;
        to[4 * k + 1] = v.y;
        to[4 * k + 2] = v.z;
        to[4 * k + 3] = v.w;
    }
}

// ---- picture -> tensor

/// Codes of a row of luma from column x on, x not negative; the last sample repeats.
template <typename Sample>
CLV_DEVICE void load_luma(const SourcePicture &p, int x, int y, float (&code)[run]) {
    const std::uint8_t *const row = plane_row(p, 0, y);
    const std::uint8_t *const from = row + static_cast<std::int64_t>(x) * static_cast<int>(sizeof(Sample));
    using R = Run<Sample, run>;
    if (x + run <= p.width && is_aligned(from, R::access)) {
        R samples;
        samples.load(from);
#pragma unroll
        for (int n = 0; n < run; n++)
            code[n] = static_cast<float>(code_in<Sample>(samples[n], p.format));
    } else {
#pragma unroll
        for (int n = 0; n < run; n++)
            code[n] = static_cast<float>(
                code_in<Sample>(load_sample<Sample>(row, clamp_index(x + n, p.width)), p.format));
    }
}

template <typename T, typename Sample>
CLV_DEVICE void picture_to_rgb(const UnpackRgbParams &p) {
    constexpr int columns = unpack_chroma_columns;
    constexpr int rows = unpack_chroma_rows;
    float *const chroma = reinterpret_cast<float *>(clv::cuda::dynamic_shared());
    float *const across = chroma + 2 * rows * columns;
    const SourcePicture &from = p.picture;
    const int x0 = static_cast<int>(blockIdx.x) * rgb_columns;
    const int y0 = static_cast<int>(blockIdx.y) * rgb_rows;
    // Of the first position that is not padding, or else of the last one of the picture.
    const int left = clamp_index(x0, from.width) / 2 - 2;
    const int top = clamp_index(y0, from.height) / 2 - 2;
    const int thread = static_cast<int>(threadIdx.x);

    for (int k = thread; k < rows * columns; k += rgb_threads) {
        const int x = mirror(left + k % columns, from.chroma_width);
        const int y = mirror(top + k / columns, from.chroma_height);
        const std::uint8_t *const u = plane_row(from, 1, y);
        const std::uint8_t *const v = from.format.semi_planar ? u : plane_row(from, 2, y);
        const int step = from.format.semi_planar ? 2 : 1;
        const std::uint32_t cu = load_sample<Sample>(u, step * x);
        const std::uint32_t cv = load_sample<Sample>(v, step * x + step - 1);
        chroma[k] = linear(static_cast<float>(code_in<Sample>(cu, from.format)), p.chroma);
        chroma[rows * columns + k] = linear(static_cast<float>(code_in<Sample>(cv, from.format)), p.chroma);
    }
    __syncthreads();

    const int column = thread % rgb_columns; // the same in all rounds
    {
        const int x = clamp_index(x0 + column, from.width);
        const float *const first = chroma + (x / 2 - 2 + x % 2 - left);
        float weight[4];
#pragma unroll
        for (int t = 0; t < 4; t++)
            weight[t] = x % 2 ? p.across.weight[1][t] : p.across.weight[0][t];
        for (int row = thread / rgb_columns; row < 2 * rows; row += rgb_threads / rgb_columns) {
            const float *const c = first + row * columns;
            float sum = mul_rn(weight[0], c[0]);
#pragma unroll
            for (int t = 1; t < 4; t++)
                sum = fma_rn(weight[t], c[t], sum);
            across[row * rgb_columns + column] = sum;
        }
    }
    __syncthreads();

    const int at = thread % (rgb_columns / run) * run;
    const int x = x0 + at;
    if (x >= p.tensor.width)
        return;
#pragma unroll 1
    for (int r = 0; r < 2; r++) {
        const int row = y0 + thread / (rgb_columns / run) * 2 + r;
        if (row >= p.tensor.height)
            return;
        const int y = clamp_index(row, from.height);
        float code[run];
        load_luma<Sample>(from, clamp_index(x, from.width), y, code);
        float value[2][run] = {};
        const float *const first = across + (y / 2 - 2 + y % 2 - top) * rgb_columns + at;
#pragma unroll
        for (int plane = 0; plane < 2; plane++)
#pragma unroll
            for (int t = 0; t < 4; t++) {
                const float weight = y % 2 ? p.down.weight[1][t] : p.down.weight[0][t];
                float c[run];
                load_shared(first + (plane * rows + t) * rgb_columns, c);
#pragma unroll
                for (int n = 0; n < run; n++)
                    value[plane][n] = fma_rn(weight, c[n], value[plane][n]);
            }
#pragma unroll
        for (int channel = 0; channel < 3; channel++) {
            float out[run];
#pragma unroll
            for (int n = 0; n < run; n++)
                out[n] = weigh(p.matrix[channel], linear(code[n], p.luma), value[0][n], value[1][n]);
            store_values(tensor_row<T>(p.tensor, channel, row), x, p.tensor.width, out);
        }
    }
}

// ---- tensor -> picture

/// What zimg's arithmetic is defined for, as the host has it: NaN counts as 0.
CLV_DEVICE float limited(float x) {
    return x == x ? fminf(fmaxf(x, -1.0F), 2.0F) : 0.0F;
}

/// A sample's place in Bayer's order of 16x16; an exclusive or of bits of x and y, therefore
/// bayer(x ^ dx, y ^ dy) = bayer(x, y) ^ bayer(dx, dy).
CLV_DEVICE constexpr std::uint32_t bayer(std::uint32_t x, std::uint32_t y) {
    const std::uint32_t a = x ^ y;
    return (a & 1u) << 7 | (x & 1u) << 6 | (a & 2u) << 4 | (x & 2u) << 3 | (a & 4u) << 1 | (x & 4u) |
           (a & 8u) >> 2 | (x & 8u) >> 3;
}

/// What is added before rounding: between -1/2 and 1/2.
CLV_DEVICE float threshold(std::uint32_t rank) {
    return fma_rn(static_cast<float>(rank + 1u), 1.0F / 257.0F, -0.5F);
}

/// The sample for a value: nearest code, half to even.
CLV_DEVICE std::uint32_t nearest(float value, const Linear &by, const SampleFormat &format, float dither) {
    const float code = fminf(fmaxf(add_rn(linear(value, by), dither), 0.0F), format.max_code);
    const float shifted = add_rn(code, 8388608.0F); // its last bits are the rounded code
    std::uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (bits & 0xffffu) << format.shift;
}

/// R'G'B' at four positions from (x, y) on, any of them beyond the picture's edges.
template <typename T>
CLV_DEVICE void load_rgb(const PackRgbParams &p, int x, int y, float (&rgb)[3][run]) {
    const int width = p.picture.width;
    const int height = p.picture.height;
    const int row = clamp_index(mirror(y, height + height % 2), height);
    const bool inside = x >= 0 && x + run <= width;
#pragma unroll
    for (int channel = 0; channel < 3; channel++) {
        const T *const from = tensor_row<T>(p.tensor, channel, row);
        if (inside) {
            load_values(from, x, width, rgb[channel]);
        } else {
#pragma unroll
            for (int n = 0; n < run; n++) {
                const int column = clamp_index(mirror(x + n, width + width % 2), width);
                rgb[channel][n] = Bits<T>::value(load_sample<typename Bits<T>::Type>(
                    reinterpret_cast<const std::uint8_t *>(from), column));
            }
        }
#pragma unroll
        for (int n = 0; n < run; n++)
            rgb[channel][n] = limited(rgb[channel][n]);
    }
}

template <typename Sample>
CLV_DEVICE void store_luma(const PackRgbParams &p, int x, int y, const float (&rgb)[3][run]) {
    const SampleFormat &f = p.picture.format;
    const std::uint32_t first = bayer(static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y));
    Run<Sample, run> samples = {};
#pragma unroll
    for (int n = 0; n < run; n++) {
        const float d = p.dither ? threshold(first ^ bayer(static_cast<std::uint32_t>(n), 0)) : 0.0F;
        samples.set(n, nearest(weigh(p.matrix[0], rgb[0][n], rgb[1][n], rgb[2][n]), p.luma, f, d));
    }
    store_run<Sample>(plane_row(p.picture, 0, y), x, p.picture.width, samples);
}

/// Two neighbours of both chroma planes from (x, y) on, x even. zimg flips Bayer's order from left to right
/// for U and from top to bottom for V.
template <typename Sample>
CLV_DEVICE void store_chroma(const PackRgbParams &p, int x, int y, const float (&value)[2][2]) {
    const SampleFormat &f = p.picture.format;
    const std::uint32_t first = bayer(static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y));
    std::uint32_t sample[2][2];
#pragma unroll
    for (int plane = 0; plane < 2; plane++)
#pragma unroll
        for (int n = 0; n < 2; n++) {
            const std::uint32_t rank =
                first ^ bayer(static_cast<std::uint32_t>(n), 0) ^ (plane ? bayer(0, 15) : bayer(15, 0));
            sample[plane][n] = nearest(value[plane][n], p.chroma, f, p.dither ? threshold(rank) : 0.0F);
        }
    if (f.semi_planar) {
        Run<Sample, 4> samples = {};
#pragma unroll
        for (int k = 0; k < 4; k++)
            samples.set(k, sample[k % 2][k / 2]);
        store_run<Sample>(plane_row(p.picture, 1, y), 2 * x, 2 * p.picture.chroma_width, samples);
        return;
    }
#pragma unroll
    for (int plane = 0; plane < 2; plane++) {
        Run<Sample, 2> samples = {};
        samples.set(0, sample[plane][0]);
        samples.set(1, sample[plane][1]);
        store_run<Sample>(plane_row(p.picture, 1 + plane, y), x, p.picture.chroma_width, samples);
    }
}

template <typename T, typename Sample>
CLV_DEVICE void rgb_to_picture(const PackRgbParams &p) {
    constexpr int columns = pack_chroma_columns;
    constexpr int rows = pack_chroma_rows;
    constexpr int rows_out = rgb_rows / 2;
    float *const chroma = reinterpret_cast<float *>(clv::cuda::dynamic_shared());
    float *const down = chroma + 2 * rows * columns;
    const int x0 = static_cast<int>(blockIdx.x) * rgb_columns;
    const int y0 = static_cast<int>(blockIdx.y) * rgb_rows;
    const int thread = static_cast<int>(threadIdx.x);

#pragma unroll 1
    for (int k = thread; k < rows * columns / run; k += rgb_threads) {
        const int column = k % (columns / run) * run;
        const int row = k / (columns / run);
        const int x = x0 - 4 + column;
        const int y = y0 - 3 + row;
        float rgb[3][run];
        load_rgb<T>(p, x, y, rgb);
        if (x >= x0 && x < x0 + rgb_columns && x < p.picture.width && y >= y0 && y < y0 + rgb_rows &&
            y < p.picture.height)
            store_luma<Sample>(p, x, y, rgb);
#pragma unroll
        for (int plane = 0; plane < 2; plane++) {
            float value[run];
#pragma unroll
            for (int n = 0; n < run; n++)
                value[n] = weigh(p.matrix[1 + plane], rgb[0][n], rgb[1][n], rgb[2][n]);
            *reinterpret_cast<float4 *>(chroma + (plane * rows + row) * columns + column) =
                make_float4(value[0], value[1], value[2], value[3]);
        }
    }
    __syncthreads();

    // Four rows below each other share most of what they read.
    constexpr int group = 4;
#pragma unroll 1
    for (int k = thread; k < 2 * columns * rows_out / group; k += rgb_threads) {
        const int column = k % columns;
        const int first = k / columns % (rows_out / group) * group;
        const int plane = k / (columns * rows_out / group);
        const float *const c = chroma + (plane * rows + 2 * first) * columns + column;
        float sum[group] = {};
#pragma unroll
        for (int row = 0; row < 2 * group + 6; row++) {
            const float value = c[row * columns];
#pragma unroll
            for (int i = 0; i < group; i++)
                if (row >= 2 * i && row < 2 * i + 8)
                    sum[i] = fma_rn(p.down.weight[row - 2 * i], value, sum[i]);
        }
#pragma unroll
        for (int i = 0; i < group; i++)
            down[(plane * rows_out + first + i) * columns + column] = sum[i];
    }
    __syncthreads();

    const int pair = thread % (rgb_columns / 4);
    const int row = thread / (rgb_columns / 4);
    const int x = x0 / 2 + 2 * pair;
    const int y = y0 / 2 + row;
    if (x >= p.picture.chroma_width || y >= p.picture.chroma_height)
        return;
    float value[2][2] = {};
#pragma unroll
    for (int plane = 0; plane < 2; plane++) {
        float c[12]; // the first is luma column 2x - 4
        load_shared(down + (plane * rows_out + row) * columns + 4 * pair, c);
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int t = 0; t < 8; t++)
                value[plane][n] = fma_rn(p.across.weight[t], c[1 + 2 * n + t], value[plane][n]);
    }
    store_chroma<Sample>(p, x, y, value);
}

} // namespace
} // namespace clv::pixels::device

using namespace clv::pixels::device;

// Names end in the tensor's element and the bytes of a sample.
#define FOR_SAMPLE(T, element, Sample, bytes)                                                                \
    CLV_KERNEL(clv_picture_to_rgb_##element##_##bytes, UnpackRgbParams, rgb_threads, 4) {                    \
        picture_to_rgb<T, Sample>(p);                                                                        \
    }                                                                                                        \
    CLV_KERNEL(clv_rgb_to_picture_##element##_##bytes, PackRgbParams, rgb_threads, 4) {                      \
        rgb_to_picture<T, Sample>(p);                                                                        \
    }

FOR_SAMPLE(float, f32, std::uint8_t, 1)
FOR_SAMPLE(float, f32, std::uint16_t, 2)
FOR_SAMPLE(__half, f16, std::uint8_t, 1)
FOR_SAMPLE(__half, f16, std::uint16_t, 2)
