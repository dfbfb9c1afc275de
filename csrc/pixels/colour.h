// SPDX-License-Identifier: BSD-2-Clause
//
// For nets that do not work on 4:2:0 itself: pictures <-> planar RGB, and the chroma planes of luma nets.
// The arithmetic is zimg's; graphs are built once, in the constructors, and then run frame after frame.
// Picture data of any stride and alignment is copied row by row into small aligned rings, never as a whole
// picture.
//
// Constructors throw std::runtime_error (zimg refuses) or std::invalid_argument (sizes) with a sentence;
// so do the conversions. Objects share nothing: any number of them, each used by one thread at a time.
#pragma once

#include "pixels.h"

#include <memory>

namespace clv::pixels {

/// 4:2:0 pictures -> [3, tensor_height, tensor_width] f32, planes R, G, B, 0..1 for legal colours, and back.
///
/// Matrix, range and chroma site of the format are honoured; transfer curve and primaries are not touched.
/// Chroma is resampled with Catmull-Rom's cubic. Codes beyond the legal range give values beyond 0..1:
/// nothing is clipped on the way in. On the way back NaN counts as 0, values are limited to -1..2 (so that
/// the arithmetic is defined for infinities), and codes to 0..2^b-1.
class RgbConverter {
public:
    /// `format` is that of the input pictures, tensor_* the padded size (>= the picture's), `scale` the
    /// net's.
    RgbConverter(const PictureFormat &format, int tensor_width, int tensor_height, int scale, Dither dither);
    ~RgbConverter();
    RgbConverter(RgbConverter &&) noexcept;
    RgbConverter &operator=(RgbConverter &&) noexcept;

    /// The input format with scale times the size: that of the pictures from_tensor writes.
    const PictureFormat &output_format() const;

    /// Positions beyond the picture get its last row or column.
    void to_tensor(const ConstPicture &picture, float *tensor);

    /// tensor: [3, scale * tensor_height, scale * tensor_width]; what lies beyond the picture is dropped.
    /// to_tensor and from_tensor use different state: two threads may run them at the same time.
    void from_tensor(const float *tensor, const Picture &picture);

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// 4:2:0 pictures -> [3, height, width] f32 of any other size, planes R, G, B, 0..1 for legal colours: what
/// nets look at that judge a picture as a whole. The picture is stretched over the tensor; a triangle filter
/// as wide as the step averages where it shrinks. Matrix, range and chroma site are honoured.
class RgbScaler {
public:
    /// `width` and `height` are the tensor's.
    RgbScaler(const PictureFormat &format, int width, int height);
    ~RgbScaler();
    RgbScaler(RgbScaler &&) noexcept;
    RgbScaler &operator=(RgbScaler &&) noexcept;

    void to_tensor(const ConstPicture &picture, float *tensor);

private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The chroma planes at `scale` times the size (1..4), by Lanczos (3 lobes), keeping the chroma site where it
/// is: a left-sited chroma sample stays level with the left luma column of the bigger picture's 2x2 block.
class ChromaScaler {
public:
    ChromaScaler(const PictureFormat &format, int scale);
    ~ChromaScaler();
    ChromaScaler(ChromaScaler &&) noexcept;
    ChromaScaler &operator=(ChromaScaler &&) noexcept;

    const PictureFormat &output_format() const;

    /// Reads and writes chroma planes only: data[0] may be null.
    void scale(const ConstPicture &from, const Picture &to);

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace clv::pixels
