// SPDX-License-Identifier: BSD-2-Clause
//
// Samples of a 4:2:0 picture <-> values of a net, one position or a few neighbours at a time: what kernels
// inline, so that a net's first layer reads the picture itself and its last layer writes it.
//
//     position (i, j)                        the net's output at (i, j), scale s = 2: 24 values
//     luma           U      V                luma                    U           V
//     +----+----+    +---+  +---+            +---+---+---+---+       +---+---+   +---+---+
//     | x0 | x1 |    |x4 |  |x5 |            | 0 | 1 | 2 | 3 |       | 16| 17|   | 20| 21|
//     +----+----+    +---+  +---+            +---+---+---+---+       +---+---+   +---+---+
//     | x2 | x3 |     (i,j) of its           | 4 | 5 | 6 | 7 |       | 18| 19|   | 22| 23|
//     +----+----+     plane, or pair         +---+---+---+---+       +---+---+   +---+---+
//      rows 2i, 2i+1  (i,j) of the           | 8 | 9 | 10| 11|        s x s samples from
//      columns        semi-planar one        +---+---+---+---+        row s i, column s j on
//      2j, 2j+1                              | 12| 13| 14| 15|
//                                            +---+---+---+---+   2s x 2s samples from row 2s i, column 2s j
//                                            on
//
// Memory traffic. A picture of W x H moves 1.5 W H samples once, whatever the layout: 3.1 MB at 1080p in 8
// bit, 6.2 MB in 10. Threads next to each other should take positions next to each other (or runs of N), so
// that a warp's access to a row is contiguous:
//     read_positions<N>    N = 4 in two bytes, 8 in one: two luma loads and one chroma load (planar: two of
//                          half the size) of 16 bytes a thread; 512 contiguous bytes a warp and row
//     write_positions<N>   s = 2, one byte: N = 4 gives stores of 16 bytes, N = 1 of 4 (128 a warp, still
//                          whole sectors of 32)
// where addresses are multiples of the access; else sample by sample. Planes that do not start so, odd
// pitches and runs that pass the right edge take that way: slower, with the same result.
//
// What is guaranteed. For equal f32 values the codes written are those of csrc/pixels' reference, and the
// values read are its f32 values, to the last bit, for all formats of PictureFormat: each rounding of the
// reference is one operation here that no compiler may fuse (mul_rn, add_rn), and the division is an exact
// one. NaN gives code 0. Positions beyond the picture read its last row or column (before it: its first);
// what lies beyond the picture is never written, padding of rows included.
#pragma once

#include "cuda/device.cuh"
#include "pixels/cuda/device_picture.h"

#include <cmath>
#include <cstdint>
#include <cstring>

namespace clv::pixels::device {

// ---- arithmetic

/// Operations that round once: never part of a fused multiply-add that nobody wrote. (x86-64 has none unless
/// it is asked for; the host's side of this header is compiled without.)
CLV_HOST_DEVICE float mul_rn(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

CLV_HOST_DEVICE float add_rn(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fadd_rn(a, b);
#else
    return a + b;
#endif
}

CLV_HOST_DEVICE float fma_rn(float a, float b, float c) {
#ifdef __CUDA_ARCH__
    return __fmaf_rn(a, b, c);
#else
    return std::fmaf(a, b, c);
#endif
}

CLV_HOST_DEVICE float float_of_bits(std::uint32_t bits) {
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

/// (code - offset) / span - centre. No conversion of integers (a quarter of the rate or less) and no
/// division: a quotient times its remainder's correction is the rounded quotient when `inverse` is the
/// rounded 1/span (Markstein 1990; checked for every code and span that exist by check_cuda_pixels).
CLV_HOST_DEVICE float normalise(std::uint32_t code, const SampleScale &s) {
    const float n = add_rn(float_of_bits(0x4b000000u | code), -s.bias_in); // exact
    const float q = mul_rn(n, s.inverse);
    const float remainder = fma_rn(-q, s.span, n); // exact
    return add_rn(fma_rn(remainder, s.inverse, q), -s.centre);
}

/// Bits of 1 + rank/64, rank 0..63 being the sample's place in Bayer's order (planes.cpp). The rank's bits
/// are sums modulo 2 of bits of x and y, therefore bits(x ^ dx, y ^ dy) = bits(x, y) ^ rank_bits(dx, dy).
constexpr std::uint32_t threshold_one = 0x3f800000u;
CLV_HOST_DEVICE constexpr std::uint32_t rank_bits(std::uint32_t x, std::uint32_t y) {
    const std::uint32_t a = x ^ y;
    return ((a & 1u) << 5 | (a & 2u) << 2 | (a & 4u) >> 1 | (y & 1u) << 4 | (y & 2u) << 1 | (y & 4u) >> 2)
           << 17;
}
CLV_HOST_DEVICE std::uint32_t threshold_bits(int x, int y) {
    return threshold_one | rank_bits(static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y));
}

/// What a sample's value is rounded with at the place whose threshold_bits() are given. Without dither
/// format.threshold leaves 1.0 of the bits, and bias_out makes up for it.
CLV_HOST_DEVICE float rounding(const SampleScale &s, const SampleFormat &format, std::uint32_t bits) {
    return add_rn(s.bias_out, float_of_bits(bits & format.threshold)); // exact
}

/// The code for value x.
CLV_HOST_DEVICE std::uint32_t code_of(float x, float span, float rounding, float max_code) {
    const float t = fminf(fmaxf(add_rn(mul_rn(x, span), rounding), 0.0f), max_code); // NaN gives 0
    return static_cast<std::uint32_t>(static_cast<int>(t));
}

/// The sample for value x at a place, its code in position (`shift`).
CLV_HOST_DEVICE std::uint32_t quantise(float x, const SampleScale &s, const SampleFormat &format,
                                       std::uint32_t bits) {
    return code_of(x, s.span, rounding(s, format, bits), format.max_code) << format.shift;
}

// ---- runs of samples in memory

CLV_HOST_DEVICE constexpr int clamp_index(int i, int count) {
    return i < 0 ? 0 : i < count ? i : count - 1;
}

CLV_HOST_DEVICE bool is_aligned(const void *p, int to) {
    return (reinterpret_cast<std::uintptr_t>(p) & static_cast<std::uintptr_t>(to - 1)) == 0;
}

/// Bytes of an access: the largest power of two up to 16 that divides `bytes`.
constexpr int access_bytes(int bytes) {
    const int divides = bytes & -bytes;
    return divides < 16 ? divides : 16;
}

template <int Bytes>
struct Access;
template <>
struct Access<1> {
    using Type = unsigned char;
};
template <>
struct Access<2> {
    using Type = unsigned short;
};
template <>
struct Access<4> {
    using Type = unsigned int;
};
template <>
struct Access<8> {
    using Type = uint2;
};
template <>
struct Access<16> {
    using Type = uint4;
};

/// Samples (or elements of a tensor) in a row as they lie in memory, 4, 2 or 1 to a word.
template <typename Sample, int Count>
struct Run {
    static constexpr int size = static_cast<int>(sizeof(Sample));
    static constexpr int bytes = Count * size;
    static constexpr int access = access_bytes(bytes);
    static constexpr int accesses = bytes / access;
    using Vector = typename Access<access>::Type;
    alignas(access < 4 ? 4 : access) std::uint32_t word[(bytes + 3) / 4];

    CLV_HOST_DEVICE std::uint32_t operator[](int k) const {
        return word[k * size / 4] >> (8 * (k * size % 4)) & (0xffffffffu >> (32 - 8 * size));
    }
    CLV_HOST_DEVICE void set(int k, std::uint32_t sample) { // words start as 0, each sample is set once
        word[k * size / 4] |= sample << (8 * (k * size % 4));
    }

    /// From an address that is a multiple of `access`. Not for memory that the same kernel writes.
    CLV_HOST_DEVICE void load(const std::uint8_t *from) {
#pragma unroll
        for (int k = 0; k < accesses; k++) {
            const Vector v = __ldg(reinterpret_cast<const Vector *>(from) + k);
            if constexpr (access >= 4) {
                memcpy(word + k * (access / 4), &v, sizeof v);
            } else {
                if (k * access % 4 == 0)
                    word[k * access / 4] = 0;
                word[k * access / 4] |= static_cast<std::uint32_t>(v) << (8 * (k * access % 4));
            }
        }
    }

    CLV_HOST_DEVICE void store(std::uint8_t *to) const {
#pragma unroll
        for (int k = 0; k < accesses; k++) {
            Vector v;
            if constexpr (access >= 4)
                memcpy(&v, word + k * (access / 4), sizeof v);
            else
                v = static_cast<Vector>(word[k * access / 4] >> (8 * (k * access % 4)));
            reinterpret_cast<Vector *>(to)[k] = v;
        }
    }
};

template <typename Sample>
CLV_HOST_DEVICE std::uint32_t load_sample(const std::uint8_t *row, int x) {
    return reinterpret_cast<const Sample *>(row)[x];
}

/// `Count` samples into a row of `width` from column x on; those beyond its end are dropped.
template <typename Sample, int Count>
CLV_HOST_DEVICE void store_run(std::uint8_t *row, int x, int width, const Run<Sample, Count> &run) {
    using R = Run<Sample, Count>;
    std::uint8_t *const to = row + static_cast<std::int64_t>(x) * static_cast<int>(sizeof(Sample));
    if (x + Count <= width && is_aligned(to, R::access)) {
        run.store(to);
        return;
    }
#pragma unroll
    for (int k = 0; k < Count; k++)
        if (x + k < width)
            reinterpret_cast<Sample *>(to)[k] = static_cast<Sample>(run[k]);
}

template <typename Byte>
CLV_HOST_DEVICE Byte *plane_row(const BasicDevicePicture<Byte> &picture, int plane, int y) {
    return picture.plane[plane] + y * picture.pitch[plane];
}

// ---- reading

/// Samples of one byte are codes.
template <typename Sample>
CLV_HOST_DEVICE std::uint32_t code_in(std::uint32_t sample, const SampleFormat &format) {
    return sizeof(Sample) == 1 ? sample : sample >> format.shift;
}

/// The six codes of position (i, j), for any i and j: edge samples are repeated beyond the picture.
template <typename Sample, bool SemiPlanar>
CLV_HOST_DEVICE void read_code(const SourcePicture &p, int i, int j, std::uint32_t (&code)[6]) {
    const int left = clamp_index(2 * j, p.width);
    const int right = clamp_index(2 * j + 1, p.width);
    const std::uint8_t *const top = plane_row(p, 0, clamp_index(2 * i, p.height));
    const std::uint8_t *const bottom = plane_row(p, 0, clamp_index(2 * i + 1, p.height));
    const int line = clamp_index(i, p.chroma_height);
    const int column = clamp_index(j, p.chroma_width);
    const std::uint8_t *const u = plane_row(p, 1, line);
    code[0] = load_sample<Sample>(top, left);
    code[1] = load_sample<Sample>(top, right);
    code[2] = load_sample<Sample>(bottom, left);
    code[3] = load_sample<Sample>(bottom, right);
    code[4] = load_sample<Sample>(u, SemiPlanar ? 2 * column : column);
    code[5] = SemiPlanar ? load_sample<Sample>(u, 2 * column + 1)
                         : load_sample<Sample>(plane_row(p, 2, line), column);
#pragma unroll
    for (int c = 0; c < 6; c++)
        code[c] = code_in<Sample>(code[c], p.format);
}

/// Codes of positions (i, j) to (i, j + N - 1), N a power of two up to 8, for any i and j. The loads are as
/// wide as N allows when j is a multiple of N, all positions lie in the picture and the planes' addresses
/// fit.
template <typename Sample, bool SemiPlanar, int N>
CLV_HOST_DEVICE void read_codes(const SourcePicture &p, int i, int j, std::uint32_t (&code)[N][6]) {
    static_assert(N == 1 || N == 2 || N == 4 || N == 8);
    using Luma = Run<Sample, 2 * N>;
    using Chroma = Run<Sample, SemiPlanar ? 2 * N : N>;
    constexpr int size = static_cast<int>(sizeof(Sample));
    const std::int64_t luma_at = static_cast<std::int64_t>(2 * j) * size;
    const std::int64_t chroma_at = (SemiPlanar ? 2 : 1) * static_cast<std::int64_t>(j) * size;
    const int line = clamp_index(i, p.chroma_height);
    const std::uint8_t *const top = plane_row(p, 0, clamp_index(2 * i, p.height)) + luma_at;
    const std::uint8_t *const bottom = plane_row(p, 0, clamp_index(2 * i + 1, p.height)) + luma_at;
    const std::uint8_t *const u = plane_row(p, 1, line) + chroma_at;
    const std::uint8_t *const v = SemiPlanar ? u : plane_row(p, 2, line) + chroma_at;

    if (j >= 0 && 2 * (j + N) <= p.width && is_aligned(top, Luma::access) &&
        is_aligned(bottom, Luma::access) && is_aligned(u, Chroma::access) && is_aligned(v, Chroma::access)) {
        Luma row[2];
        Chroma chroma[SemiPlanar ? 1 : 2];
        row[0].load(top); // all in flight before the first is used
        row[1].load(bottom);
        chroma[0].load(u);
        if constexpr (!SemiPlanar)
            chroma[1].load(v);
#pragma unroll
        for (int n = 0; n < N; n++) {
#pragma unroll
            for (int c = 0; c < 4; c++)
                code[n][c] = code_in<Sample>(row[c / 2][2 * n + c % 2], p.format);
#pragma unroll
            for (int c = 0; c < 2; c++)
                code[n][4 + c] = code_in<Sample>(
                    SemiPlanar ? chroma[0][2 * n + c] : chroma[SemiPlanar ? 0 : c][n], p.format);
        }
        return;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
        read_code<Sample, SemiPlanar>(p, i, j + n, code[n]);
}

/// The values of these positions.
template <typename Sample, bool SemiPlanar, int N>
CLV_HOST_DEVICE void read_positions(const SourcePicture &p, int i, int j, float (&x)[N][6]) {
    std::uint32_t code[N][6];
    read_codes<Sample, SemiPlanar, N>(p, i, j, code);
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int c = 0; c < 6; c++)
            x[n][c] = normalise(code[n][c], c < 4 ? p.format.luma : p.format.chroma);
}

/// The six values of one position.
template <typename Sample, bool SemiPlanar>
CLV_HOST_DEVICE void read_position(const SourcePicture &p, int i, int j, float (&x)[6]) {
    read_positions<Sample, SemiPlanar, 1>(p, i, j, reinterpret_cast<float(&)[1][6]>(x));
}

// ---- writing

/// N neighbours from (i, j) on, Scale 1..4, i and j not negative: row r of their blocks of luma, x[n][c]
/// being the values of column c. What lies beyond the picture is dropped. The stores are as wide as N allows
/// where the planes' addresses fit.
template <typename Sample, int Scale, int N>
CLV_HOST_DEVICE void write_luma_row(const TargetPicture &p, int i, int j, int r,
                                    const float (&x)[N][2 * Scale]) {
    constexpr int side = 2 * Scale;
    constexpr bool power_of_two = (side & (side - 1)) == 0; // column + c is column ^ c
    const SampleFormat &f = p.format;
    const int y = side * i + r;
    if (y >= p.height)
        return;
    Run<Sample, side *N> run = {};
#pragma unroll
    for (int n = 0; n < N; n++) {
        const int column = side * (j + n);
        const std::uint32_t first = threshold_bits(column, y);
#pragma unroll
        for (int c = 0; c < side; c++)
            run.set(side * n + c, quantise(x[n][c], f.luma, f,
                                           power_of_two ? first ^ rank_bits(static_cast<std::uint32_t>(c), 0)
                                                        : threshold_bits(column + c, y)));
    }
    store_run<Sample>(plane_row(p, 0, y), side * j, p.width, run);
}

/// The same of both chroma planes: x[n][c] of U, then x[n][Scale + c] of V.
template <typename Sample, bool SemiPlanar, int Scale, int N>
CLV_HOST_DEVICE void write_chroma_row(const TargetPicture &p, int i, int j, int r,
                                      const float (&x)[N][2 * Scale]) {
    constexpr int planes = SemiPlanar ? 1 : 2;
    constexpr int per_place = SemiPlanar ? 2 : 1;
    const SampleFormat &f = p.format;
    const int y = Scale * i + r;
    if (y >= p.chroma_height)
        return;
    Run<Sample, Scale * per_place * N> run[planes] = {};
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int c = 0; c < Scale; c++) {
            const std::uint32_t bits = threshold_bits(Scale * (j + n) + c, y);
            const std::uint32_t u = quantise(x[n][c], f.chroma, f, bits);
            const std::uint32_t v = quantise(x[n][Scale + c], f.chroma, f, bits);
            const int place = (Scale * n + c) * per_place;
            run[0].set(place, u);
            if constexpr (SemiPlanar)
                run[0].set(place + 1, v);
            else
                run[1].set(place, v);
        }
#pragma unroll
    for (int plane = 0; plane < planes; plane++)
        store_run<Sample>(plane_row(p, 1 + plane, y), per_place * Scale * j, per_place * p.chroma_width,
                          run[plane]);
}

/// All rows: 6 s^2 values a position, in the order of the net's channels.
template <typename Sample, bool SemiPlanar, int Scale, int N>
CLV_HOST_DEVICE void write_positions(const TargetPicture &p, int i, int j,
                                     const float (&x)[N][6 * Scale * Scale]) {
    constexpr int side = 2 * Scale;
    float row[N][side];
#pragma unroll
    for (int r = 0; r < side; r++) {
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int c = 0; c < side; c++)
                row[n][c] = x[n][side * r + c];
        write_luma_row<Sample, Scale, N>(p, i, j, r, row);
    }
#pragma unroll
    for (int r = 0; r < Scale; r++) {
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int c = 0; c < side; c++)
                row[n][c] = x[n][side * side + c / Scale * Scale * Scale + Scale * r + c % Scale];
        write_chroma_row<Sample, SemiPlanar, Scale, N>(p, i, j, r, row);
    }
}

/// One position: a 2s x 2s block of luma and an s x s block of each chroma plane.
template <typename Sample, bool SemiPlanar, int Scale>
CLV_HOST_DEVICE void write_position(const TargetPicture &p, int i, int j,
                                    const float (&x)[6 * Scale * Scale]) {
    write_positions<Sample, SemiPlanar, Scale, 1>(p, i, j,
                                                  reinterpret_cast<const float(&)[1][6 * Scale * Scale]>(x));
}

// ---- what nets in fp16 keep

/// A position as one block of eight halves, the last two zero: 16 bytes as activations lie in memory.
CLV_DEVICE uint4 block_of_halves(const float (&x)[6]) {
    uint4 out = make_uint4(0, 0, 0, 0);
    const __half2 pair[3] = {__floats2half2_rn(x[0], x[1]), __floats2half2_rn(x[2], x[3]),
                             __floats2half2_rn(x[4], x[5])};
    memcpy(&out, pair, sizeof pair);
    return out;
}

} // namespace clv::pixels::device
