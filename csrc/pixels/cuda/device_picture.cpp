// SPDX-License-Identifier: BSD-2-Clause

#include "pixels/cuda/device_picture.h"

#include <cstddef>
#include <string>

#include "core/error.h"

namespace clv::pixels::device {
namespace {

[[noreturn]] void refuse(const std::string &sentence) {
    throw Error(CLV_ERR_INVALID_ARGUMENT, sentence);
}

/// `less`: what a threshold of 1.0 (its bits without those of a rank) has to become.
SampleScale sample_scale(const PictureFormat &format, bool chroma, float centre, float less) {
    const int extra = format.bit_depth - 8;
    const int offset = chroma ? 128 << extra : format.full_range ? 0 : 16 << extra;
    const int span = format.full_range ? (1 << format.bit_depth) - 1 : (chroma ? 224 : 219) << extra;
    const auto from = static_cast<float>(offset);
    const auto width = static_cast<float>(span);
    // All sums are multiples of 1/128 below 2^17: exact.
    return {8388608.0F + from, width, 1.0F / width, centre, from + centre * width + less};
}

float missing(Dither dither) {
    return dither == Dither::ordered ? 1.0F / 128.0F - 1.0F : 0.5F - 1.0F;
}

void check_plane(int index, const std::uint8_t *data, std::ptrdiff_t stride, std::ptrdiff_t row_bytes,
                 int sample_bytes) {
    const std::string plane = "plane " + std::to_string(index) + " of the picture in device memory ";
    if (!data)
        refuse(plane + "has no data");
    if (stride < row_bytes)
        refuse(plane + "has a stride of " + std::to_string(stride) + " bytes where a row has " +
               std::to_string(row_bytes) + "; strides are not negative there");
    if (reinterpret_cast<std::uintptr_t>(data) % static_cast<unsigned>(sample_bytes) != 0 ||
        stride % sample_bytes != 0)
        refuse(plane + "has samples of two bytes at odd addresses; align its pointer and stride to 2");
}

template <typename Byte, typename Planes>
BasicDevicePicture<Byte> make(const PictureFormat &format, const Planes &picture, Dither dither,
                              bool luma_only) {
    constexpr int limit = 1 << 20;
    if (format.width < 1 || format.height < 1 || format.width > limit || format.height > limit)
        refuse("a picture of " + std::to_string(format.width) + "x" + std::to_string(format.height) +
               " cannot be converted; give 1x1 up to " + std::to_string(limit) + "x" + std::to_string(limit));
    const int bytes = format.bytes_per_sample();
    const int planes = luma_only ? 1 : format.semi_planar ? 2 : 3;
    BasicDevicePicture<Byte> out = {};
    out.format = sample_format(format, dither);
    if (luma_only)
        out.format.luma = sample_scale(format, false, 0.0F, missing(dither));
    for (int i = 0; i < planes; i++) {
        const int samples = i == 0               ? format.width
                            : format.semi_planar ? 2 * format.chroma_width()
                                                 : format.chroma_width();
        check_plane(i, picture.data[i], picture.stride[i], static_cast<std::ptrdiff_t>(samples) * bytes,
                    bytes);
        out.plane[i] = picture.data[i];
        out.pitch[i] = picture.stride[i];
    }
    out.width = format.width;
    out.height = format.height;
    out.chroma_width = format.chroma_width();
    out.chroma_height = format.chroma_height();
    return out;
}

} // namespace

SampleFormat sample_format(const PictureFormat &format, Dither dither) {
    if (format.bit_depth < 8 || format.bit_depth > 16)
        refuse("bit depth " + std::to_string(format.bit_depth) + " is not supported; give 8 to 16");
    return {.luma = sample_scale(format, false, 0.5F, missing(dither)),
            .chroma = sample_scale(format, true, 0.0F, missing(dither)),
            .max_code = static_cast<float>((1 << format.bit_depth) - 1),
            .shift = format.msb_aligned && format.bit_depth > 8 ? 16 - format.bit_depth : 0,
            .threshold = dither == Dither::ordered ? 0xffffffffU : 0x3f800000U,
            .two_bytes = format.bit_depth > 8 ? 1 : 0,
            .semi_planar = format.semi_planar ? 1 : 0};
}

SourcePicture source_picture(const PictureFormat &format, const ConstPicture &picture) {
    return make<const std::uint8_t>(format, picture, Dither::round, false);
}

TargetPicture target_picture(const PictureFormat &format, const Picture &picture, Dither dither) {
    return make<std::uint8_t>(format, picture, dither, false);
}

SourcePicture source_luma(const PictureFormat &format, const ConstPicture &picture) {
    return make<const std::uint8_t>(format, picture, Dither::round, true);
}

TargetPicture target_luma(const PictureFormat &format, const Picture &picture, Dither dither) {
    return make<std::uint8_t>(format, picture, dither, true);
}

} // namespace clv::pixels::device
