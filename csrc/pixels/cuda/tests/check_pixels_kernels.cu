// SPDX-License-Identifier: BSD-2-Clause
// pixels.cuh as fused kernels use it, for check_cuda_pixels.

#include "pixels/cuda/pixels.cuh"
#include "pixels/cuda/tests/check_params.h"

namespace clv::pixels::test {
namespace {

using namespace clv::pixels::device;

template <typename Sample, bool SemiPlanar, int N>
CLV_DEVICE void read(const ReadParams &p) {
    const int runs = p.columns / N;
    const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (thread >= runs * p.rows)
        return;
    const int row = thread / runs;
    const int column = thread % runs * N;
    float x[N][6];
    read_positions<Sample, SemiPlanar, N>(p.picture, p.top + row, p.left + column, x);
    for (int n = 0; n < N; n++)
        for (int c = 0; c < 6; c++)
            p.to[(static_cast<std::int64_t>(row) * p.columns + column + n) * 6 + c] = x[n][c];
}

template <typename Sample, bool SemiPlanar>
CLV_DEVICE void read_any(const ReadParams &p) {
    if (p.run == 1)
        read<Sample, SemiPlanar, 1>(p);
    else if (p.run == 2)
        read<Sample, SemiPlanar, 2>(p);
    else if (p.run == 4)
        read<Sample, SemiPlanar, 4>(p);
    else
        read<Sample, SemiPlanar, 8>(p);
}

template <typename Sample, bool SemiPlanar, int Scale, int N>
CLV_DEVICE void write(const WriteParams &p) {
    constexpr int values = 6 * Scale * Scale;
    const int runs = p.columns / N;
    const int thread = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (thread >= runs * p.rows)
        return;
    const int row = thread / runs;
    const int column = thread % runs * N;
    float x[N][values];
    for (int n = 0; n < N; n++)
        for (int c = 0; c < values; c++)
            x[n][c] = p.from[(static_cast<std::int64_t>(row) * p.columns + column + n) * values + c];
    if constexpr (N == 1)
        write_position<Sample, SemiPlanar, Scale>(p.picture, row, column, x[0]);
    else
        write_positions<Sample, SemiPlanar, Scale, N>(p.picture, row, column, x);
}

template <typename Sample, bool SemiPlanar, int Scale>
CLV_DEVICE void write_any(const WriteParams &p) {
    if (p.run == 2)
        write<Sample, SemiPlanar, Scale, 2>(p);
    else
        write<Sample, SemiPlanar, Scale, 1>(p);
}

} // namespace
} // namespace clv::pixels::test

using namespace clv::pixels::test;

CLV_KERNEL(clv_check_normalise, NormaliseParams, check_threads, 1) {
    const int code = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (code < p.count)
        p.to[code] = clv::pixels::device::normalise(static_cast<std::uint32_t>(code), p.scale);
}

#define FOR_KIND(kind, Sample, semi_planar)                                                                  \
    CLV_KERNEL(clv_check_read_##kind, ReadParams, check_threads, 1) {                                        \
        read_any<Sample, semi_planar>(p);                                                                    \
    }                                                                                                        \
    CLV_KERNEL(clv_check_write_1_##kind, WriteParams, check_threads, 1) {                                    \
        write_any<Sample, semi_planar, 1>(p);                                                                \
    }                                                                                                        \
    CLV_KERNEL(clv_check_write_2_##kind, WriteParams, check_threads, 1) {                                    \
        write_any<Sample, semi_planar, 2>(p);                                                                \
    }

FOR_KIND(0, std::uint8_t, false)
FOR_KIND(1, std::uint8_t, true)
FOR_KIND(2, std::uint16_t, false)
FOR_KIND(3, std::uint16_t, true)
