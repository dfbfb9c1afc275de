// SPDX-License-Identifier: BSD-2-Clause
//
// The kernels of the painting net. It runs a few times a scene, on 512 luma samples across at most: they are
// made to be few and general, not to be the fastest.
//
// Of inpaint_v1 at 512x288, 4.9 GMAC: the products read some 300 MB of activations through L2, for each tap
// again (60 us on an H100 at 5 TB/s), and take 10 us of its tensor cores; thirty launches cost as much. All
// activations together are 12 MB and stay in L2.

#include "backends/cuda/inpaint_layout.h"
#include "cuda/device.cuh"
#include "cuda/mma.cuh"

namespace clv::cuda::inpaint {
namespace {

constexpr float kLeastKnown = 1e-4f;

CLV_DEVICE float sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}
CLV_DEVICE float leaky(float x, float slope) {
    return x > 0.0f ? x : x * slope;
}
CLV_DEVICE float clip01(float x) {
    return fminf(fmaxf(x, 0.0f), 1.0f);
}

// ---- convolution

/// Where this thread gathers from: one position of the output.
struct Place {
    int y, x; ///< of the middle tap in the input
    bool valid;
};

CLV_DEVICE void gather(const ConvParams &p, const Place &place, int k_block, unsigned char *to) {
    const void *from = p.from[0].data;
    bool valid = false;
    const int tap = k_block / p.blocks;
    if (place.valid && tap < kTaps) {
        const int y = place.y + (tap / 3 - 1) * p.dilation;
        const int x = place.x + (tap % 3 - 1) * p.dilation;
        valid = y >= 0 && y < p.in_height && x >= 0 && x < p.in_width;
        if (valid) {
            int block = k_block - tap * p.blocks;
            const int which = block >= p.from[0].blocks ? 1 : 0;
            const Source &source = which ? p.from[1] : p.from[0];
            block -= which ? p.from[0].blocks : 0;
            const int halved = source.halved;
            const std::int64_t row =
                static_cast<std::int64_t>(block) * (p.in_height >> halved) + (y >> halved);
            from = static_cast<const uint4 *>(source.data) + (row * (p.in_width >> halved) + (x >> halved));
        }
    }
    cp_async_16(to, from, valid);
}

/// Step `step` of the product, into one stage of shared memory.
CLV_DEVICE void fetch(const ConvParams &p, const Place &place, int step, unsigned char *stage) {
    const int thread = static_cast<int>(threadIdx.x);
    const auto *const weights = static_cast<const unsigned char *>(p.weights) +
                                (static_cast<std::int64_t>(blockIdx.y) * p.steps + step) * kConvStepB;
#pragma unroll
    for (int part = 0; part < 2; part++) {
        const int block = 2 * part + thread / kConvPositions;
        gather(p, place, kConvStepBlocks * step + block, stage + (part * kConvThreads + thread) * 16);
        const int at = (part * kConvThreads + thread) * 16;
        cp_async_16(stage + kConvStepA + at, weights + at, true);
    }
}

CLV_DEVICE void store_pair(const ConvParams &p, int tile, int pair, int position, float a, float b) {
    const std::int64_t places = static_cast<std::int64_t>(p.out_height) * p.out_width;
    static_cast<__half2 *>(p.to)[(tile * places + position) * 4 + pair] = __floats2half2_rn(a, b);
}

/// Both values of a lane's pair of channels at one position.
CLV_DEVICE void finish(const ConvParams &p, int tile, int pair, int position, float a, float b) {
    const std::int64_t places = static_cast<std::int64_t>(p.out_height) * p.out_width;
    if (p.end == End::activations) {
        store_pair(p, tile, pair, position, leaky(a, p.slope), leaky(b, p.slope));
        return;
    }
    const float value[2] = {a, b};
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const int channel = 8 * tile + 2 * pair + k;
        if (channel >= p.out_planes)
            continue;
        const std::int64_t at = channel * places + position;
        if (p.end == End::picture)
            static_cast<float *>(p.to)[at] = p.base[at] + value[k] * p.mask[position];
        else
            static_cast<float *>(p.to)[at] = channel < kChannels ? value[k] : sigmoid(value[k]);
    }
}

} // namespace
} // namespace clv::cuda::inpaint

using namespace clv::cuda;
using namespace clv::cuda::inpaint;

CLV_KERNEL(clv_inpaint_conv, ConvParams, kConvThreads, 4) {
    unsigned char *const shared = dynamic_shared();
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % 32;
    const int warp_positions = thread / 32 % 2 * 32; // of this warp in the block
    const int warp_tiles = thread / 64 * 4;
    const int places = p.out_height * p.out_width;
    const int first = static_cast<int>(blockIdx.x) * kConvPositions;
    const int mine = first + thread % kConvPositions;
    const int row = mine / p.out_width;
    const Place place = {row * p.stride, (mine - row * p.out_width) * p.stride, mine < places};

    for (int step = 0; step < kConvStages - 1; step++) {
        if (step < p.steps)
            fetch(p, place, step, shared + step * (kConvStepA + kConvStepB));
        cp_async_commit();
    }

    float sum[2][4][4] = {};
    const int first_tile = static_cast<int>(blockIdx.y) * kConvTiles + warp_tiles;
    // ldmatrix: lanes 8i + j give row j of matrix i; matrices are positions 0..7 and 8..15 of one block, then
    // of the next.
    const int row_offset = (lane / 16 * kConvPositions + warp_positions + lane % 8 + lane / 8 % 2 * 8) * 16;
    for (int step = 0; step < p.steps; step++) {
        cp_async_wait<kConvStages - 2>();
        __syncthreads(); // the step is there for all, and all are done with the one before
        const int next = step + kConvStages - 1;
        if (next < p.steps)
            fetch(p, place, next, shared + next % kConvStages * (kConvStepA + kConvStepB));
        cp_async_commit();
        const unsigned char *const a_step = shared + step % kConvStages * (kConvStepA + kConvStepB);
        const unsigned char *const b_step = a_step + kConvStepA;
#pragma unroll
        for (int k = 0; k < kConvStepBlocks / 2; k++) {
            std::uint32_t a[2][4];
#pragma unroll
            for (int m = 0; m < 2; m++)
                ldmatrix_x4(a[m], a_step + (2 * k * kConvPositions + 16 * m) * 16 + row_offset);
#pragma unroll
            for (int n = 0; n < 4; n++) {
                if (first_tile + n >= p.tiles)
                    break; // the same for the whole warp
                const uint2 v = *reinterpret_cast<const uint2 *>(
                    b_step + ((k * kConvTiles + warp_tiles + n) * 32 + lane) * 8);
                const std::uint32_t b[2] = {v.x, v.y};
#pragma unroll
                for (int m = 0; m < 2; m++)
                    mma_m16n8k16(sum[m][n], a[m], b);
            }
        }
    }

    const int pair = lane % 4;
#pragma unroll
    for (int n = 0; n < 4; n++) {
        const int tile = first_tile + n;
        if (tile >= p.tiles)
            break;
        const float bias[2] = {p.bias[8 * tile + 2 * pair], p.bias[8 * tile + 2 * pair + 1]};
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int k = 0; k < 4; k++)
                sum[m][n][k] += bias[k % 2];
    }
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int upper = 0; upper < 2; upper++) {
            const int position = first + warp_positions + 16 * m + 8 * upper + lane / 4;
            if (position >= places)
                continue;
            if (p.end == End::gated) {
#pragma unroll
                for (int n = 0; n < 4; n += 2) {
                    const int block = (first_tile + n) / 2;
                    if (first_tile + n >= p.tiles)
                        break;
                    const __half2 x = static_cast<const __half2 *>(
                        p.x)[(static_cast<std::int64_t>(block) * places + position) * 4 + pair];
                    const float *const f = &sum[m][n][2 * upper];
                    const float *const g = &sum[m][n + 1][2 * upper];
                    store_pair(p, block, pair, position,
                               __low2float(x) + leaky(f[0], p.slope) * sigmoid(g[0]),
                               __high2float(x) + leaky(f[1], p.slope) * sigmoid(g[1]));
                }
                continue;
            }
#pragma unroll
            for (int n = 0; n < 4; n++)
                if (first_tile + n < p.tiles)
                    finish(p, first_tile + n, pair, position, sum[m][n][2 * upper], sum[m][n][2 * upper + 1]);
        }
}

// ---- diffusion

namespace clv::cuda::inpaint {
namespace {

/// The thread's place in a plane, and its channel, of a grid (places, channels).
CLV_DEVICE int my_place() {
    return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}
CLV_DEVICE int my_channel() {
    return static_cast<int>(blockIdx.y);
}

/// Of a level's sums: its mean times how far it is to be trusted, and what that leaves open.
struct Known {
    float mean, open;
};
CLV_DEVICE Known known(float sum, float weight, float factor) {
    const float trust = clip01(weight * factor);
    return {sum / fmaxf(weight, kLeastKnown) * trust, 1.0f - trust};
}

/// Bilinear enlargement, samples at the centres: the value at (y, x) of `factor` times the size.
CLV_DEVICE float enlarged(const float *plane, int height, int width, int factor, int y, int x) {
    const float share = 1.0f / static_cast<float>(factor);
    const float v = fmaxf((static_cast<float>(y) + 0.5f) * share - 0.5f, 0.0f);
    const float u = fmaxf((static_cast<float>(x) + 0.5f) * share - 0.5f, 0.0f);
    const int top = static_cast<int>(v);
    const int left = static_cast<int>(u);
    const int bottom = min(top + 1, height - 1);
    const int right = min(left + 1, width - 1);
    const float down = v - static_cast<float>(top);
    const float across = u - static_cast<float>(left);
    const float *const upper = plane + static_cast<std::int64_t>(top) * width;
    const float *const lower = plane + static_cast<std::int64_t>(bottom) * width;
    const float a = upper[left] + (upper[right] - upper[left]) * across;
    const float b = lower[left] + (lower[right] - lower[left]) * across;
    return a + (b - a) * down;
}

} // namespace
} // namespace clv::cuda::inpaint

CLV_KERNEL(clv_inpaint_split, SplitParams, kPlaneThreads, 4) {
    const int at = my_place();
    if (at >= p.places)
        return;
    const std::int64_t places = p.places;
    const float is_known = 1.0f - p.in[kChannels * places + at];
    for (int c = 0; c < kChannels; c++)
        p.sums[c * places + at] = p.in[c * places + at] * is_known;
    p.sums[kChannels * places + at] = is_known;
}

CLV_KERNEL(clv_inpaint_halve, HalveParams, kPlaneThreads, 4) {
    const int at = my_place();
    if (at >= p.height * p.width)
        return;
    const int y = at / p.width;
    const int x = at - y * p.width;
    const int wide = 2 * p.width;
    const float *const from =
        p.from + (static_cast<std::int64_t>(my_channel()) * 2 * p.height + 2 * y) * wide + 2 * x;
    p.to[static_cast<std::int64_t>(my_channel()) * p.height * p.width + at] =
        0.25f * ((from[0] + from[1]) + (from[wide] + from[wide + 1]));
}

CLV_KERNEL(clv_inpaint_wide, WideParams, kPlaneThreads, 4) {
    const int at = my_place();
    if (at >= p.height * p.width)
        return;
    const int y = at / p.width;
    const int x = at - y * p.width;
    const float *const sums = p.sums + static_cast<std::int64_t>(my_channel()) * p.height * p.width;
    const float *const weights = p.sums + static_cast<std::int64_t>(kChannels) * p.height * p.width;
    constexpr int sizes = 4;
    const int reach[sizes] = {15, 7, 3, 1};
    float sum[sizes] = {};
    float weight[sizes] = {};
    for (int v = max(y - reach[0], 0); v <= min(y + reach[0], p.height - 1); v++)
        for (int u = max(x - reach[0], 0); u <= min(x + reach[0], p.width - 1); u++) {
            const int far = max(abs(v - y), abs(u - x));
            const float value = sums[v * p.width + u];
            const float w = weights[v * p.width + u];
#pragma unroll
            for (int k = 0; k < sizes; k++)
                if (far <= reach[k]) {
                    sum[k] += value;
                    weight[k] += w;
                }
        }
    float filled = 0.0f;
#pragma unroll
    for (int k = 0; k < sizes; k++) {
        const float share = 1.0f / static_cast<float>((2 * reach[k] + 1) * (2 * reach[k] + 1));
        const Known here = known(sum[k] * share, weight[k] * share, 8.0f);
        filled = here.mean + filled * here.open;
    }
    p.to[static_cast<std::int64_t>(my_channel()) * p.height * p.width + at] = filled;
}

CLV_KERNEL(clv_inpaint_level, LevelParams, kLevelThreads, 1) {
    const int tiles_across = (p.width + kTile - 1) / kTile;
    const int tile_y = static_cast<int>(blockIdx.x) / tiles_across * kTile;
    const int tile_x = static_cast<int>(blockIdx.x) % tiles_across * kTile;
    const int top = max(tile_y - p.smoothings, 0);
    const int left = max(tile_x - p.smoothings, 0);
    const int rows = min(tile_y + kTile + p.smoothings, p.height) - top;
    const int columns = min(tile_x + kTile + p.smoothings, p.width) - left;
    const int count = rows * columns;
    const std::int64_t plane = static_cast<std::int64_t>(p.height) * p.width;
    const float *const sums = p.sums + my_channel() * plane;
    const float *const weights = p.sums + kChannels * plane;

    auto *const filled = reinterpret_cast<float *>(dynamic_shared()); // two turns
    float *const means = filled + 2 * count;
    float *const opens = means + count;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kLevelThreads) {
        const int y = top + i / columns;
        const int x = left + i % columns;
        const std::int64_t at = static_cast<std::int64_t>(y) * p.width + x;
        const Known here = known(sums[at], weights[at], p.factor);
        const float *const before = p.filled + my_channel() * (p.halved ? plane / 4 : plane);
        const float value = p.halved ? enlarged(before, p.height / 2, p.width / 2, 2, y, x) : before[at];
        means[i] = here.mean;
        opens[i] = here.open;
        filled[i] = here.mean + value * here.open;
    }
    __syncthreads();
    for (int step = 0; step < p.smoothings; step++) {
        const float *const from = filled + step % 2 * count;
        float *const to = filled + (step + 1) % 2 * count;
        for (int i = static_cast<int>(threadIdx.x); i < count; i += kLevelThreads) {
            const int y = i / columns;
            const int x = i % columns;
            const int x0 = max(x - 1, 0);
            const int x1 = min(x + 1, columns - 1);
            const int y0 = max(y - 1, 0);
            const int y1 = min(y + 1, rows - 1);
            float sum = 0.0f;
            for (int v = y0; v <= y1; v++)
                for (int u = x0; u <= x1; u++)
                    sum += from[v * columns + u];
            to[i] = means[i] + sum / static_cast<float>((y1 - y0 + 1) * (x1 - x0 + 1)) * opens[i];
        }
        __syncthreads();
    }
    const float *const result = filled + p.smoothings % 2 * count;
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile; i += kLevelThreads) {
        const int y = tile_y + i / kTile;
        const int x = tile_x + i % kTile;
        if (y < p.height && x < p.width)
            p.to[my_channel() * plane + static_cast<std::int64_t>(y) * p.width + x] =
                result[(y - top) * columns + (x - left)];
    }
}

CLV_KERNEL(clv_inpaint_shrink, ShrinkParams, kPlaneThreads, 4) {
    const int at = my_place();
    if (at >= p.height * p.width)
        return;
    const int y = at / p.width;
    const int x = at - y * p.width;
    const int wide = 4 * p.width;
    const std::int64_t plane = static_cast<std::int64_t>(4 * p.height) * wide;
    alignas(16) __half2 block[4];
    float mean[8] = {};
#pragma unroll
    for (int c = 0; c <= kChannels; c++) {
        const float *const from =
            (c < kChannels ? p.filled + c * plane : p.hole) + static_cast<std::int64_t>(4 * y) * wide + 4 * x;
        float sum = 0.0f;
#pragma unroll
        for (int v = 0; v < 4; v++)
            for (int u = 0; u < 4; u++)
                sum += from[v * wide + u];
        mean[c] = sum * (1.0f / 16.0f);
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        block[k] = __floats2half2_rn(mean[2 * k], mean[2 * k + 1]);
    uint4 v;
    memcpy(&v, block, sizeof v);
    static_cast<uint4 *>(p.to)[at] = v;
}

CLV_KERNEL(clv_inpaint_join, JoinParams, kPlaneThreads, 4) {
    const int at = my_place();
    const int places = p.height * p.width;
    if (at >= places)
        return;
    const int y = at / p.width;
    const int x = at - y * p.width;
    const float hole = p.hole[at];
    const std::int64_t small = places / 16;
    float value[16] = {};
#pragma unroll
    for (int c = 0; c <= kChannels; c++) {
        const float change = enlarged(p.change + c * small, p.height / 4, p.width / 4, 4, y, x);
        if (c == kChannels) {
            value[13] = change; // the edges
            break;
        }
        const std::int64_t here = static_cast<std::int64_t>(c) * places + at;
        const float filled = p.filled[here];
        value[c] = filled + change * hole;
        value[kChannels + c] = filled;
        p.guess[here] = value[c];
    }
    value[12] = hole;
#pragma unroll
    for (int b = 0; b < 2; b++) {
        alignas(16) __half2 block[4];
#pragma unroll
        for (int k = 0; k < 4; k++)
            block[k] = __floats2half2_rn(value[8 * b + 2 * k], value[8 * b + 2 * k + 1]);
        uint4 v;
        memcpy(&v, block, sizeof v);
        static_cast<uint4 *>(p.to)[static_cast<std::int64_t>(b) * places + at] = v;
    }
}
