// SPDX-License-Identifier: BSD-2-Clause
//
// Pictures <-> tensors on the CPU.
//
// A 4:2:0 picture is space-to-depth by nature: a 2x2 block of luma and one pair of chroma samples become the
// six channels of one position of a tensor of half the size. With s = 1 or 2 the net's output goes back the
// same way, a position now being a (2s)x(2s) block of luma and an s x s block of each chroma plane:
//
//     picture (W x H, 4:2:0)                     tensor [6, h, w], h >= ceil(H/2), w >= ceil(W/2)
//     luma           U      V
//     +----+----+    +---+  +---+                ch 0  1  2  3  4  5
//     | y0 | y1 |    | u |  | v |      <->          y0 y1 y2 y3 u  v     at (i, j)
//     +----+----+    +---+  +---+
//     | y2 | y3 |                                general s: ch r*2s + c of luma, then r*s + c of U, of V
//     +----+----+
//
// Values (normalisation "ycbcr_unit_centred"): luma (code - off_y) / span_y - 0.5, chroma
// (code - off_c) / span_c, so that both are centred on 0 and one unit wide over the legal range. Codes
// outside of the legal range are kept: nothing is clipped on the way in.
//
// Every function works on a range of tensor rows, so that the caller decides about threads; ranges that do
// not overlap may run at the same time on the same picture and tensor. Nothing is allocated and there is no
// state. All of them throw std::invalid_argument with a sentence when format, tensor and rows do not fit
// together, before anything is written.
#pragma once

#include <cstddef>
#include <cstdint>

namespace clv::pixels {

enum class Matrix : std::uint8_t { bt601, bt709, bt2020ncl };

/// Where a chroma sample lies in its 2x2 block of luma. `left` is what MPEG-2, H.264 and H.265 mean by
/// default.
enum class ChromaSite : std::uint8_t { left, centre, top_left };

/// A 4:2:0 picture in host memory. Chroma planes have ceil(width/2) x ceil(height/2) samples.
struct PictureFormat {
    int width = 0;
    int height = 0;
    bool semi_planar = false; ///< plane 1 holds U and V in turn (nv12, p010); else planes 1 and 2 (yuv420p)
    int bit_depth = 8;        ///< 8: one byte a sample; 9..16: two bytes, in the machine's byte order
    bool msb_aligned = false; ///< the code lies in the high bits of its two bytes (p010)
    bool full_range = false;  ///< codes 0..2^b-1 instead of 16..235 and 16..240 (times 2^(b-8))
    Matrix matrix = Matrix::bt709;             ///< used by colour.h only
    ChromaSite chroma_site = ChromaSite::left; ///< used by colour.h only

    int chroma_width() const { return (width + 1) / 2; }
    int chroma_height() const { return (height + 1) / 2; }
    int bytes_per_sample() const { return bit_depth > 8 ? 2 : 1; }
};

/// Planes of a picture. Strides are in bytes and may be negative; neither they nor the pointers need any
/// alignment. Plane 2 is ignored when semi_planar.
struct ConstPicture {
    const std::uint8_t *data[3] = {};
    std::ptrdiff_t stride[3] = {};
};

struct Picture {
    std::uint8_t *data[3] = {};
    std::ptrdiff_t stride[3] = {};

    operator ConstPicture() const { return {{data[0], data[1], data[2]}, {stride[0], stride[1], stride[2]}}; }
};

enum class Element : std::uint8_t { f32, f16, bf16 };

/// One image of a batch: `channels` planes of height x width elements. Strides count elements. Rows are
/// contiguous. f32 data must be aligned to 4 bytes, f16 and bf16 to 2.
template <typename Byte>
struct BasicTensor {
    Byte *data = nullptr;
    Element element = Element::f32;
    int channels = 0;
    int height = 0;
    int width = 0;
    std::ptrdiff_t row_stride = 0;
    std::ptrdiff_t channel_stride = 0;
};
using Tensor = BasicTensor<void>;
using ConstTensor = BasicTensor<const void>;

/// A contiguous [channels, height, width] tensor.
Tensor contiguous(void *data, Element element, int channels, int height, int width);
ConstTensor contiguous(const void *data, Element element, int channels, int height, int width);

/// round: nearest, ties up. ordered: a fixed 8x8 Bayer threshold in (0, 1) in place of 0.5, the same for
/// every frame; a value that is a code already stays that code.
enum class Dither : std::uint8_t { round, ordered };

struct Kernels;

/// Kernels for the best instructions that this machine has, chosen once.
const Kernels &kernels();

/// Picture -> [6, h, w] rows [row_begin, row_end). Positions beyond the picture get its last row or column.
void space_to_depth(const PictureFormat &format, const ConstPicture &picture, const Tensor &tensor,
                    int row_begin, int row_end, const Kernels &with = kernels());

/// [6 s^2, h, w] rows [row_begin, row_end) -> picture, s = 1..4. `format` is that of the picture that is
/// written (s times the size of the net's input); samples beyond its edges are dropped, bytes beyond them
/// never touched. Code = clamp(floor(x * span + (off + threshold)), 0, 2^b - 1); NaN gives 0.
void depth_to_space(const ConstTensor &tensor, int scale, const PictureFormat &format, const Picture &picture,
                    Dither dither, int row_begin, int row_end, const Kernels &with = kernels());

/// Luma plane -> [1, h, w], values (code - off_y) / span_y. Positions beyond the plane get its last row or
/// column.
void luma_to_tensor(const PictureFormat &format, const ConstPicture &picture, const Tensor &tensor,
                    int row_begin, int row_end, const Kernels &with = kernels());

/// [1, h, w] -> luma plane; the inverse of luma_to_tensor. Chroma planes are not touched.
void tensor_to_luma(const ConstTensor &tensor, const PictureFormat &format, const Picture &picture,
                    Dither dither, int row_begin, int row_end, const Kernels &with = kernels());

} // namespace clv::pixels
