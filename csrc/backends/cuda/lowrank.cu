// SPDX-License-Identifier: BSD-2-Clause
//
// The pre-encoding net in one kernel: a block of threads reads a tile of the picture, computes all layers of
// it in shared memory and writes the picture.
//
// What each design has to move and to compute for a 1080p picture in nv12, three layers of 12 channels, and
// the time that this takes an H100 at least (3.35 TB/s of memory; 132 multiprocessors at 1.755 GHz, a cycle
// of which is 1024 multiply-adds with mma.sync, half of what wgmma does, and 128 bytes of shared memory):
//
//                                          device memory          multiply-adds        shared memory
//     the net itself                       3.1 MB in, 3.1 out     1.34 G
//                                          1.9 us                 5.7 us
//     layer by layer, as general           105 MB: tensors of     2.39 G: channels
//       runtimes do; 5 launches              8, 16, 16, 8 halves    are multiples of 8
//                                          31 us                  10.1 us
//     this: 512 tiles of 60 x 17           6.2 MB, 7.9 from L2    2.85 G: layers       320 MB, 40 of them
//       positions in 1.94 rounds of 264      as borders overlap     overlap              weights, from L1
//                                          1.9 us                 12.0 us              10.8 us
//
// So tensor cores set the floor; shared memory and the issue of instructions (290 of a warp for 16 positions:
// 10 us) come close behind; device memory, all that a net so small should wait for, is not felt. 12 us are
// 80,000 pictures a second, of which the aim of 10,000 asks an eighth. (Nothing of this was measured yet.)
//
// What a Hopper-only kernel would gain: the buffers below are laid out as wgmma's descriptors have it (no
// swizzle, 128 bytes from eight positions to the next), 64 columns are its M, and a tap is a start address 16
// bytes on; with the taps of a column side by side (N = 48) its floor is 7 us. But the issue of instructions
// stays at 8 us, and one source for all chips is worth more than the difference.
//
// Products. A position's sums of a layer are a product: rows (M) are 16 positions next to each other, depth
// (K) is taps x channels, columns (N) are output channels, 12 being padded to two tiles of eight. Activations
// lie in blocks of eight channels, 16 bytes a position, so that any 8 neighbours are 128 contiguous bytes,
// which ldmatrix reads and a fragment's sums are written in without a bank conflict; a tap is an address 16
// bytes on.
//
// N is so small that operands, not products, would be what shared memory is busy with: 9 matrices for 18
// products. Therefore a warp walks down a column of 16 positions and reads each row once, for the three rows
// of output that it is part of, whose sums are alive at the same time:
//
//         row i of the layer before, as matrices of       sums of row i - 2  += row i * taps below   -> done
//         its three taps: 3 x ldmatrix                    sums of row i - 1  += row i * taps between
//                                                         sums of row i      += row i * taps above
//
// which is 3 matrices for 18 products. Weights are fragments in registers, 36 of them for the widest layer; a
// layer's are fetched (9.7 KB in all, which stay in L1) before the barrier in front of it.
//
// The picture is kept as (code - middle) / 2^bits: exact in a half for 8 and 10 bits, so that the first layer
// has exact operands (the weights take the scale) and the last one finds there, without another read, what it
// has to add to. Zero padding is the middle code, as values are centred.
//
// A block has a tile of its own (a plain grid). A persistent one would save little, as registers cannot hold
// all layers' weights from tile to tile, and would take the multiprocessors from other streams for a whole
// picture. Tiles are equal; how many rows they have is chosen for the device and the size of the picture, so
// that the last round of blocks is full (choose_tiling). Where shared memory allows, two blocks share a
// multiprocessor, so that one computes while the other waits for its picture; else one has both's threads.
#include "backends/cuda/lowrank_layout.h"
#include "cuda/device.cuh"
#include "cuda/mma.cuh"
#include "pixels/cuda/pixels.cuh"

namespace clv::cuda::lowrank {
namespace {

namespace device = pixels::device;

// ---- a column of 16 positions

/// A row of the picture as operands: one of 16 for the taps left and middle, one of 8 for the right one.
struct PictureRow {
    uint32_t pair[4];
    uint32_t right[2];

    static CLV_DEVICE int lane_offset(int lane) { return (lane % 16 + lane / 16) * kPosition; }
    CLV_DEVICE void load(const unsigned char *at) {
        ldmatrix_x4(pair, at);
        ldmatrix_x2(right, at + 2 * kPosition);
    }
    template <int Tiles, int Dy, int Dx>
    CLV_DEVICE void multiply(float (&sums)[4], const uint32_t *weights, int tile) const {
        const uint32_t *const w = weights + (Dy * Tiles + tile) * 3;
        if constexpr (Dx == 0)
            mma_m16n8k16(sums, pair, {w[0], w[1]});
        else if constexpr (Dx == 1)
            mma_m16n8k8(sums, right, w[2]);
    }
};

/// A row of an inner layer: 16 channels, three taps.
struct HiddenRow {
    uint32_t tap[3][4];

    static CLV_DEVICE int lane_offset(int lane) { return lane % 16 * kPosition + lane / 16 * kBlockRow; }
    CLV_DEVICE void load(const unsigned char *at) {
#pragma unroll
        for (int dx = 0; dx < 3; dx++)
            ldmatrix_x4(tap[dx], at + dx * kPosition);
    }
    template <int Tiles, int Dy, int Dx>
    CLV_DEVICE void multiply(float (&sums)[4], const uint32_t *weights, int tile) const {
        const uint32_t *const w = weights + ((Dy * 3 + Dx) * Tiles + tile) * 2;
        mma_m16n8k16(sums, tap[Dx], {w[0], w[1]});
    }
};

/// Fragments of a layer's weights and what its sums start from.
template <int Layer, int Layers>
struct Weights {
    static constexpr int tiles = Layer == Layers ? 1 : 2;
    static constexpr int chunks = chunks_of(Layer, Layers);
    uint32_t word[4 * chunks];
    float2 bias[tiles];

    CLV_DEVICE void load(const Params &p, int lane) {
        const uint4 *const from =
            static_cast<const uint4 *>(p.weights) + first_chunk(Layer, Layers) * 32 + lane;
#pragma unroll
        for (int k = 0; k < chunks; k++) {
            const uint4 v = __ldg(from + 32 * k);
            word[4 * k] = v.x;
            word[4 * k + 1] = v.y;
            word[4 * k + 2] = v.z;
            word[4 * k + 3] = v.w;
        }
        const float2 *const b =
            reinterpret_cast<const float2 *>(p.bias + (Layer - 1) * kMaxChannels) + lane % 4;
#pragma unroll
        for (int t = 0; t < tiles; t++)
            bias[t] = __ldg(b + 4 * t);
    }
};

/// Sums of 16 positions: lane 4g + t has channels 8 tile + 2t, + 1 of positions g (d[0], d[1]) and g + 8.
template <int Tiles>
struct Sums {
    float d[Tiles][4];

    CLV_DEVICE void start(const float2 (&bias)[Tiles]) {
#pragma unroll
        for (int t = 0; t < Tiles; t++) {
            d[t][0] = d[t][2] = bias[t].x;
            d[t][1] = d[t][3] = bias[t].y;
        }
    }
};

/// sums[2 - dy] += row * taps of dy, for dy from First to Last. Neighbouring products go to different sums.
template <int Dx, int Dy, int Last, class Row, int Tiles>
CLV_DEVICE void multiply_taps(Sums<Tiles> (&sums)[3], const Row &row, const uint32_t *weights) {
#pragma unroll
    for (int t = 0; t < Tiles; t++)
        row.template multiply<Tiles, Dy, Dx>(sums[2 - Dy].d[t], weights, t);
    if constexpr (Dy < Last)
        multiply_taps<Dx, Dy + 1, Last>(sums, row, weights);
}

template <int First, int Last, class Row, int Tiles>
CLV_DEVICE void multiply(Sums<Tiles> (&sums)[3], const Row &row, const uint32_t *weights) {
    multiply_taps<0, First, Last>(sums, row, weights);
    multiply_taps<1, First, Last>(sums, row, weights);
    multiply_taps<2, First, Last>(sums, row, weights);
}

/// The row that is done goes, a new one comes. (Unrolled by three nothing moves.)
template <int Tiles>
CLV_DEVICE void rotate(Sums<Tiles> (&sums)[3], const float2 (&bias)[Tiles]) {
    sums[0] = sums[1];
    sums[1] = sums[2];
    sums[2].start(bias);
}

/// `count` rows of a layer, from `count` + 2 rows of the one before, `pitch` bytes apart from this lane's
/// address `from` on. finish(row, sums) takes each.
template <class Row, int Layer, int Layers, class Finish>
CLV_DEVICE void walk(const unsigned char *from, int pitch, int count, const Weights<Layer, Layers> &weights,
                     Finish &finish) {
    if (count < 1)
        return;
    const uint32_t *const w = weights.word;
    Sums<Weights<Layer, Layers>::tiles> sums[3];
    Row row;
    row.load(from);
    sums[1].start(weights.bias);
    sums[2].start(weights.bias);
    multiply<0, 0>(sums, row, w);

    rotate(sums, weights.bias);
    from += pitch;
    row.load(from);
    from += pitch;
    if (count == 1) {
        multiply<1, 1>(sums, row, w);
        row.load(from);
        rotate(sums, weights.bias);
        multiply<2, 2>(sums, row, w);
        finish(0, sums[0]);
        return;
    }
    multiply<0, 1>(sums, row, w);
    row.load(from);
    from += pitch;

#pragma unroll 3
    for (int i = 0; i < count - 2; i++) {
        rotate(sums, weights.bias);
        multiply<0, 2>(sums, row, w);
        row.load(from); // while the row above is finished
        from += pitch;
        finish(i, sums[0]);
    }

    rotate(sums, weights.bias);
    multiply<1, 2>(sums, row, w);
    row.load(from);
    finish(count - 2, sums[0]);
    rotate(sums, weights.bias);
    multiply<2, 2>(sums, row, w);
    finish(count - 1, sums[0]);
}

// ---- layers

/// What a thread is in its block.
struct Worker {
    int lane;
    int column; ///< the first of its warp's 16
    int part;   ///< of the rows
    int parts;

    CLV_DEVICE Worker() {
        const int warp = static_cast<int>(threadIdx.x) / 32;
        lane = static_cast<int>(threadIdx.x) % 32;
        column = warp % kGroups * kColumnsOfWarp;
        part = warp / kGroups;
        parts = static_cast<int>(blockDim.x) / kPartThreads;
    }
    CLV_DEVICE int first_of(int rows) const { return rows * part / parts; }
    CLV_DEVICE int end_of(int rows) const { return rows * (part + 1) / parts; }
};

struct Tile {
    int x; ///< of its first position in the tensor
    int y;
    int rows;
    unsigned char *shared;
};

CLV_DEVICE uint32_t bits_of(__half2 value) {
    const __half2_raw raw = value;
    return raw.x | static_cast<uint32_t>(raw.y) << 16;
}

/// LeakyReLU, then into the layer's buffer. What is not in the tensor becomes the next layer's zeros.
struct KeepHidden {
    unsigned char *to; ///< this lane's first values in row 0
    int first_row;     ///< of the tensor
    int height;
    uint32_t mask[2]; ///< of the columns of this lane's two positions
    float slope;

    CLV_DEVICE uint32_t activate(float a, float b) const {
        return bits_of(__floats2half2_rn(fmaxf(a, a * slope), fmaxf(b, b * slope)));
    }
    CLV_DEVICE void operator()(int row, const Sums<2> &sums) const {
        const bool inside = static_cast<unsigned>(first_row + row) < static_cast<unsigned>(height);
        const uint32_t left = inside ? mask[0] : 0;
        const uint32_t right = inside ? mask[1] : 0;
        unsigned char *const at = to + row * kHiddenRow;
#pragma unroll
        for (int t = 0; t < 2; t++) {
            *reinterpret_cast<uint32_t *>(at + t * kBlockRow) = activate(sums.d[t][0], sums.d[t][1]) & left;
            *reinterpret_cast<uint32_t *>(at + t * kBlockRow + 8 * kPosition) =
                activate(sums.d[t][2], sums.d[t][3]) & right;
        }
    }
};

/// Limit, strength, and what the picture was; then into the picture. Lane 4g + t has two neighbours of luma
/// (t = 0: above, t = 1: below) or U and V (t = 2) of positions g and g + 8. All of them do the same, with
/// other numbers. Of each two g, neighbours, one takes both's left positions and the other both's right ones,
/// which lie together in a row of the picture:
///
///     positions    0    1    2    3    4    5    6    7  |  8    9   10   11   12   13   14   15
///     g before     0    1    2    3    4    5    6    7  |  0    1    2    3    4    5    6    7
///     g behind     0    0    2    2    4    4    6    6  |  1    1    3    3    5    5    7    7
template <typename Sample, bool SemiPlanar>
class WritePicture {
public:
    CLV_DEVICE WritePicture(const Params &params, const Tile &tile, const Worker &worker, int first,
                            int columns)
        : p(params), row(tile.y + first) {
        const int g = worker.lane / 4;
        const int t = worker.lane % 4;
        chroma = t >= 2;
        odd = g % 2 == 1;
        scale = chroma ? p.out.format.chroma : p.out.format.luma;
        from_kept = p.from_kept[chroma ? 1 : 0];

        const int own = tile.x + worker.column + g;
        const uint32_t bits = device::threshold_bits(chroma ? own : 2 * own, 0);
        threshold[0] = bits; // those of g + 8 are the same
        threshold[1] = chroma ? bits : bits ^ device::rank_bits(1, 0);
        line_step = chroma ? 1 : 2;
        line = chroma ? row : 2 * row + t;
        turn(line);

        const int in_tile = worker.column + (odd ? g + 7 : g); // of the two positions behind
        column = (chroma && !SemiPlanar ? 1 : 2) * (tile.x + in_tile);
        width = !chroma ? p.out.width : SemiPlanar ? 2 * p.out.chroma_width : p.out.chroma_width;
        lines = t == 3 || in_tile >= columns ? 0 : chroma ? p.out.chroma_height : p.out.height;
        to = device::plane_row(p.out, chroma ? 1 : 0, line);
        step = line_step * p.out.pitch[chroma ? 1 : 0];
    }

    CLV_DEVICE void operator()(int i, const Sums<1> &sums, const unsigned char *kept) {
        const uint32_t left = pair(kept, sums.d[0][0], sums.d[0][1]);
        const uint32_t right = pair(kept + 8 * kPosition, sums.d[0][2], sums.d[0][3]);
        const uint32_t other = __shfl_xor_sync(0xffffffffu, odd ? left : right, 4);
        if (line < lines)
            store(odd ? other : left, odd ? right : other, i);
        line += line_step;
        to += step;
        if (p.dither != 0)
            turn(line);
    }

private:
    static constexpr int bits = 8 * static_cast<int>(sizeof(Sample));

    /// What the samples of a line are rounded with.
    CLV_DEVICE void turn(int y) {
        const uint32_t below = device::rank_bits(0, static_cast<uint32_t>(y));
#pragma unroll
        for (int k = 0; k < 2; k++)
            rounding[k] = device::rounding(scale, p.out.format, threshold[k] ^ below);
    }

    CLV_DEVICE uint32_t sample(float was, float change, float with) const {
        const float limited = fminf(fmaxf(change, -p.limit), p.limit);
        const float x = fmaf(limited, p.strength, was * from_kept);
        return device::code_of(x, scale.span, with, p.out.format.max_code);
    }
    /// Two samples next to each other.
    CLV_DEVICE uint32_t pair(const unsigned char *kept, float a, float b) const {
        const float2 from = __half22float2(*reinterpret_cast<const __half2 *>(kept));
        const uint32_t codes = sample(from.x, a, rounding[0]) | sample(from.y, b, rounding[1]) << bits;
        return sizeof(Sample) == 1 ? codes : codes << p.out.format.shift; // no code is wider than its sample
    }

    CLV_DEVICE void store(uint32_t first, uint32_t second, int i) const {
        if (!SemiPlanar && chroma) {
            constexpr uint32_t low = sizeof(Sample) == 1 ? 0xffu : 0xffffu;
            device::Run<Sample, 2> u = {}, v = {};
            u.set(0, first & low);
            u.set(1, second & low);
            v.set(0, first >> bits);
            v.set(1, second >> bits);
            device::store_run<Sample>(to, column, width, u);
            device::store_run<Sample>(device::plane_row(p.out, 2, row + i), column, width, v);
            return;
        }
        device::Run<Sample, 4> run;
        if constexpr (sizeof(Sample) == 1) {
            run.word[0] = first | second << 16;
        } else {
            run.word[0] = first;
            run.word[1] = second;
        }
        device::store_run<Sample>(to, column, width, run);
    }

    const Params &p;
    const int row; ///< of the tensor, where this warp begins
    bool chroma, odd;
    device::SampleScale scale;
    float from_kept;
    uint32_t threshold[2]; ///< bits of a pair's samples, were they in line 0
    float rounding[2];
    int column, width; ///< in samples of the plane
    int line, lines, line_step;
    uint8_t *to;
    int64_t step;
};

template <typename Sample, bool SemiPlanar>
struct FinishPicture {
    WritePicture<Sample, SemiPlanar> &write;
    const unsigned char *kept; ///< this lane's first values of the picture in row 0

    CLV_DEVICE void operator()(int i, const Sums<1> &sums) const { write(i, sums, kept + i * kPictureRow); }
};

/// (code - middle) / 2^bits, exact.
CLV_DEVICE float keep(const Params &p, uint32_t code, bool chroma) {
    const device::SampleScale &scale = chroma ? p.in.format.chroma : p.in.format.luma;
    const float n = device::add_rn(device::float_of_bits(0x4b000000u | code), -scale.bias_in);
    return fmaf(n, p.unit, -p.middle[chroma ? 1 : 0]);
}

/// The picture with its border, kRun positions a thread at a time.
template <int Layers, typename Sample, bool SemiPlanar>
CLV_DEVICE void read_picture(const Params &p, const Tile &tile) {
    constexpr int runs = kPicturePitch / kRun;
    const int count = rows_of(0, Layers, tile.rows) * runs;
    for (int k = static_cast<int>(threadIdx.x); k < count; k += static_cast<int>(blockDim.x)) {
        const int row = k / runs;
        const int column = k % runs * kRun;
        const int i = tile.y - Layers + row;
        const int j = tile.x - kLeft + column;
        uint4 kept[kRun] = {};
        if (i >= 0 && i < p.height && j > -kRun && j < p.width) {
            uint32_t code[kRun][6];
            device::read_codes<Sample, SemiPlanar, kRun>(p.in, i, j, code);
#pragma unroll
            for (int n = 0; n < kRun; n++) {
                float x[6];
#pragma unroll
                for (int c = 0; c < 6; c++)
                    x[c] = keep(p, code[n][c], c >= 4);
                const uint4 block = device::block_of_halves(x);
                const uint32_t mask = j + n >= 0 && j + n < p.width ? 0xffffffffu : 0;
                kept[n] = make_uint4(block.x & mask, block.y & mask, block.z & mask, 0);
            }
        }
        uint4 *const to = reinterpret_cast<uint4 *>(tile.shared + row * kPictureRow + column * kPosition);
#pragma unroll
        for (int n = 0; n < kRun; n++)
            to[n] = kept[n];
    }
}

template <int Layer, int Layers>
CLV_DEVICE const unsigned char *input_of(const Params &p, const Tile &tile, const Worker &worker, int row) {
    const unsigned char *const buffer = tile.shared + buffer_at(Layer - 1, Layers, p.rows);
    if constexpr (Layer == 1)
        return buffer + row * kPictureRow + (worker.column + kLeft - Layers) * kPosition +
               PictureRow::lane_offset(worker.lane);
    else
        return buffer + row * kHiddenRow + worker.column * kPosition + HiddenRow::lane_offset(worker.lane);
}

/// An inner layer.
template <int Layer, int Layers, class Row>
CLV_DEVICE void compute_hidden(const Params &p, const Tile &tile, const Worker &worker,
                               const Weights<Layer, Layers> &weights) {
    const int rows = rows_of(Layer, Layers, tile.rows);
    const int first = worker.first_of(rows);
    const int count = worker.end_of(rows) - first;
    const int g = worker.lane / 4;
    const int x = tile.x - (Layers - Layer) + worker.column + g;
    KeepHidden keep = {
        tile.shared + buffer_at(Layer, Layers, p.rows) + first * kHiddenRow +
            (worker.column + g) * kPosition + worker.lane % 4 * 4,
        tile.y - (Layers - Layer) + first,
        p.height,
        {x >= 0 && x < p.width ? 0xffffffffu : 0, x + 8 >= 0 && x + 8 < p.width ? 0xffffffffu : 0},
        p.slope};
    walk<Row>(input_of<Layer, Layers>(p, tile, worker, first), Layer == 1 ? kPictureRow : kHiddenRow, count,
              weights, keep);
}

template <int Layers, typename Sample, bool SemiPlanar>
CLV_DEVICE void compute_last(const Params &p, const Tile &tile, const Worker &worker,
                             const Weights<Layers, Layers> &weights) {
    const int first = worker.first_of(tile.rows);
    const int count = worker.end_of(tile.rows) - first;
    const unsigned char *const kept = tile.shared + (first + Layers) * kPictureRow +
                                      (worker.column + kLeft + worker.lane / 4) * kPosition +
                                      worker.lane % 4 * 4;
    WritePicture<Sample, SemiPlanar> write(p, tile, worker, first, tile_columns(Layers));
    FinishPicture<Sample, SemiPlanar> finish = {write, kept};
    walk<HiddenRow>(input_of<Layers, Layers>(p, tile, worker, first), kHiddenRow, count, weights, finish);
}

template <int Layers>
CLV_DEVICE void run_tile(const Params &p) {
    const int tile_index = static_cast<int>(blockIdx.x);
    Tile tile;
    tile.x = tile_index % p.tiles_across * tile_columns(Layers);
    tile.y = tile_index / p.tiles_across * p.rows;
    tile.rows = min(p.rows, p.height - tile.y);
    tile.shared = dynamic_shared();
    const Worker worker;

    switch (p.kind) {
    case 0:
        read_picture<Layers, uint8_t, false>(p, tile);
        break;
    case 1:
        read_picture<Layers, uint8_t, true>(p, tile);
        break;
    case 2:
        read_picture<Layers, uint16_t, false>(p, tile);
        break;
    default:
        read_picture<Layers, uint16_t, true>(p, tile);
        break;
    }
    {
        Weights<1, Layers> weights;
        weights.load(p, worker.lane);
        __syncthreads();
        compute_hidden<1, Layers, PictureRow>(p, tile, worker, weights);
    }
    if constexpr (Layers > 2) {
        Weights<2, Layers> weights;
        weights.load(p, worker.lane);
        __syncthreads();
        compute_hidden<2, Layers, HiddenRow>(p, tile, worker, weights);
    }
    if constexpr (Layers > 3) {
        Weights<3, Layers> weights;
        weights.load(p, worker.lane);
        __syncthreads();
        compute_hidden<3, Layers, HiddenRow>(p, tile, worker, weights);
    }
    Weights<Layers, Layers> weights;
    weights.load(p, worker.lane);
    __syncthreads();
    switch (p.kind) {
    case 0:
        compute_last<Layers, uint8_t, false>(p, tile, worker, weights);
        break;
    case 1:
        compute_last<Layers, uint8_t, true>(p, tile, worker, weights);
        break;
    case 2:
        compute_last<Layers, uint16_t, false>(p, tile, worker, weights);
        break;
    default:
        compute_last<Layers, uint16_t, true>(p, tile, worker, weights);
        break;
    }
}

} // namespace
} // namespace clv::cuda::lowrank

using clv::cuda::lowrank::Params;

CLV_KERNEL(clv_lowrank_2, Params, clv::cuda::lowrank::kMostThreads, 1) {
    clv::cuda::lowrank::run_tile<2>(p);
}

CLV_KERNEL(clv_lowrank_3, Params, clv::cuda::lowrank::kMostThreads, 1) {
    clv::cuda::lowrank::run_tile<3>(p);
}

CLV_KERNEL(clv_lowrank_4, Params, clv::cuda::lowrank::kMostThreads, 1) {
    clv::cuda::lowrank::run_tile<4>(p);
}
