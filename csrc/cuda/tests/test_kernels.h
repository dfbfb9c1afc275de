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

/// One warp multiplies A (16 x depth) with B (depth x 8), halves in rows, through shared memory.
struct MatrixParams {
    const uint16_t *a, *b;
    float *d;
    int depth; // 8 or 16
};

/// Every collective, its result a thread.
struct CollectiveParams {
    uint32_t *out; // [kCollectives][threads]
};
inline constexpr int kCollectives = 16;

struct CopyParams {
    const uint32_t *from;
    uint32_t *to;
    int words;
};

/// What goes wrong; see test_kernels.cu.
struct WrongParams {
    uint32_t *memory;
    int kind, offset;
};

} // namespace clv::cuda::test
