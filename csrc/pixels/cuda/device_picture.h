// SPDX-License-Identifier: BSD-2-Clause
//
// What a kernel has to know of a 4:2:0 picture in device memory: plain structs that are made on the host and
// travel in a kernel's parameters. The functions that read and write through them are in pixels.cuh.
#pragma once

#include <cstdint>

#include "pixels/pixels.h"

namespace clv::pixels::device {

/// The arithmetic of one kind of sample, luma or chroma. x is the normalised value.
///     in    x = (code - offset) / span - centre             (three roundings, those of the host's reference)
///     out   code = clamp(floor(x * span + (offset + centre * span + threshold)), 0, max_code)
struct SampleScale {
    float bias_in;  ///< 2^23 + offset: the bits 0x4b000000 | code are 2^23 + code
    float span;     ///< codes to a unit
    float inverse;  ///< 1 / span, rounded
    float centre;   ///< 1/2 for luma, 0 for chroma
    float bias_out; ///< offset + centre * span + what is missing from SampleFormat's threshold; exact
};

/// Of a picture: everything but its planes.
struct SampleFormat {
    SampleScale luma;
    SampleScale chroma;
    float max_code;          ///< 2^bit_depth - 1
    std::int32_t shift;      ///< from a sample down to its code: 6 for p010
    std::uint32_t threshold; ///< of a threshold's bits (pixels.cuh), those that count: none without dither
    std::int32_t two_bytes;  ///< 1: samples are uint16_t, 0: uint8_t
    std::int32_t semi_planar;
};

/// A picture in device memory. Pitches are in bytes and not negative; neither they nor the pointers need any
/// alignment beyond that of a sample, but those that are multiples of 16 make the fastest accesses.
template <typename Byte>
struct BasicDevicePicture {
    Byte *plane[3]; ///< plane[2] is null when semi-planar
    std::int64_t pitch[3];
    std::int32_t width, height; ///< in luma samples
    std::int32_t chroma_width, chroma_height;
    SampleFormat format;
};
using SourcePicture = BasicDevicePicture<const std::uint8_t>;
using TargetPicture = BasicDevicePicture<std::uint8_t>;

/// Which of the four instantiations of a kernel a picture needs: 2 * two_bytes + semi_planar.
constexpr int kind_count = 4;
inline int kind_of(const PictureFormat &format) {
    return 2 * (format.bit_depth > 8) + (format.semi_planar ? 1 : 0);
}

/// Throws Error(CLV_ERR_INVALID_ARGUMENT) for bit depths outside of 8..16.
SampleFormat sample_format(const PictureFormat &format, Dither dither);

/// `picture`'s planes are addresses in device memory. Throws Error(CLV_ERR_INVALID_ARGUMENT) for what
/// the device cannot take: sizes outside of 1..2^20, bit depths outside of 8..16, a missing plane, a negative
/// stride, one shorter than a row, two-byte samples at an odd address.
SourcePicture source_picture(const PictureFormat &format, const ConstPicture &picture);
TargetPicture target_picture(const PictureFormat &format, const Picture &picture, Dither dither);

/// The same of the luma plane alone, with values from 0 on as luma_to_tensor() has them; chroma planes may
/// be missing.
SourcePicture source_luma(const PictureFormat &format, const ConstPicture &picture);
TargetPicture target_luma(const PictureFormat &format, const Picture &picture, Dither dither);

} // namespace clv::pixels::device
