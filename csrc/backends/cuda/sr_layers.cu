// SPDX-License-Identifier: BSD-2-Clause
//
// Some layers of the super-resolution net on tiles (sr_layout.h): blocks f += LeakyReLU(conv(f)), before them
// the head or activations of the launch before, behind them activations or the tail. Blocks of threads stay
// for the whole picture, with the weights in shared memory, and take every gridDim.x-th tile.
#include "backends/cuda/sr_product.cuh"

namespace clv::cuda::sr {

CLV_DEVICE bool inside(const Grid &grid, int y, int x) {
    return static_cast<unsigned>(y) < static_cast<unsigned>(grid.height) &&
           static_cast<unsigned>(x) < static_cast<unsigned>(grid.width);
}

/// The window with so many positions more on each side.
CLV_DEVICE Window grown(const Window &w, int by) {
    return {w.y - by, w.x - by, w.height + 2 * by, w.width + 2 * by};
}

/// First column and first row in a band of this warp's runs.
CLV_DEVICE int first_column(const Lane &at) {
    return at.warp % kColumns * kRun;
}
CLV_DEVICE int first_row(const Lane &at) {
    return at.warp / kColumns * kRunRows;
}

/// `bytes`, a multiple of 16, from global to shared memory, by all threads of the block.
CLV_DEVICE void copy_in(unsigned char *to, const void *from, int bytes) {
    for (int i = static_cast<int>(threadIdx.x); i < bytes / 16; i += kThreads)
        reinterpret_cast<uint4 *>(to)[i] = __ldg(static_cast<const uint4 *>(from) + i);
}

/// Activations of the window, zeros outside of the picture: 512 contiguous bytes a warp.
template <int Channels>
CLV_DEVICE void read_activations(unsigned char *tile, int plane, const LayersParams &p, const Window &w) {
    const int column = static_cast<int>(threadIdx.x) % kWidth;
    if (column < w.width)
        for (int row = static_cast<int>(threadIdx.x) / kWidth; row < w.height; row += kThreads / kWidth) {
            const bool valid = inside(p.grid, w.y + row, w.x + column);
            const std::int64_t from =
                valid ? static_cast<std::int64_t>(w.y + row) * p.grid.pitch + w.x + column : 0;
#pragma unroll
            for (int n = 0; n < Channels / 8; n++)
                cp_async_16(tile + n * plane + (row * kWidth + column) * 16,
                            static_cast<const uint4 *>(p.in) + n * p.grid.plane + from, valid);
        }
    cp_async_commit();
    cp_async_wait<0>();
}

/// The picture around the window, minus the centre; word (i, j) is positions (i - 1, j - 1) and (i - 1, j).
CLV_DEVICE void read_picture(std::uint32_t *to, const LayersParams &p, const Window &w) {
    const int words = w.width + 2;
    for (int i = static_cast<int>(threadIdx.x) / 32; i < w.height + 2; i += kWarps)
        for (int j = static_cast<int>(threadIdx.x) % 32; j < words; j += 32) {
            const int y = w.y - 1 + i;
            const int x = w.x - 1 + j;
            const float *const from = p.x + static_cast<std::int64_t>(y) * p.grid.width + x;
            to[i * kPicturePitch + j] = pack(inside(p.grid, y, x) ? __ldg(from) - kCentre : 0.0F,
                                             inside(p.grid, y, x + 1) ? __ldg(from + 1) - kCentre : 0.0F);
        }
}

/// LeakyReLU(head) on the window. A place of the product's depth is 4 dy + dx; the fourth of each row, where
/// the next position lies, is left out: it may be NaN.
template <int Channels>
CLV_DEVICE void run_head(unsigned char *tile, int plane, const std::uint32_t *picture,
                         const unsigned char *weights, const float *bias, const LayersParams &p,
                         const Window &w, const Lane &at) {
    constexpr int blocks = Channels / 8;
    std::uint32_t b[blocks][2];
    load_weights(b, weights, at.lane);
    const std::uint32_t places = at.pair % 2 == 0 ? 0xffffffffU : 0x0000ffffU;
    const int column = first_column(at) + at.group; // and eight more
    const std::uint32_t *const upper =
        picture + at.pair / 2 * kPicturePitch + column + at.pair % 2 * 2; // row 0 or 1 of the three
    const std::uint32_t *const lower = picture + 2 * kPicturePitch + column + at.pair % 2 * 2;
    if (first_column(at) >= w.width)
        return;
#pragma unroll 2
    for (int row = at.warp / kColumns; row < w.height; row += kWarps / kColumns) {
        const int from = row * kPicturePitch;
        const std::uint32_t a[4] = {upper[from] & places, upper[from + 8] & places,
                                    at.pair < 2 ? lower[from] & places : 0,
                                    at.pair < 2 ? lower[from + 8] & places : 0};
        float sum[1][blocks][4];
        start(sum, bias, at);
#pragma unroll
        for (int n = 0; n < blocks; n++)
            mma_m16n8k16(sum[0][n], a, b[n]);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const bool valid = inside(p.grid, w.y + row, w.x + column + 8 * half);
#pragma unroll
            for (int n = 0; n < blocks; n++)
                *reinterpret_cast<std::uint32_t *>(tile + n * plane +
                                                   (row * kWidth + column + 8 * half) * 16 + at.pair * 4) =
                    valid ? pack(leaky(sum[0][n][2 * half], p.slope), leaky(sum[0][n][2 * half + 1], p.slope))
                          : 0U;
        }
    }
}

/// Fragments of the part-th sixteen channels, or of the last eight, of a run as the lanes that have its sums
/// need them.
template <int Blocks, int Words>
CLV_DEVICE void place(std::uint32_t (&f)[Blocks][2], int part, const std::uint32_t (&a)[Words]) {
#pragma unroll
    for (int k = 0; k < Words; k++)
        f[2 * part + k / 2][k % 2] = a[k];
}

/// f + LeakyReLU(conv(f)) at a warp's runs, as halves, zero outside of the picture. f is what the convolution
/// multiplies in its middle: with 16 channels there are registers to keep it, otherwise it is read again.
template <int Channels>
CLV_DEVICE void compute_block(std::uint32_t (&f)[kRunRows][Channels / 8][2], const unsigned char *tile,
                              int plane, const unsigned char *weights, const float *bias,
                              const LayersParams &p, const Window &w, int row, const Lane &at) {
    constexpr bool keeps = Channels == 16;
    const unsigned char *const first = tile + (row * kWidth + first_column(at)) * 16;
    float sum[kRunRows][Channels / 8][4];
    start(sum, bias, at);
    convolve<Channels, Channels>(sum, first, plane, weights, at.lane, [&](int r, int part, const auto &a) {
        if constexpr (keeps)
            place(f[r], part, a);
    });
    if constexpr (!keeps)
        read_runs<Channels>(first + (kWidth + 1) * 16, plane, at.lane,
                            [&](int r, int part, const auto &a) { place(f[r], part, a); });
#pragma unroll
    for (int r = 0; r < kRunRows; r++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const bool valid = inside(p.grid, w.y + row + r, w.x + first_column(at) + 8 * half + at.group);
#pragma unroll
            for (int n = 0; n < Channels / 8; n++) {
                const float2 old = unpack(f[r][n][half]);
                f[r][n][half] = valid ? pack(old.x + leaky(sum[r][n][2 * half], p.slope),
                                             old.y + leaky(sum[r][n][2 * half + 1], p.slope))
                                      : 0U;
            }
        }
}

/// Into the tile: a fragment's store is 128 contiguous bytes.
template <int Channels>
CLV_DEVICE void keep_block(unsigned char *tile, int plane,
                           const std::uint32_t (&f)[kRunRows][Channels / 8][2], int row, const Lane &at) {
    unsigned char *const to = tile + (row * kWidth + first_column(at) + at.group) * 16 + at.pair * 4;
#pragma unroll
    for (int r = 0; r < kRunRows; r++)
#pragma unroll
        for (int n = 0; n < Channels / 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                *reinterpret_cast<std::uint32_t *>(to + n * plane + (r * kWidth + 8 * half) * 16) =
                    f[r][n][half];
}

/// To global memory, likewise.
template <int Channels>
CLV_DEVICE void write_block(const LayersParams &p, const Window &w,
                            const std::uint32_t (&f)[kRunRows][Channels / 8][2], int row, const Lane &at) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int column = first_column(at) + 8 * half + at.group;
        if (column < w.width)
#pragma unroll
            for (int r = 0; r < kRunRows; r++)
                if (row + r < w.height) {
                    uint4 *const to =
                        static_cast<uint4 *>(p.to) +
                        (static_cast<std::int64_t>(w.y + row + r) * p.grid.pitch + w.x + column);
#pragma unroll
                    for (int n = 0; n < Channels / 8; n++)
                        reinterpret_cast<std::uint32_t *>(to + n * p.grid.plane)[at.pair] = f[r][n][half];
                }
    }
    __syncwarp(); // ldmatrix needs them all
}

/// A block of the net on the tile, in place; `last` has its output in global memory.
template <int Channels>
CLV_DEVICE void run_block(unsigned char *tile, int plane, const unsigned char *weights, const float *bias,
                          const LayersParams &p, const Window &w, bool last, const Lane &at) {
#pragma unroll 1
    for (int band = 0; band < w.height; band += kBandRows) {
        const int row = band + first_row(at);
        const bool busy = row < w.height && first_column(at) < w.width;
        std::uint32_t f[kRunRows][Channels / 8][2] = {};
        if (busy)
            compute_block<Channels>(f, tile, plane, weights, bias, p, w, row, at);
        if (last) {
            if (busy)
                write_block<Channels>(p, w, f, row, at);
            continue;
        }
        __syncthreads(); // the band has been read
        if (busy)
            keep_block<Channels>(tile, plane, f, row, at);
    }
}

/// The four values of a position are those of its 2x2: lane pairs 0 and 1 have a row each.
template <int Channels>
CLV_DEVICE void run_tail(const unsigned char *tile, int plane, const unsigned char *weights,
                         const float *bias, const LayersParams &p, const Window &w, const Lane &at) {
    if (first_column(at) >= w.width)
        return;
#pragma unroll 1
    for (int row = first_row(at); row < w.height; row += kBandRows) {
        float base[kRunRows][2];
#pragma unroll
        for (int r = 0; r < kRunRows; r++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int column = first_column(at) + 8 * half + at.group;
                const bool valid = at.pair < 2 && row + r < w.height && column < w.width;
                base[r][half] =
                    valid
                        ? __ldg(p.x + static_cast<std::int64_t>(w.y + row + r) * p.grid.width + w.x + column)
                        : 0.0F;
            }
        float sum[kRunRows][1][4];
        start(sum, bias, at);
        convolve<Channels, kTailColumns>(sum, tile + (row * kWidth + first_column(at)) * 16, plane, weights,
                                         at.lane, [](int, int, const auto &) {});
#pragma unroll
        for (int r = 0; r < kRunRows; r++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int column = first_column(at) + 8 * half + at.group;
                if (at.pair >= 2 || row + r >= w.height || column >= w.width)
                    continue;
                const std::int64_t y = 2 * static_cast<std::int64_t>(w.y + row + r) + at.pair;
                reinterpret_cast<float2 *>(p.out + y * 2 * p.grid.width)[w.x + column] =
                    make_float2(sum[r][0][2 * half] + base[r][half], sum[r][0][2 * half + 1] + base[r][half]);
            }
        __syncwarp(); // ldmatrix needs them all
    }
}

template <int Channels>
CLV_DEVICE void run_layers(const LayersParams &p) {
    unsigned char *const shared = dynamic_shared();
    const Memory &at_byte = p.memory;
    const auto floats = [&](int at) { return reinterpret_cast<const float *>(shared + at); };
    unsigned char *const tile = shared + at_byte.tile;
    auto *const picture = reinterpret_cast<std::uint32_t *>(shared + at_byte.picture);
    const Lane at = this_lane();
    copy_in(shared, p.constants, at_byte.constants);

#pragma unroll 1
    for (int n = static_cast<int>(blockIdx.x); n < p.grid.tiles; n += static_cast<int>(gridDim.x)) {
        const Window out = window_of(p.grid, n);
        int left = p.layers.convolutions(); // to come
        __syncthreads();                    // weights are there; the last tile has been read
        if (p.layers.head) {
            read_picture(picture, p, grown(out, left));
            __syncthreads();
            run_head<Channels>(tile, at_byte.plane, picture, shared + at_byte.head, floats(at_byte.head_bias),
                               p, grown(out, left), at);
        } else {
            read_activations<Channels>(tile, at_byte.plane, p, grown(out, left));
        }
#pragma unroll 1
        for (int k = 0; k < p.layers.blocks; k++) {
            left--;
            __syncthreads();
            run_block<Channels>(
                tile, at_byte.plane, shared + at_byte.blocks + k * weight_bytes(Channels, Channels),
                floats(at_byte.block_bias) + k * Channels, p, grown(out, left), left == 0, at);
        }
        if (p.layers.tail) {
            __syncthreads();
            run_tail<Channels>(tile, at_byte.plane, shared + at_byte.tail, floats(at_byte.tail_bias), p, out,
                               at);
        }
    }
}

} // namespace clv::cuda::sr

#define CLV_SR_LAYERS(name, channels)                                                                        \
    CLV_KERNEL(name, clv::cuda::sr::LayersParams, clv::cuda::sr::kThreads, 2) {                              \
        clv::cuda::sr::run_layers<channels>(p);                                                              \
    }

CLV_SR_LAYERS(clv_sr_layers_16, 16)
CLV_SR_LAYERS(clv_sr_layers_24, 24)
CLV_SR_LAYERS(clv_sr_layers_32, 32)
