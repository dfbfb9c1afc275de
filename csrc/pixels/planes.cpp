// SPDX-License-Identifier: BSD-2-Clause
//
// Which row of which plane meets which rows of which channels: everything around the row kernels.
//
// Memory traffic at 1080p -> 4K (s = 2, 8 bit, f32):
//   space_to_depth   3.1 MB of picture read, 12.4 MB of tensor written
//   depth_to_space  49.8 MB of tensor read, 12.4 MB of picture written
// A tensor row is taken whole before the next: 24 channel rows of 3.8 KB are read once, four at a time and
// forward, and each picture row is written once, forward.

#include "kernels.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace clv::pixels {
namespace {

constexpr int dither_size = 8;
static_assert(bias_period % dither_size == 0);

// Bayer's matrix of order 3, by its recursion: bit-reversed interleave of (x ^ y) and y.
constexpr std::array<std::array<float, dither_size>, dither_size> make_thresholds() {
    std::array<std::array<float, dither_size>, dither_size> out{};
    for (int y = 0; y < dither_size; y++)
        for (int x = 0; x < dither_size; x++) {
            int rank = 0;
            for (int bit = 0; bit < 3; bit++)
                rank |= ((((x ^ y) >> bit) & 1) << (5 - 2 * bit)) | (((y >> bit) & 1) << (4 - 2 * bit));
            out[static_cast<std::size_t>(y)][static_cast<std::size_t>(x)] =
                (static_cast<float>(rank) + 0.5f) / 64.0f;
        }
    return out;
}
constexpr auto thresholds = make_thresholds();

// Off and span of one kind of sample, BT.601/709/2020 as in H.273.
struct Quantiser {
    float offset;
    float span;
    float max_code;
    int shift;
};

Quantiser quantiser(const PictureFormat &format, bool chroma) {
    const int extra = format.bit_depth - 8;
    const int max_code = (1 << format.bit_depth) - 1;
    const int shift = format.msb_aligned && format.bit_depth > 8 ? 16 - format.bit_depth : 0;
    int offset = chroma ? 128 << extra : 0;
    int span = max_code;
    if (!format.full_range) {
        offset = (chroma ? 128 : 16) << extra;
        span = (chroma ? 224 : 219) << extra;
    }
    return {static_cast<float>(offset), static_cast<float>(span), static_cast<float>(max_code), shift};
}

[[noreturn]] void refuse(const std::string &sentence) {
    throw std::invalid_argument(sentence);
}

std::string size_text(int width, int height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

void check_picture(const PictureFormat &format, const ConstPicture &picture, bool with_chroma) {
    constexpr int limit = 1 << 20;
    if (format.width < 1 || format.height < 1 || format.width > limit || format.height > limit)
        refuse("a picture of " + size_text(format.width, format.height) +
               " cannot be converted; give 1x1 up to " + size_text(limit, limit));
    if (format.bit_depth < 8 || format.bit_depth > 16)
        refuse("bit depth " + std::to_string(format.bit_depth) + " is not supported; give 8 to 16");
    const int planes = !with_chroma ? 1 : format.semi_planar ? 2 : 3;
    for (int p = 0; p < planes; p++)
        if (!picture.data[p])
            refuse("plane " + std::to_string(p) + " of the picture has no data");
}

void check_tensor(const ConstTensor &tensor, int channels, int row_begin, int row_end) {
    if (!tensor.data)
        refuse("the tensor has no data");
    if (tensor.channels != channels)
        refuse("the tensor has " + std::to_string(tensor.channels) + " channels where " +
               std::to_string(channels) + " are needed");
    if (row_begin < 0 || row_begin > row_end || row_end > tensor.height)
        refuse("rows " + std::to_string(row_begin) + " to " + std::to_string(row_end) +
               " are not in a tensor of " + size_text(tensor.width, tensor.height));
}

/// A position stands for luma_step x luma_step luma samples.
void check_cover(const ConstTensor &tensor, int luma_step, int width, int height) {
    const auto covers = [luma_step](int positions, int samples) {
        return static_cast<std::int64_t>(positions) * luma_step >= samples;
    };
    if (!covers(tensor.width, width) || !covers(tensor.height, height))
        refuse("a tensor of " + size_text(tensor.width, tensor.height) +
               " positions is too small for a picture of " + size_text(width, height));
}

ConstTensor read_only(const Tensor &t) {
    return {t.data, t.element, t.channels, t.height, t.width, t.row_stride, t.channel_stride};
}

std::ptrdiff_t element_size(Element element) {
    return element == Element::f32 ? 4 : 2;
}

template <typename Void>
Void *tensor_row(const BasicTensor<Void> &t, int channel, int row) {
    using Byte = std::conditional_t<std::is_const_v<Void>, const std::uint8_t, std::uint8_t>;
    const std::ptrdiff_t index = channel * t.channel_stride + row * t.row_stride;
    return static_cast<Byte *>(t.data) + index * element_size(t.element);
}

/// One picture row of `samples` samples, K to a position, into K tensor rows of `width` positions.
template <int K>
void unpack_padded(UnpackRow kernel, const std::uint8_t *src, int samples, int bytes, const Tensor &tensor,
                   int channel, int row, const UnpackParams &params, bool pairs) {
    const std::ptrdiff_t size = element_size(tensor.element);
    const int whole = samples / K;
    std::uint8_t *out[K];
    for (int k = 0; k < K; k++)
        out[k] = static_cast<std::uint8_t *>(tensor_row(tensor, channel + k, row));
    void *dst[K];
    std::copy_n(out, K, dst);
    kernel(src, dst, whole, params);
    if (whole == tensor.width)
        return;

    // Beyond the edge: the last sample of the row, or for semi-planar chroma the last pair.
    std::uint8_t edge[2 * K];
    for (int k = 0; k < K; k++) {
        const int from = pairs ? samples - K + k : samples - 1;
        std::memcpy(edge + k * bytes, src + static_cast<std::ptrdiff_t>(from) * bytes,
                    static_cast<std::size_t>(bytes));
    }
    for (int k = 0; k < K; k++)
        dst[k] = out[k] + whole * size;
    kernel(edge, dst, 1, params);
    for (int k = 0; k < K; k++)
        for (std::ptrdiff_t i = whole + 1; i < tensor.width; i++)
            std::memcpy(out[k] + i * size, out[k] + whole * size, static_cast<std::size_t>(size));
}

/// The offset + threshold of every position, for each of the eight kinds of picture rows.
class BiasTable {
public:
    /// `interleaved` samples of one plane to a position, `planes` planes in turn.
    BiasTable(float offset, Dither dither, int interleaved, int planes)
        : row_mask_(dither == Dither::ordered ? dither_size - 1 : 0) {
        for (std::size_t y = 0; y <= static_cast<std::size_t>(row_mask_); y++)
            for (int k = 0; k < interleaved * planes; k++)
                for (int i = 0; i < 2 * bias_period; i++) {
                    const int x = interleaved * i + k / planes;
                    const float threshold = dither == Dither::ordered
                                                ? thresholds[y][static_cast<std::size_t>(x % dither_size)]
                                                : 0.5f;
                    rows_[y][k][i] = offset + threshold; // exact: both are multiples of 1/128 below 2^16
                }
    }
    const Bias *row(int picture_row) const { return rows_[picture_row & row_mask_]; }

private:
    int row_mask_;
    alignas(64) Bias rows_[dither_size][max_interleave];
};

/// `interleave` tensor rows from `channel` on, in the order that `channels` gives, into one picture row.
void pack_row(PackRow kernel, const ConstTensor &tensor, const int *channels, int interleave, int row,
              std::uint8_t *dst, int samples, const Quantiser &q, const Bias *bias) {
    const void *src[max_interleave];
    for (int k = 0; k < interleave; k++)
        src[k] = tensor_row(tensor, channels[k], row);
    kernel(dst, src, samples, PackParams{q.span, q.max_code, q.shift, bias});
}

std::size_t index(Element element) {
    return static_cast<std::size_t>(element);
}

/// Interleaves that no net of ours needs (scale 3 and 4) have no SIMD form.
PackRow pack_kernel(const Kernels &with, Element element, const PictureFormat &format, int interleave) {
    const int kind = format.bytes_per_sample() - 1;
    const PackRow fast = with.pack[index(element)][kind][interleave];
    return fast ? fast : reference_kernels.pack[index(element)][kind][interleave];
}

template <typename Void>
BasicTensor<Void> make_contiguous(Void *data, Element e, int channels, int h, int w) {
    return {data, e, channels, h, w, w, static_cast<std::ptrdiff_t>(h) * w};
}

} // namespace

Tensor contiguous(void *data, Element element, int channels, int height, int width) {
    return make_contiguous(data, element, channels, height, width);
}

ConstTensor contiguous(const void *data, Element element, int channels, int height, int width) {
    return make_contiguous(data, element, channels, height, width);
}

void space_to_depth(const PictureFormat &format, const ConstPicture &picture, const Tensor &tensor,
                    int row_begin, int row_end, const Kernels &with) {
    check_picture(format, picture, true);
    check_tensor(read_only(tensor), 6, row_begin, row_end);
    check_cover(read_only(tensor), 2, format.width, format.height);

    const int bytes = format.bytes_per_sample();
    const auto &unpack = with.unpack[index(tensor.element)][bytes - 1];
    const Quantiser y = quantiser(format, false);
    const Quantiser c = quantiser(format, true);
    const UnpackParams luma = {y.offset, y.span, 0.5f, y.shift};
    const UnpackParams chroma = {c.offset, c.span, 0.0f, c.shift};

    for (int row = row_begin; row < row_end; row++) {
        for (int r = 0; r < 2; r++) {
            const int line = std::min(2 * row + r, format.height - 1);
            unpack_padded<2>(unpack[2], picture.data[0] + line * picture.stride[0], format.width, bytes,
                             tensor, 2 * r, row, luma, false);
        }
        const int line = std::min(row, format.chroma_height() - 1);
        if (format.semi_planar) {
            unpack_padded<2>(unpack[2], picture.data[1] + line * picture.stride[1], 2 * format.chroma_width(),
                             bytes, tensor, 4, row, chroma, true);
            continue;
        }
        for (int p = 1; p < 3; p++)
            unpack_padded<1>(unpack[1], picture.data[p] + line * picture.stride[p], format.chroma_width(),
                             bytes, tensor, 3 + p, row, chroma, false);
    }
}

void depth_to_space(const ConstTensor &tensor, int scale, const PictureFormat &format, const Picture &picture,
                    Dither dither, int row_begin, int row_end, const Kernels &with) {
    if (scale < 1 || scale > max_scale)
        refuse("scale " + std::to_string(scale) + " is not supported; give 1 to " +
               std::to_string(max_scale));
    check_picture(format, picture, true);
    check_tensor(tensor, 6 * scale * scale, row_begin, row_end);
    check_cover(tensor, 2 * scale, format.width, format.height);

    const int side = 2 * scale;
    const PackRow pack_side = pack_kernel(with, tensor.element, format, side);
    const PackRow pack_scale = pack_kernel(with, tensor.element, format, scale);
    const Quantiser y = quantiser(format, false);
    const Quantiser c = quantiser(format, true);
    const BiasTable luma(y.offset + 0.5f * y.span, dither, side, 1);
    const BiasTable chroma(c.offset, dither, scale, format.semi_planar ? 2 : 1);
    const int chroma_channel[2] = {side * side, side * side + scale * scale};
    int channels[max_interleave];

    for (int row = row_begin; row < row_end; row++) {
        for (int r = 0; r < side && side * row + r < format.height; r++) {
            const int line = side * row + r;
            for (int k = 0; k < side; k++)
                channels[k] = r * side + k;
            pack_row(pack_side, tensor, channels, side, row, picture.data[0] + line * picture.stride[0],
                     format.width, y, luma.row(line));
        }
        for (int r = 0; r < scale && scale * row + r < format.chroma_height(); r++) {
            const int line = scale * row + r;
            if (format.semi_planar) {
                for (int k = 0; k < side; k++)
                    channels[k] = chroma_channel[k % 2] + r * scale + k / 2;
                pack_row(pack_side, tensor, channels, side, row, picture.data[1] + line * picture.stride[1],
                         2 * format.chroma_width(), c, chroma.row(line));
                continue;
            }
            for (int p = 1; p < 3; p++) {
                for (int k = 0; k < scale; k++)
                    channels[k] = chroma_channel[p - 1] + r * scale + k;
                pack_row(pack_scale, tensor, channels, scale, row, picture.data[p] + line * picture.stride[p],
                         format.chroma_width(), c, chroma.row(line));
            }
        }
    }
}

void luma_to_tensor(const PictureFormat &format, const ConstPicture &picture, const Tensor &tensor,
                    int row_begin, int row_end, const Kernels &with) {
    check_picture(format, picture, false);
    check_tensor(read_only(tensor), 1, row_begin, row_end);
    check_cover(read_only(tensor), 1, format.width, format.height);

    const int bytes = format.bytes_per_sample();
    const Quantiser y = quantiser(format, false);
    for (int row = row_begin; row < row_end; row++) {
        const int line = std::min(row, format.height - 1);
        unpack_padded<1>(with.unpack[index(tensor.element)][bytes - 1][1],
                         picture.data[0] + line * picture.stride[0], format.width, bytes, tensor, 0, row,
                         {y.offset, y.span, 0.0f, y.shift}, false);
    }
}

void tensor_to_luma(const ConstTensor &tensor, const PictureFormat &format, const Picture &picture,
                    Dither dither, int row_begin, int row_end, const Kernels &with) {
    check_picture(format, picture, false);
    check_tensor(tensor, 1, row_begin, row_end);
    check_cover(tensor, 1, format.width, format.height);

    const PackRow pack = pack_kernel(with, tensor.element, format, 1);
    const Quantiser y = quantiser(format, false);
    const BiasTable bias(y.offset, dither, 1, 1);
    const int channel = 0;
    for (int row = row_begin; row < std::min(row_end, format.height); row++)
        pack_row(pack, tensor, &channel, 1, row, picture.data[0] + row * picture.stride[0], format.width, y,
                 bias.row(row));
}

} // namespace clv::pixels
