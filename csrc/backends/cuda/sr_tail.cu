// SPDX-License-Identifier: BSD-2-Clause
//
// The end of the net: x of the last block, a convolution to 24 channels, plus the nearest upsample of the
// picture's own codes in f32, straight into the samples of a picture of twice the size.
#include "backends/cuda/sr_input.cuh"

namespace clv::cuda::sr {

/// What is added to the output: the picture on the tile, [6][W * H] in f32.
template <class T>
CLV_DEVICE void read_base(float *base, const Grid &grid, const Input &input, const Corner &corner) {
    constexpr int pairs = T::width / 2;
    with_kind(input.kind, [&](auto kind) {
        using K = decltype(kind);
        for (int i = static_cast<int>(threadIdx.x); i < pairs * T::height; i += T::threads) {
            const int y = corner.y + i / pairs;
            const int x = corner.x + i % pairs * 2;
            if (!inside(grid, y, x))
                continue;
            float values[2][kPictureChannels];
            pixels::device::read_positions<typename K::Sample, K::semi_planar>(input.picture, y, x, values);
#pragma unroll
            for (int c = 0; c < kPictureChannels; c++)
                *reinterpret_cast<float2 *>(base + c * T::base_plane + 2 * i) =
                    make_float2(values[0][c], values[1][c]);
        }
    });
}

/// Channel 4r + c of luma lies in sample (r / 2, c / 2) of its position's 2x2; the pair of channels that a
/// lane holds lies in one.
CLV_DEVICE int base_channel(int block, int pair) {
    return block < 2 ? 2 * block + (pair & 1) : 4 + (pair >> 1);
}

template <class T>
CLV_DEVICE void write_samples(const TailParams &p, const float (&sum)[T::runs][kOutputChannels / 8][4],
                              const float *base, const Corner &corner, const Lane &at) {
    with_kind(p.input.kind, [&](auto kind) {
        using K = decltype(kind);
#pragma unroll
        for (int i = 0; i < T::runs; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = first_row<T>(at) + i;
                const int column = first_column<T>(at) + 8 * half + at.group;
                if (!inside(p.grid, corner.y + row, corner.x + column))
                    continue;
#pragma unroll
                for (int n = 0; n < kOutputChannels / 8; n++) {
                    const float from =
                        base[base_channel(n, at.pair) * T::base_plane + row * T::width + column];
                    pixels::device::write_pair<typename K::Sample, K::semi_planar, 2>(
                        p.out, corner.y + row, corner.x + column, 8 * n + 2 * at.pair,
                        sum[i][n][2 * half] + from, sum[i][n][2 * half + 1] + from);
                }
            }
    });
}

template <class T, int Channels>
CLV_DEVICE void run_tail(const TailParams &p) {
    using Memory = TailMemory<T, Channels>;
    unsigned char *const shared = dynamic_shared();
    auto *const bias = reinterpret_cast<float *>(shared + Memory::bias);
    auto *const head_bias = reinterpret_cast<float *>(shared + Memory::head_bias);
    auto *const base = reinterpret_cast<float *>(shared + Memory::base);
    const Lane at = this_lane();

    copy_in<T::threads>(shared + Memory::weights, p.weights,
                        weight_bytes(kTaps * Channels / 16, kOutputChannels));
    copy_in<T::threads>(shared + Memory::bias, p.bias, 4 * kOutputChannels);
    if (p.input.head_weights != nullptr)
        copy_in<T::threads>(shared + Memory::head_bias, p.input.head_bias, 4 * Channels);
    for (int k = 0; k < p.input.priors; k++)
        copy_in<T::threads>(shared + Memory::gates + k * 2 * Channels, p.input.gate[k], 2 * Channels);

#pragma unroll 1
    for (int n = static_cast<int>(blockIdx.x); n < p.grid.tiles; n += static_cast<int>(gridDim.x)) {
        const Corner corner = corner_of(p.grid, n, T::width, T::height);
        __syncthreads(); // weights are there; the last tile has been read
        read_base<T>(base, p.grid, p.input, corner);
        make_input<T, Channels>(shared + Memory::x, shared + Memory::picture, head_bias,
                                shared + Memory::gates, p.grid, p.input, corner, nullptr, at);
        __syncthreads();
        float sum[T::runs][kOutputChannels / 8][4];
        start(sum, bias, at);
        convolve<T, Channels, kOutputChannels>(sum, shared + Memory::x, shared + Memory::weights, at);
        write_samples<T>(p, sum, base, corner, at);
    }
}

} // namespace clv::cuda::sr

#define CLV_SR_TAIL(name, tile, channels, blocks)                                                            \
    CLV_KERNEL(name, clv::cuda::sr::TailParams, clv::cuda::sr::tile::threads, blocks) {                      \
        clv::cuda::sr::run_tail<clv::cuda::sr::tile, channels>(p);                                           \
    }

CLV_SR_TAIL(clv_sr_tail_large_48, Large, 48, 2)
CLV_SR_TAIL(clv_sr_tail_medium_48, Medium, 48, 2)
CLV_SR_TAIL(clv_sr_tail_small_48, Small, 48, 2)
CLV_SR_TAIL(clv_sr_tail_large_32, Large, 32, 2)
CLV_SR_TAIL(clv_sr_tail_medium_32, Medium, 32, 2)
CLV_SR_TAIL(clv_sr_tail_small_32, Small, 32, 2)
