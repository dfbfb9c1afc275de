// SPDX-License-Identifier: BSD-2-Clause
// The bodies of the kernels of winograd.h; V as in simd.h, with interleave() besides.
#pragma once

#include "simd.h"
#include "winograd.h"

namespace clv::cpu {

template <class V>
void spread(const SpreadJob &job) {
    // Where the six columns of a tile lie, in planes and tiles.
    const ptrdiff_t plane = job.plane;
    const ptrdiff_t columns[kTileTaps] = {3 * plane - 1, 0, plane, 2 * plane, 3 * plane, 1};
    const float *rows[kTileTaps]; // the compiler cannot know that `out` is not where they are kept
    for (int j = 0; j < kTileTaps; j++)
        rows[j] = job.rows[j];
    for (int channel = 0; channel < job.channels; channel++) {
        for (int vector = 0; vector < job.vectors; vector++) {
            V sums[kTileTaps][kTileTaps]; // [along y][column]
#pragma GCC unroll 6
            for (int i = 0; i < kTileTaps; i++) {
                V d[kTileTaps], v[kTileTaps];
#pragma GCC unroll 6
                for (int j = 0; j < kTileTaps; j++)
                    d[j] = V::load(rows[j] + columns[i] + vector * V::lanes);
                to_sums(d, v);
#pragma GCC unroll 6
                for (int j = 0; j < kTileTaps; j++)
                    sums[j][i] = v[j];
            }
            float *out = job.out + channel * kChannelStep + vector * V::lanes;
#pragma GCC unroll 6
            for (int j = 0; j < kTileTaps; j++) {
                V v[kTileTaps];
                to_sums(sums[j], v);
#pragma GCC unroll 6
                for (int i = 0; i < kTileTaps; i++)
                    V::store(out + (j * kTileTaps + i) * kMaxTiles, v[i]);
            }
        }
#pragma GCC unroll 6
        for (int j = 0; j < kTileTaps; j++)
            rows[j] += kTile * plane;
    }
}

/// One of the 36 products, of kOutputs channels in groups of G, and of P vectors.
template <class V, int G, int P>
inline void multiply_group(const float *values, int in_channels, const float *weights, const float *bias,
                           float *out) {
    V acc[G][P];
    fill(acc, bias);
    for (int channel = 0; channel < in_channels; channel++, values += kChannelStep, weights += kOutputs)
        accumulate(values, weights, acc);
#pragma GCC unroll 16
    for (int g = 0; g < G; g++)
#pragma GCC unroll 16
        for (int p = 0; p < P; p++)
            V::store(out + g * kChannelStep + p * V::lanes, acc[g][p]);
}

template <class V, int G, int P>
void multiply_vectors(const MultiplyJob &job) {
    // A bias is in all 16 positions when it is in the product that A' adds to all of them: see A'.
    constexpr int everywhere = kTileTaps + 1;
    const float *weights = job.weights;
    for (int product = 0; product < kProducts; product++) {
        const float *values = job.values + product * kMaxTiles;
        float *out = job.out + product * kMaxTiles;
        for (int first = 0; first < job.out_channels; first += kOutputs) {
            for (int g = 0; g < kOutputs; g += G, out += G * kChannelStep)
                multiply_group<V, G, P>(values, job.in_channels, weights + g,
                                        product == everywhere ? job.bias + first + g : nullptr, out);
            weights += job.in_channels * kOutputs;
        }
    }
}

template <class V, int G, int P>
void multiply(const MultiplyJob &job) {
    if constexpr (P > 1)
        if (job.vectors < P)
            return multiply<V, G, P - 1>(job);
    multiply_vectors<V, G, P>(job);
}

/// The rows of a tile, of a vector of tiles: [row][column].
template <class V>
inline void gather_tile(const float *products, V (&y)[kTile][kTile]) {
    V sums[kTile][kTileTaps];
#pragma GCC unroll 6
    for (int i = 0; i < kTileTaps; i++) {
        V m[kTileTaps], rows[kTile];
#pragma GCC unroll 6
        for (int j = 0; j < kTileTaps; j++)
            m[j] = V::load(products + (j * kTileTaps + i) * kMaxTiles);
        from_sums(m, rows);
#pragma GCC unroll 4
        for (int r = 0; r < kTile; r++)
            sums[r][i] = rows[r];
    }
#pragma GCC unroll 4
    for (int r = 0; r < kTile; r++)
        from_sums(sums[r], y[r]);
}

template <class V>
void gather(const GatherJob &job) {
    const int tiles = job.vectors * V::lanes;
    const V slope = V::broadcast(job.slope);
    for (int channel = 0; channel < job.channels; channel++)
        for (int at = 0; at < tiles; at += V::lanes) {
            V y[kTile][kTile];
            gather_tile(job.products + channel * kChannelStep + at, y);
#pragma GCC unroll 4
            for (int r = 0; r < kTile; r++)
#pragma GCC unroll 4
                for (int x = 0; x < kTile; x++) {
                    const ptrdiff_t to = (channel * kTile + x) * job.plane + at;
                    const V value = V::max(y[r][x], V::multiply(y[r][x], slope));
                    V::store(job.out[r] + to, job.base ? V::add(V::load(job.base[r] + to), value) : value);
                }
        }
}

template <class V>
void finish(const FinishJob &job) {
    const int tiles = job.vectors * V::lanes;
    for (int channel = 0; channel < job.channels; channel++)
        for (int at = 0; at < tiles; at += V::lanes) {
            V y[kTile][kTile];
            gather_tile(job.products + channel * kChannelStep + at, y);
#pragma GCC unroll 4
            for (int r = 0; r < kTile; r++) {
                const float *base = job.base[channel * kTile + r] + at * kTile;
                float *out = job.out[channel * kTile + r] + at * kTile;
                V::interleave(y[r]);
#pragma GCC unroll 4
                for (int i = 0; i < kTile; i++)
                    V::store(out + i * V::lanes, V::add(V::load(base + i * V::lanes), y[r][i]));
            }
        }
}

template <class V, int G, int P>
constexpr Winograd winograd() {
    static_assert(P * V::lanes <= kMaxTiles && V::lanes <= kMaxTileLanes && kOutputs % G == 0);
    return {V::lanes, P, spread<V>, multiply<V, G, P>, gather<V>, finish<V>};
}

} // namespace clv::cpu
