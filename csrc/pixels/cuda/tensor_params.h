// SPDX-License-Identifier: BSD-2-Clause
// What the stand-alone kernels of pixels.cu take.
#pragma once

#include <cstdint>

#include "pixels/cuda/device_picture.h"

namespace clv::pixels::device {

/// One image of a batch in device memory, f32 or f16. Strides count elements.
template <typename Void>
struct BasicDeviceTensor {
    Void *data;
    std::int64_t row_stride, channel_stride;
    std::int32_t height, width;
};

struct UnpackPictureParams { ///< picture -> tensor
    SourcePicture picture;
    BasicDeviceTensor<void> tensor;
};

struct PackPictureParams { ///< tensor -> picture
    BasicDeviceTensor<const void> tensor;
    TargetPicture picture;
};

// A thread takes a run of positions, a block 32 runs of 8 rows, and blocks repeat where a grid cannot have
// more.
constexpr int runs_per_block = 32;
constexpr int rows_per_block = 8;
constexpr int block_threads = runs_per_block * rows_per_block;

/// Positions of a run: so many that a warp's access to a row has 128 bytes or more, and a thread's at
/// most 16.
constexpr int unpack_run = 4;
constexpr int pack_run(int scale) {
    return scale <= 2 ? 4 : 1;
}

} // namespace clv::pixels::device
