// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace clv::cuda::test {

struct ScaleParams {
    const float *from;
    float *to;
    int count;
    float by;
};

/// One warp multiplies A (16 x depth) with B (depth x 8) and adds D, all in rows; by way of shared memory.
struct MatrixParams {
    const uint16_t *a, *b; // halves
    float *d;
    int depth; // 8 or 16
};

/// What every thread got from every collective, [kCollectives][threads of the block].
struct CollectiveParams {
    uint32_t *out;
};
inline constexpr int kCollectives = 17;

/// Four threads of a block of kCopyThreads bring each row; the sum of its words goes out. Rows come two
/// ahead.
struct CopyParams {
    const uint32_t *from;
    uint32_t *sums;
    int rows; // of kCopyWords words; a row that is not there counts as zeros
};
inline constexpr int kCopyThreads = 64, kCopyWords = 256;

/// Sums of integers over a grid with every atomic operation: [0] sum, [1] largest, [2] smallest, [3] bits,
/// [4] the number of blocks that came, by the last one of them.
struct AtomicParams {
    uint32_t *out;
    float *sum;
};

/// Kernels that are wrong, to see it found.
enum class Wrong : int {
    nothing,
    no_barrier, ///< reads what other warps write, without __syncthreads()
    no_warp_barrier,
    no_wait,        ///< reads a copy that may be under way
    half_a_barrier, ///< some threads never come to __syncthreads()
    half_a_warp,    ///< a collective that not all lanes of its mask come to
    matrix_outside, ///< reads a matrix behind the end of shared memory
    write_behind,   ///< writes `offset` words behind its memory
    read_behind,
    write_before,
    write_shared_behind,
    misaligned,
};
struct WrongParams {
    uint32_t *memory;
    const uint32_t *from;
    uint32_t offset;
    Wrong what;
};

} // namespace clv::cuda::test
