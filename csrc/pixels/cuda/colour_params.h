// SPDX-License-Identifier: BSD-2-Clause
// What the kernels of rgb.cu and chroma.cu take.
#pragma once

#include <cstdint>

#include "pixels/cuda/device_picture.h"
#include "pixels/cuda/tensor_params.h"

namespace clv::pixels::device {

/// value = code * scale + offset, or back: code = value * scale + offset.
struct Linear {
    float scale, offset;
};

/// Weights of the cubic along one axis, by the parity of the luma position: position 2c + parity takes the
/// chroma samples c - 2 + parity to c + 1 + parity.
struct UpWeights {
    float weight[2][4];
};

/// The same the other way: chroma sample c takes the luma positions 2c - 3 to 2c + 4.
struct DownWeights {
    float weight[8];
};

struct UnpackRgbParams { ///< picture -> R'G'B'
    SourcePicture picture;
    BasicDeviceTensor<void> tensor;
    Linear luma, chroma;
    float matrix[3][3]; ///< rows R', G', B' of Y', Cb, Cr
    UpWeights across, down;
};

struct PackRgbParams { ///< R'G'B' -> picture
    BasicDeviceTensor<const void> tensor;
    TargetPicture picture;
    Linear luma, chroma;
    float matrix[3][3]; ///< rows Y', Cb, Cr of R', G', B'
    DownWeights across, down;
    std::int32_t dither; ///< 1: ordered
};

/// A block of 256 threads makes a tile of luma positions and the chroma that goes with it.
constexpr int rgb_columns = 64;
constexpr int rgb_rows = 32;
constexpr int rgb_threads = 256;

/// Floats in shared memory. Unpacking: both chroma planes as values, 2 samples more on each side, and the
/// same after the step across. Packing: both chroma planes at luma's size with what the filter reaches
/// beyond (4 columns on each side, 3 rows above and 3 below), and the same after the step down.
constexpr int unpack_chroma_columns = rgb_columns / 2 + 4;
constexpr int unpack_chroma_rows = rgb_rows / 2 + 4;
constexpr int unpack_rgb_shared = 4 * 2 * unpack_chroma_rows * (unpack_chroma_columns + rgb_columns);
constexpr int pack_chroma_columns = rgb_columns + 8;
constexpr int pack_chroma_rows = rgb_rows + 6;
constexpr int pack_rgb_shared = 4 * 2 * pack_chroma_columns * (pack_chroma_rows + rgb_rows / 2);

/// One axis of a Lanczos resampler: output i is the sum over t of weight[taps i + t] * input[first[i] + t].
constexpr int lanczos_taps = 6;
struct ResampleAxis {
    const std::int32_t *first;
    const std::int16_t *weight; ///< 1 is 2^14
};

struct ScaleChromaParams { ///< chroma planes -> chroma planes of 2 to 4 times the size
    SourcePicture from;
    TargetPicture to;
    ResampleAxis across, down;
    std::int32_t max_value; ///< of the 16 bits that are worked in
};

/// A tile of chroma positions of the output, and the most samples of the input that it takes (scale 2).
constexpr int chroma_columns = 64;
constexpr int chroma_rows = 32;
constexpr int chroma_threads = 256;
constexpr int chroma_columns_in = chroma_columns / 2 + lanczos_taps + 2;
constexpr int chroma_rows_in = chroma_rows / 2 + lanczos_taps + 2;
constexpr int scale_chroma_shared = 2 * 2 * chroma_rows_in * (chroma_columns_in + chroma_columns);

} // namespace clv::pixels::device
