// SPDX-License-Identifier: BSD-2-Clause
//
// Pictures <-> NCHW tensors, for backends that take tensors: pixels.h on the device.
//
//     a thread: a run of N positions of one row               a warp: 32 runs beside each other
//
//     luma    +---------------+ row 2i        channel 0  [ . . . . ]
//             | 2N samples    |                       1  [ . . . . ]   up to 16 bytes each; a warp's lie
//             +---------------+ row 2i+1     ...      2  [ . . . . ]   one after the other
//             +-------+                               3  [ . . . . ]
//     chroma  | N, N  |                              u v [ . . . . ]
//             +-------+
//
// Memory traffic: the picture once and the tensor once. At 1080p in 8 bit and f32, s = 1, that is 3.1 + 12.4
// MB each way; at s = 2 to 4K 49.8 + 12.4 MB; half of the tensor's part in f16. Nothing is read twice and
// there is nothing to keep in shared memory. The way back takes a picture's row after the other, so that at
// most 2s runs of values are in registers.

#include "pixels/cuda/pixels.cuh"
#include "pixels/cuda/tensor.cuh"

namespace clv::pixels::device {
namespace {

template <int Scale>
struct PackRun {
    static constexpr int positions = pack_run(Scale);
};

/// What a thread goes through: columns from `column` on, rows from `row` on every `step`.
struct Walk {
    int column, row, step;
};
template <int N>
CLV_DEVICE Walk walk() {
    return {N * static_cast<int>(blockIdx.x * runs_per_block + threadIdx.x),
            static_cast<int>(blockIdx.y * rows_per_block + threadIdx.y),
            static_cast<int>(gridDim.y) * rows_per_block};
}

template <typename T, typename Sample, bool SemiPlanar>
CLV_DEVICE void space_to_depth(const UnpackPictureParams &p) {
    constexpr int N = unpack_run;
    const Walk at = walk<N>();
    if (at.column >= p.tensor.width)
        return;
    for (int i = at.row; i < p.tensor.height; i += at.step) {
        float x[N][6];
        read_positions<Sample, SemiPlanar, N>(p.picture, i, at.column, x);
#pragma unroll
        for (int c = 0; c < 6; c++) {
            float value[N];
#pragma unroll
            for (int n = 0; n < N; n++)
                value[n] = x[n][c];
            store_values(tensor_row<T>(p.tensor, c, i), at.column, p.tensor.width, value);
        }
    }
}

template <typename T, typename Sample, bool SemiPlanar, int Scale>
CLV_DEVICE void depth_to_space(const PackPictureParams &p) {
    constexpr int N = PackRun<Scale>::positions;
    constexpr int side = 2 * Scale;
    const Walk at = walk<N>();
    if (side * at.column >= p.picture.width)
        return;
    for (int i = at.row; i < p.tensor.height && side * i < p.picture.height; i += at.step) {
        float x[N][side];
        const auto load = [&](int channel, int c) {
            float value[N];
            load_values(tensor_row<T>(p.tensor, channel, i), at.column, p.tensor.width, value);
#pragma unroll
            for (int n = 0; n < N; n++)
                x[n][c] = value[n];
        };
#pragma unroll 1
        for (int r = 0; r < side; r++) {
#pragma unroll
            for (int c = 0; c < side; c++)
                load(side * r + c, c);
            write_luma_row<Sample, Scale, N>(p.picture, i, at.column, r, x);
        }
#pragma unroll 1
        for (int r = 0; r < Scale; r++) {
#pragma unroll
            for (int c = 0; c < side; c++)
                load(side * side + c / Scale * Scale * Scale + Scale * r + c % Scale, c);
            write_chroma_row<Sample, SemiPlanar, Scale, N>(p.picture, i, at.column, r, x);
        }
    }
}

template <typename T, typename Sample>
CLV_DEVICE void luma_to_tensor(const UnpackPictureParams &p) {
    constexpr int N = unpack_run;
    const SampleFormat &f = p.picture.format;
    const Walk at = walk<N>();
    if (at.column >= p.tensor.width)
        return;
    for (int i = at.row; i < p.tensor.height; i += at.step) {
        const std::uint8_t *const row = plane_row(p.picture, 0, clamp_index(i, p.picture.height));
        const std::uint8_t *const from = row + static_cast<std::int64_t>(at.column) * sizeof(Sample);
        using R = Run<Sample, N>;
        float value[N];
        if (at.column + N <= p.picture.width && is_aligned(from, R::access)) {
            R run;
            run.load(from);
#pragma unroll
            for (int n = 0; n < N; n++)
                value[n] = normalise(run[n] >> f.shift, f.luma);
        } else {
#pragma unroll
            for (int n = 0; n < N; n++)
                value[n] = normalise(
                    load_sample<Sample>(row, clamp_index(at.column + n, p.picture.width)) >> f.shift, f.luma);
        }
        store_values(tensor_row<T>(p.tensor, 0, i), at.column, p.tensor.width, value);
    }
}

template <typename T, typename Sample>
CLV_DEVICE void tensor_to_luma(const PackPictureParams &p) {
    constexpr int N = PackRun<1>::positions;
    const SampleFormat &f = p.picture.format;
    const Walk at = walk<N>();
    if (at.column >= p.picture.width)
        return;
    for (int i = at.row; i < p.picture.height; i += at.step) {
        float value[N];
        load_values(tensor_row<T>(p.tensor, 0, i), at.column, p.tensor.width, value);
        Run<Sample, N> run = {};
#pragma unroll
        for (int n = 0; n < N; n++)
            run.set(n, quantise(value[n], f.luma, f, threshold_bits(at.column + n, i)));
        store_run<Sample>(plane_row(p.picture, 0, i), at.column, p.picture.width, run);
    }
}

} // namespace
} // namespace clv::pixels::device

using namespace clv::pixels::device;

// Names end in the tensor's element and kind_of() the picture: 0 yuv420p, 1 nv12, 2 yuv420p10, 3 p010.
#define FOR_KIND(T, element, kind, Sample, semi_planar)                                                      \
    CLV_KERNEL(clv_space_to_depth_##element##_##kind, UnpackPictureParams, block_threads, 2) {               \
        space_to_depth<T, Sample, semi_planar>(p);                                                           \
    }                                                                                                        \
    CLV_KERNEL(clv_depth_to_space_1_##element##_##kind, PackPictureParams, block_threads, 2) {               \
        depth_to_space<T, Sample, semi_planar, 1>(p);                                                        \
    }                                                                                                        \
    CLV_KERNEL(clv_depth_to_space_2_##element##_##kind, PackPictureParams, block_threads, 2) {               \
        depth_to_space<T, Sample, semi_planar, 2>(p);                                                        \
    }                                                                                                        \
    CLV_KERNEL(clv_depth_to_space_3_##element##_##kind, PackPictureParams, block_threads, 2) {               \
        depth_to_space<T, Sample, semi_planar, 3>(p);                                                        \
    }                                                                                                        \
    CLV_KERNEL(clv_depth_to_space_4_##element##_##kind, PackPictureParams, block_threads, 2) {               \
        depth_to_space<T, Sample, semi_planar, 4>(p);                                                        \
    }

#define FOR_ELEMENT(T, element)                                                                              \
    FOR_KIND(T, element, 0, std::uint8_t, false)                                                             \
    FOR_KIND(T, element, 1, std::uint8_t, true)                                                              \
    FOR_KIND(T, element, 2, std::uint16_t, false)                                                            \
    FOR_KIND(T, element, 3, std::uint16_t, true)                                                             \
    CLV_KERNEL(clv_luma_to_tensor_##element##_1, UnpackPictureParams, block_threads, 2) {                    \
        luma_to_tensor<T, std::uint8_t>(p);                                                                  \
    }                                                                                                        \
    CLV_KERNEL(clv_luma_to_tensor_##element##_2, UnpackPictureParams, block_threads, 2) {                    \
        luma_to_tensor<T, std::uint16_t>(p);                                                                 \
    }                                                                                                        \
    CLV_KERNEL(clv_tensor_to_luma_##element##_1, PackPictureParams, block_threads, 2) {                      \
        tensor_to_luma<T, std::uint8_t>(p);                                                                  \
    }                                                                                                        \
    CLV_KERNEL(clv_tensor_to_luma_##element##_2, PackPictureParams, block_threads, 2) {                      \
        tensor_to_luma<T, std::uint16_t>(p);                                                                 \
    }

FOR_ELEMENT(float, f32)
FOR_ELEMENT(__half, f16)
