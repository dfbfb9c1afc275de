// SPDX-License-Identifier: BSD-2-Clause
// What the kernels of check_kernels.cu take: pixels.cuh's functions one by one, as fused kernels call them.
#pragma once

#include <cstdint>

#include "pixels/cuda/device_picture.h"

namespace clv::pixels::test {

constexpr int check_threads = 64;

struct NormaliseParams {
    device::SampleScale scale;
    float *to; ///< [count], of codes 0, 1, ...
    std::int32_t count;
};

/// Reads rows x columns positions from (top, left) on, which may lie outside of the picture, `run` at once.
struct ReadParams {
    device::SourcePicture picture;
    float *to; ///< [rows][columns][6]
    std::int32_t top, left, rows, columns, run;
};

/// Writes rows x columns positions, `run` at once, some of them beyond the picture.
struct WriteParams {
    device::TargetPicture picture;
    const float *from; ///< [rows][columns][6 s^2]
    std::int32_t rows, columns, run;
};

} // namespace clv::pixels::test
