// SPDX-License-Identifier: BSD-2-Clause
// The bodies of the kernels of winograd.h. Vectors are as in simd.h; a set of them is
//
//     Wide             16 floats: a vector, or a Pair of those of 8
//     add_product()    sums of quarters, a Wide: each += its channels' values times their weights
//     pixels()         sums of quarters of four positions, added up, + base -> two rows of pixels
#pragma once

#include "simd.h"
#include "winograd.h"

namespace clv::cpu {

/// Two vectors that are the channels of a position.
template <class A, class B>
struct Pair {
    static constexpr int lanes = A::lanes + B::lanes;
    static Pair load(const float *p) { return {A::load(p), B::load(p + A::lanes)}; }
    static void store(float *p, Pair a) {
        A::store(p, a.a);
        B::store(p + A::lanes, a.b);
    }
    static Pair broadcast(float a) { return {A::broadcast(a), B::broadcast(a)}; }
    static Pair add(Pair a, Pair b) { return {A::add(a.a, b.a), B::add(a.b, b.b)}; }
    static Pair subtract(Pair a, Pair b) { return {A::subtract(a.a, b.a), B::subtract(a.b, b.b)}; }
    static Pair multiply(Pair a, Pair b) { return {A::multiply(a.a, b.a), B::multiply(a.b, b.b)}; }
    static Pair max(Pair a, Pair b) { return {A::max(a.a, b.a), B::max(a.b, b.b)}; }
    static Pair multiply_add(Pair a, Pair b, Pair c) {
        return {A::multiply_add(a.a, b.a, c.a), B::multiply_add(a.b, b.b, c.b)};
    }
    A a;
    B b;
};

/// What is done to each vector of a Pair, and of a Pair in it; `first` is its first channel.
template <class V>
struct Parts {
    template <class Body>
    [[gnu::always_inline]] static void each(const Body &body, int first = 0) {
        body.template operator()<V>(first);
    }
    /// Stores position `at` of planes of `plane` positions.
    [[gnu::always_inline]] static void store(float *planes, ptrdiff_t plane, ptrdiff_t at, V value) {
        (void)plane;
        V::store(planes + at * V::lanes, value);
    }
};
template <class A, class B>
struct Parts<Pair<A, B>> {
    template <class Body>
    [[gnu::always_inline]] static void each(const Body &body, int first = 0) {
        Parts<A>::each(body, first);
        Parts<B>::each(body, first + A::lanes);
    }
    [[gnu::always_inline]] static void store(float *planes, ptrdiff_t plane, ptrdiff_t at, Pair<A, B> value) {
        Parts<A>::store(planes, plane, at, value.a);
        Parts<B>::store(planes + A::lanes * plane, plane, at, value.b);
    }
};

template <class V>
inline V leaky(V value, V slope) {
    return V::max(value, V::multiply(value, slope));
}

/// Three of the six sums of to_sums() of rows, at two columns: [along y][column].
template <class V, bool upper, int columns>
inline void add_columns(const float *const (&rows)[kTileTaps], ptrdiff_t at, V (&sums)[3][kTileTaps]) {
#pragma GCC unroll 6
    for (int i = kTileTaps - columns; i < kTileTaps; i++) {
        V d[kTileTaps], v[kTileTaps];
#pragma GCC unroll 6
        for (int j = 0; j < kTileTaps; j++)
            d[j] = V::load(rows[j] + at + i * V::lanes);
        to_sums(d, v);
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++)
            sums[j][i] = v[upper ? j : j + 3];
    }
}

/// Half of v = B' d B of a strip, three of its rows, of the channels of one vector: with all six the sums of
/// columns would not find room in 32 registers, and a store costs as much as an operation. Two columns' sums
/// are those of the tile before.
template <class V, int T, bool upper>
inline void spread_half(const float *const (&rows)[kTileTaps], int tiles, float *out) {
    V sums[3][kTileTaps];
    add_columns<V, upper, 2>(rows, -kTile * V::lanes, sums);
    for (int tile = 0; tile < tiles; tile++, out += V::lanes) {
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            sums[j][0] = sums[j][kTile];
            sums[j][1] = sums[j][kTile + 1];
        }
        add_columns<V, upper, kTile>(rows, static_cast<ptrdiff_t>(tile) * kTile * V::lanes, sums);
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            V v[kTileTaps];
            to_sums(sums[j], v);
#pragma GCC unroll 6
            for (int i = 0; i < kTileTaps; i++)
                V::store(out + (j * kTileTaps + i) * T * V::lanes, v[i]);
        }
    }
}

/// v = B' d B of a strip, of the channels of one vector.
template <class V, int T>
inline void spread(const StripJob &job, int first_channel) {
    const float *rows[kTileTaps]; // the compiler cannot know that `out` is not where they are kept
    for (int j = 0; j < kTileTaps; j++)
        rows[j] =
            job.rows[j] + first_channel * job.plane + static_cast<ptrdiff_t>(job.first) * kTile * V::lanes;
    float *out = job.values + first_channel * kProducts * T;
    spread_half<V, T, true>(rows, job.tiles, out);
    spread_half<V, T, false>(rows, job.tiles, out + kProducts / 2 * T * V::lanes);
}

/// A bias is in all 16 positions when it is in the product that A' adds to all of them: see A'.
constexpr int kEverywhere = kTileTaps + 1;

/// m = sum u v of a strip, in the place of v. V is all channels, N are the tiles whose sums are in registers.
template <class V, int N, int T>
void multiply(const StripJob &job) {
    static_assert(T % N == 0);
    if constexpr (N % 2 == 0)
        if (2 * job.tiles <= N) // where blocks begin or end
            return multiply<V, N / 2, T>(job);
    constexpr ptrdiff_t plane = kProducts * T;
    for (int product = 0; product < kProducts; product++)
        for (int tile = 0; tile < job.tiles; tile += N) {
            V acc[N];
            const V start = product == kEverywhere ? V::load(job.bias) : V::broadcast(0.0F);
#pragma GCC unroll 16
            for (int n = 0; n < N; n++)
                acc[n] = start;
            const float *weights = job.weights + product * V::lanes * V::lanes;
            const ptrdiff_t at = product * T + tile;
            Parts<V>::each([&]<class P>(int first) __attribute__((always_inline)) {
                const float *values = job.values + first * plane + at * P::lanes;
                for (int channel = 0; channel < P::lanes; channel++, values++, weights += V::lanes) {
                    const V w = V::load(weights);
#pragma GCC unroll 16
                    for (int n = 0; n < N; n++)
                        acc[n] = V::multiply_add(V::broadcast(values[n * P::lanes]), w, acc[n]);
                }
            });
#pragma GCC unroll 16
            for (int n = 0; n < N; n++)
                Parts<V>::store(job.values, plane, at + n, acc[n]);
        }
}

/// y = A' m A of a tile, [row][column]: `step` values lie between products.
template <class V>
inline void gather_tile(const float *products, int step, V (&y)[kTile][kTile]) {
    V sums[kTile][kTileTaps];
#pragma GCC unroll 6
    for (int i = 0; i < kTileTaps; i++) {
        V m[kTileTaps], rows[kTile];
#pragma GCC unroll 6
        for (int j = 0; j < kTileTaps; j++)
            m[j] = V::load(products + (j * kTileTaps + i) * step);
        from_sums(m, rows);
#pragma GCC unroll 4
        for (int r = 0; r < kTile; r++)
            sums[r][i] = rows[r];
    }
#pragma GCC unroll 4
    for (int r = 0; r < kTile; r++)
        from_sums(sums[r], y[r]);
}

/// The end of a block, of the channels of one vector.
template <class V, int T>
inline void gather(const StripJob &job, int first_channel) {
    const V slope = V::broadcast(job.slope);
    const auto begin = [&](int tile) {
        return first_channel * job.plane + (static_cast<ptrdiff_t>(tile) * kTile + 1) * V::lanes;
    };
    const float *base[kTile];
    float *out[kTile];
    for (int r = 0; r < kTile; r++) {
        base[r] = job.rows[r + 1] + begin(job.first);
        out[r] = job.out[r] + begin(job.out_first);
    }
    const float *products = job.values + first_channel * kProducts * T;
    for (int tile = 0; tile < job.tiles; tile++, products += V::lanes) {
        V y[kTile][kTile];
        gather_tile(products, T * V::lanes, y);
#pragma GCC unroll 4
        for (int r = 0; r < kTile; r++)
#pragma GCC unroll 4
            for (int x = 0; x < kTile; x++) {
                const ptrdiff_t at = (tile * kTile + x) * V::lanes;
                V::store(out[r] + at, V::add(V::load(base[r] + at), leaky(y[r][x], slope)));
            }
    }
}

template <class V, int N, int T>
void block(const StripJob &job) {
    Parts<V>::each([&]<class P>(int first) { spread<P, T>(job, first); });
    multiply<V, N, T>(job);
    Parts<V>::each([&]<class P>(int first) { gather<P, T>(job, first); });
}

/// The first layer, by the definition: its input has one channel, and transforms would cost more than they
/// save. N positions' sums are in registers.
template <class V, int N, int T>
void head(const StripJob &job) {
    static_assert(T * kTile % N == 0);
    const V bias = V::load(job.bias), slope = V::broadcast(job.slope);
    const ptrdiff_t first = static_cast<ptrdiff_t>(job.first) * kTile;
    const ptrdiff_t out_first = static_cast<ptrdiff_t>(job.out_first) * kTile + 1;
    for (int r = 0; r < kTile; r++)
        for (ptrdiff_t x = 0; x < T * kTile; x += N) {
            V acc[N];
#pragma GCC unroll 16
            for (int n = 0; n < N; n++)
                acc[n] = bias;
            for (int tap = 0; tap < kTaps; tap++) {
                const float *from = job.rows[r + tap / 3] + first + x + tap % 3;
                const V w = V::load(job.weights + tap * V::lanes);
#pragma GCC unroll 16
                for (int n = 0; n < N; n++)
                    acc[n] = V::multiply_add(V::broadcast(from[n]), w, acc[n]);
            }
#pragma GCC unroll 16
            for (int n = 0; n < N; n++)
                Parts<V>::store(job.out[r], job.plane, out_first + x + n, leaky(acc[n], slope));
        }
}

/// Weights of a product in the tail.
template <class V>
constexpr int kTailStep = (V::lanes + kTailLanes - 1) / kTailLanes *kTailLanes *kQuarter;

/// The last layer. It has four outputs, with which alone most lanes would idle: a quarter of a vector adds up
/// a quarter of the channels, and the quarters' sums are added to each other at the very end.
template <class Set, class V, int T>
void tail(const TailJob &job) {
    using Wide = typename Set::Wide;
    const StripJob &strip = job.strip;
    Parts<V>::each([&]<class P>(int first) { spread<P, T>(strip, first); });
    for (int tile = 0; tile < strip.tiles; tile++) {
        alignas(64) float products[kProducts * kTailLanes];
        for (int product = 0; product < kProducts; product++) {
            Wide acc = product == kEverywhere ? Wide::load(strip.bias) : Wide::broadcast(0.0F);
            const float *weights = strip.weights + product * kTailStep<V>;
            Parts<V>::each([&]<class P>(int first) __attribute__((always_inline)) {
                const P v = P::load(strip.values + first * kProducts * T + (product * T + tile) * P::lanes);
                Set::add_product(v, weights + first / kTailLanes * kQuarter * kTailLanes, first, acc);
            });
            Wide::store(products + product * kTailLanes, acc);
        }
        Wide y[kTile][kTile];
        gather_tile(products, kTailLanes, y);
#pragma GCC unroll 4
        for (int r = 0; r < kTile; r++)
            Set::pixels(y[r], job.base[r] + tile * kTile, job.out[2 * r] + 2 * tile * kTile,
                        job.out[2 * r + 1] + 2 * tile * kTile);
    }
}

template <class V>
void copy(const CopyJob &job) {
    Parts<V>::each([&]<class P>(int first) {
        const float *from = job.from + first * job.from_plane + job.from_first * P::lanes;
        float *to = job.to + first * job.to_plane + job.to_first * P::lanes;
        for (int x = 0; x < job.count; x++)
            P::store(to + x * P::lanes, P::load(from + x * P::lanes));
    });
}

/// The set of vectors of 8.
template <class Narrow>
struct Halves {
    using Wide = Pair<Narrow, Narrow>;
    static void add_product(Narrow value, const float *weights, int first, Wide &sums) {
        Narrow &sum = first % kTailLanes == 0 ? sums.a : sums.b;
        weights += first % kTailLanes;
        sum = Narrow::multiply_add(Narrow::template of_fours<0>(value), Narrow::load(weights), sum);
        sum = Narrow::multiply_add(Narrow::template of_fours<1>(value), Narrow::load(weights + 16), sum);
        sum = Narrow::multiply_add(Narrow::template of_fours<2>(value), Narrow::load(weights + 32), sum);
        sum = Narrow::multiply_add(Narrow::template of_fours<3>(value), Narrow::load(weights + 48), sum);
    }
    static void pixels(const Wide (&sums)[kTile], const float *base, float *upper, float *lower) {
        Narrow halves[kTile];
        for (int x = 0; x < kTile; x++)
            halves[x] = Narrow::add(sums[x].a, sums[x].b);
        Narrow::pixels(halves, base, upper, lower);
    }
};

template <class Set, class V, int N>
constexpr Winograd winograd() {
    constexpr int tiles = kStripTiles[V::lanes / kPadding - 1];
    return {head<V, N, tiles>, block<V, N, tiles>, tail<Set, V, tiles>, copy<V>};
}

} // namespace clv::cpu
