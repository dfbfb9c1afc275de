// SPDX-License-Identifier: BSD-2-Clause
//
// A block of the net: y = LeakyReLU(conv(x)) and the gate that the next kernels multiply it with. Blocks of
// threads stay for the whole picture, with the weights in shared memory, and take every gridDim.x-th tile.
#include "backends/cuda/sr_gate.cuh"
#include "backends/cuda/sr_input.cuh"

namespace clv::cuda::sr {

/// Into the tile, in the place of x.
template <class T, int Channels>
CLV_DEVICE void keep_output(unsigned char *tile, const float (&sum)[T::runs][Channels / 8][4], float slope,
                            const Lane &at) {
    const int position =
        (first_row<T>(at) + 1) * T::x_width + first_column<T>(at) + 1 + at.group; // of the first run
    unsigned char *const to = tile + position * 16 + at.pair * 4;
#pragma unroll
    for (int i = 0; i < T::runs; i++)
#pragma unroll
        for (int n = 0; n < Channels / 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                *reinterpret_cast<std::uint32_t *>(to + n * T::x_positions * 16 +
                                                   (i * T::x_width + 8 * half) * 16) =
                    pack(leaky(sum[i][n][2 * half], slope), leaky(sum[i][n][2 * half + 1], slope));
}

/// The tile without its border, 16 bytes a thread and store, W positions in a row.
template <class T, int Channels>
CLV_DEVICE void write_output(void *out, const unsigned char *tile, const Grid &grid, const Corner &corner) {
    for (int p = static_cast<int>(threadIdx.x); p < T::width * T::height; p += T::threads) {
        const int row = p / T::width;
        const int column = p % T::width;
        if (!inside(grid, corner.y + row, corner.x + column))
            continue;
        const uint4 *const from = reinterpret_cast<const uint4 *>(tile) + (row + 1) * T::x_width + column + 1;
        uint4 *const to = static_cast<uint4 *>(out) + static_cast<std::int64_t>(corner.y + row) * grid.pitch +
                          corner.x + column;
#pragma unroll
        for (int n = 0; n < Channels / 8; n++)
            to[n * grid.plane] = from[n * T::x_positions];
    }
}

template <class T, int Channels>
CLV_DEVICE void run_block(const BlockParams &p) {
    using Memory = BlockMemory<T, Channels>;
    unsigned char *const shared = dynamic_shared();
    auto *const sums = reinterpret_cast<float *>(shared + Memory::sums);
    auto *const bias = reinterpret_cast<float *>(shared + Memory::bias);
    auto *const head_bias = reinterpret_cast<float *>(shared + Memory::head_bias);
    const Lane at = this_lane();

    copy_in<T::threads>(shared + Memory::weights, p.weights, weight_bytes(kTaps * Channels / 16, Channels));
    copy_in<T::threads>(shared + Memory::bias, p.bias, 4 * Channels);
    if (p.input.head_weights != nullptr)
        copy_in<T::threads>(shared + Memory::head_bias, p.input.head_bias, 4 * Channels);
    for (int k = 0; k < p.input.priors; k++)
        copy_in<T::threads>(shared + Memory::gates + k * 2 * Channels, p.input.gate[k], 2 * Channels);
    if (threadIdx.x < Channels)
        sums[threadIdx.x] = 0;

#pragma unroll 1
    for (int n = static_cast<int>(blockIdx.x); n < p.grid.tiles; n += static_cast<int>(gridDim.x)) {
        const Corner corner = corner_of(p.grid, n, T::width, T::height);
        __syncthreads(); // weights are there; the last tile has been read
        make_input<T, Channels>(shared + Memory::x, shared + Memory::picture, head_bias,
                                shared + Memory::gates, p.grid, p.input, corner, p.x_out, at);
        __syncthreads();
        float sum[T::runs][Channels / 8][4];
        start(sum, bias, at);
        convolve<T, Channels, Channels>(sum, shared + Memory::x, shared + Memory::weights, at);
        __syncthreads();
        keep_output<T, Channels>(shared + Memory::x, sum, p.input.slope, at);
        __syncthreads();
        write_output<T, Channels>(p.y_out, shared + Memory::x, p.grid, corner);
        if (p.gate.partial != nullptr)
            add_statistics<T, Channels>(sums, shared + Memory::x, p.grid, corner, at);
    }
    if (p.gate.partial != nullptr)
        close_gate<T, Channels>(p.gate, sums, shared + Memory::x,
                                reinterpret_cast<int *>(shared + Memory::last), p.input.slope);
}

} // namespace clv::cuda::sr

#define CLV_SR_BLOCK(name, tile, channels, blocks)                                                           \
    CLV_KERNEL(name, clv::cuda::sr::BlockParams, clv::cuda::sr::tile::threads, blocks) {                     \
        clv::cuda::sr::run_block<clv::cuda::sr::tile, channels>(p);                                          \
    }

CLV_SR_BLOCK(clv_sr_block_large_48, Large, 48, 2)
CLV_SR_BLOCK(clv_sr_block_medium_48, Medium, 48, 2)
CLV_SR_BLOCK(clv_sr_block_small_48, Small, 48, 2)
CLV_SR_BLOCK(clv_sr_block_large_32, Large, 32, 2)
CLV_SR_BLOCK(clv_sr_block_medium_32, Medium, 32, 2)
CLV_SR_BLOCK(clv_sr_block_small_32, Small, 32, 2)
