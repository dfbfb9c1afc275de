// SPDX-License-Identifier: BSD-2-Clause
//
// The input x of a layer on a tile with its border: activations that an earlier kernel remembered, or the
// net's head computed here from the picture, plus the gated outputs of the blocks since. Beyond the tensor x
// is zero, as every convolution of the net pads.
#pragma once

#include "backends/cuda/sr_product.cuh"
#include "pixels/cuda/pixels.cuh"

namespace clv::cuda::sr {

template <typename SampleType, bool SemiPlanarValue>
struct Kind {
    using Sample = SampleType;
    static constexpr bool semi_planar = SemiPlanarValue;
};

/// use(Kind<...>()) for pixels::device::kind_of()'s number: what a sample is is decided once a tile, the
/// products are compiled once for all.
template <typename F>
CLV_DEVICE void with_kind(int kind, F use) {
    switch (kind) {
    case 0:
        return use(Kind<std::uint8_t, false>());
    case 1:
        return use(Kind<std::uint8_t, true>());
    case 2:
        return use(Kind<std::uint16_t, false>());
    default:
        return use(Kind<std::uint16_t, true>());
    }
}

CLV_DEVICE bool inside(const Grid &grid, int y, int x) {
    return static_cast<unsigned>(y) < static_cast<unsigned>(grid.height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(grid.width);
}

/// The picture on the tile and two positions around it, as blocks of eight halves.
template <class T>
CLV_DEVICE void read_picture(unsigned char *to, const Grid &grid, const Input &input, const Corner &corner) {
    constexpr int pairs = T::picture_width / 2;
    with_kind(input.kind, [&](auto kind) {
        using K = decltype(kind);
        for (int i = static_cast<int>(threadIdx.x); i < T::picture_positions / 2; i += T::threads) {
            const int y = corner.y - 2 + i / pairs;
            const int x = corner.x - 2 + i % pairs * 2;
            uint4 block[2] = {make_uint4(0, 0, 0, 0), make_uint4(0, 0, 0, 0)};
            if (inside(grid, y, x) || inside(grid, y, x + 1)) {
                float values[2][kPictureChannels];
                pixels::device::read_positions<typename K::Sample, K::semi_planar>(input.picture, y, x,
                                                                                   values);
#pragma unroll
                for (int k = 0; k < 2; k++)
                    if (inside(grid, y, x + k))
                        block[k] = pixels::device::block_of_halves(values[k]);
            }
            reinterpret_cast<uint4 *>(to)[2 * i] = block[0];
            reinterpret_cast<uint4 *>(to)[2 * i + 1] = block[1];
        }
    });
}

/// LeakyReLU(head(picture)) on the tile and its border of one. A step of the product is two taps of eight
/// channels. Runs of sixteen positions go across the rows of the tile, border included.
template <class T, int Channels>
CLV_DEVICE void compute_head(unsigned char *x, const unsigned char *picture, const float *bias,
                             const Grid &grid, const Input &input, const Corner &corner, const Lane &at) {
    constexpr int plane = T::x_positions * 16;
    constexpr int blocks = Channels / 8;
    static_assert(blocks % 2 == 0);
    // They stay in registers for all runs; the cache has them for all tiles.
    uint4 weights[kHeadSteps][blocks / 2];
#pragma unroll
    for (int step = 0; step < kHeadSteps; step++)
#pragma unroll
        for (int n = 0; n < blocks / 2; n++)
            weights[step][n] = __ldg(static_cast<const uint4 *>(input.head_weights) +
                                     (step * blocks / 2 + n) * 32 + at.lane);

#pragma unroll 1
    for (int run = at.warp; run < (T::x_positions + 15) / 16; run += T::warps) {
        const int of_row = min(run * 16 + at.lane % 16, T::x_positions - 1);
        const unsigned char *const row =
            picture + (of_row / T::x_width * T::picture_width + of_row % T::x_width) * 16;
        float sum[1][blocks][4];
        start(sum, bias, at);
#pragma unroll
        for (int step = 0; step < kHeadSteps; step++) {
            constexpr auto offset = [](int tap) { return (tap / 3 * T::picture_width + tap % 3) * 16; };
            constexpr int last = kTaps - 1; // a tenth tap has weights of zero: any values do
            const int tap = 2 * step;
            std::uint32_t a[4];
            ldmatrix_x4(a, row + (at.lane < 16 ? offset(tap) : offset(tap < last ? tap + 1 : last)));
#pragma unroll
            for (int n = 0; n < blocks / 2; n++) {
                const uint4 b = weights[step][n];
                mma_m16n8k16(sum[0][2 * n], a, {b.x, b.y});
                mma_m16n8k16(sum[0][2 * n + 1], a, {b.z, b.w});
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int p = run * 16 + 8 * half + at.group;
            if (p >= T::x_positions)
                continue;
            const bool valid = inside(grid, corner.y - 1 + p / T::x_width, corner.x - 1 + p % T::x_width);
#pragma unroll
            for (int n = 0; n < blocks; n++)
                *reinterpret_cast<std::uint32_t *>(x + n * plane + p * 16 + at.pair * 4) =
                    valid ? pack(leaky(sum[0][n][2 * half], input.slope),
                                 leaky(sum[0][n][2 * half + 1], input.slope))
                          : 0U;
        }
        __syncwarp(); // ldmatrix needs them all
    }
}

CLV_DEVICE std::uint32_t multiply_add(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    const __half2 sum =
        __hfma2(*reinterpret_cast<const __half2 *>(&a), *reinterpret_cast<const __half2 *>(&b),
                *reinterpret_cast<const __half2 *>(&c));
    return *reinterpret_cast<const std::uint32_t *>(&sum);
}

/// x + gate * y, eight channels. One rounding.
CLV_DEVICE uint4 add_gated(const uint4 &x, const uint4 &gate, const uint4 &y) {
    return make_uint4(multiply_add(gate.x, y.x, x.x), multiply_add(gate.y, y.y, x.y),
                      multiply_add(gate.z, y.z, x.z), multiply_add(gate.w, y.w, x.w));
}

/// x on the tile: the head that is there already, or what was remembered, plus Priors blocks. All loads of a
/// position are under way before the first is used: 16 bytes a thread each, 512 a warp and row.
template <class T, int Channels, bool FromHead, int Priors>
CLV_DEVICE void gather(unsigned char *tile, const unsigned char *gates, const Grid &grid, const Input &input,
                       const Corner &corner, void *x_out) {
    constexpr int blocks = Channels / 8;
#pragma unroll 1
    for (int p = static_cast<int>(threadIdx.x); p < T::x_positions; p += T::threads) {
        const int row = p / T::x_width;
        const int column = p % T::x_width;
        const int y = corner.y - 1 + row;
        const int x = corner.x - 1 + column;
        const bool valid = inside(grid, y, x);
        const std::int64_t place = static_cast<std::int64_t>(y) * grid.pitch + x;
        uint4 sum[blocks];
        uint4 prior[Priors > 0 ? Priors : 1][blocks];
#pragma unroll
        for (int n = 0; n < blocks; n++) {
            sum[n] = make_uint4(0, 0, 0, 0);
            if (!FromHead && valid)
                sum[n] = static_cast<const uint4 *>(input.x)[place + n * grid.plane];
#pragma unroll
            for (int k = 0; k < Priors; k++) {
                prior[k][n] = make_uint4(0, 0, 0, 0);
                if (valid)
                    prior[k][n] = static_cast<const uint4 *>(input.y[k])[place + n * grid.plane];
            }
        }
        const bool remember =
            x_out != nullptr && valid && row > 0 && row <= T::height && column > 0 && column <= T::width;
#pragma unroll
        for (int n = 0; n < blocks; n++) {
            uint4 *const at = reinterpret_cast<uint4 *>(tile) + n * T::x_positions + p;
            if (FromHead)
                sum[n] = *at;
#pragma unroll
            for (int k = 0; k < Priors; k++)
                sum[n] =
                    add_gated(sum[n], reinterpret_cast<const uint4 *>(gates)[k * blocks + n], prior[k][n]);
            *at = sum[n];
            if (remember)
                static_cast<uint4 *>(x_out)[place + n * grid.plane] = sum[n];
        }
    }
}

/// The whole of it. Leaves shared memory without a barrier behind it; needs one before it since `tile` was
/// last read.
template <class T, int Channels>
CLV_DEVICE void make_input(unsigned char *tile, unsigned char *picture, const float *head_bias,
                           const unsigned char *gates, const Grid &grid, const Input &input,
                           const Corner &corner, void *x_out, const Lane &at) {
    if (input.head_weights != nullptr) {
        read_picture<T>(picture, grid, input, corner);
        __syncthreads();
        compute_head<T, Channels>(tile, picture, head_bias, grid, input, corner, at);
        if (input.priors == 0 && x_out == nullptr)
            return;
        __syncthreads();
        switch (input.priors) {
        case 0:
            return gather<T, Channels, true, 0>(tile, gates, grid, input, corner, x_out);
        case 1:
            return gather<T, Channels, true, 1>(tile, gates, grid, input, corner, x_out);
        default:
            return gather<T, Channels, true, 2>(tile, gates, grid, input, corner, x_out);
        }
    }
    if (input.priors == 1)
        gather<T, Channels, false, 1>(tile, gates, grid, input, corner, x_out);
    else
        gather<T, Channels, false, 2>(tile, gates, grid, input, corner, x_out);
}

} // namespace clv::cuda::sr
