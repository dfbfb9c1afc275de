// SPDX-License-Identifier: BSD-2-Clause
// What the stand-alone kernels of pixels.cu take.
#pragma once

#include <cstddef>
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

/// Positions of a run, by the bytes of an element: 16 bytes of a tensor's row, or of a picture's where its
/// rows are longer.
constexpr int unpack_run(std::size_t element_bytes) {
    return 16 / static_cast<int>(element_bytes);
}
constexpr int pack_run(int scale, std::size_t element_bytes) {
    return scale == 1 ? unpack_run(element_bytes) : scale == 2 ? 4 : 2;
}

} // namespace clv::pixels::device
