// SPDX-License-Identifier: BSD-2-Clause

#include "colour.h"

#include "kernels.h"
#include "zimg_graph.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

namespace clv::pixels {
namespace {

unsigned even(int n) {
    return static_cast<unsigned>(n + n % 2);
}

std::string size_text(int width, int height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

constexpr int limit = 1 << 16; ///< of widths and heights

void check_format(const PictureFormat &format, int scale) {
    if (scale < 1 || scale > max_scale)
        throw std::invalid_argument("scale " + std::to_string(scale) + " is not supported; give 1 to " +
                                    std::to_string(max_scale));
    if (format.width < 1 || format.height < 1 || format.width > limit || format.height > limit)
        throw std::invalid_argument("a picture of " + size_text(format.width, format.height) +
                                    " cannot be converted; give 1x1 up to " + size_text(limit, limit));
    if (format.bit_depth < 8 || format.bit_depth > 16)
        throw std::invalid_argument("bit depth " + std::to_string(format.bit_depth) +
                                    " is not supported; give 8 to 16");
}

void check_planes(const PictureFormat &format, const ConstPicture &picture, int first) {
    for (int p = first; p < (format.semi_planar ? 2 : 3); p++)
        if (!picture.data[p])
            throw std::invalid_argument("plane " + std::to_string(p) + " of the picture has no data");
}

PictureFormat scaled(PictureFormat format, int scale) {
    format.width *= scale;
    format.height *= scale;
    return format;
}

// ---- rows of samples

/// One plane of a picture, whether it has its own memory or shares it with the other chroma plane.
template <typename Byte>
struct PlaneView {
    Byte *data;
    std::ptrdiff_t stride;
    int width;
    int height;
    int step;  ///< samples from one to the next
    int shift; ///< of the code in its sample

    Byte *row(unsigned y) const { return data + std::min(static_cast<int>(y), height - 1) * stride; }
};

template <typename Byte, typename AnyPicture>
PlaneView<Byte> plane_view(const PictureFormat &format, const AnyPicture &picture, int plane) {
    const int shift = format.msb_aligned && format.bit_depth > 8 ? 16 - format.bit_depth : 0;
    if (plane == 0)
        return {picture.data[0], picture.stride[0], format.width, format.height, 1, shift};
    const int stored = format.semi_planar ? 1 : plane;
    const int skip = format.semi_planar ? (plane - 1) * format.bytes_per_sample() : 0;
    return {picture.data[stored] + skip, picture.stride[stored],     format.chroma_width(),
            format.chroma_height(),      format.semi_planar ? 2 : 1, shift};
}

/// Columns [left, right) of a row into a ring, beyond the plane's edge its last sample.
template <typename Sample>
void gather(const PlaneView<const std::uint8_t> &plane, unsigned line, std::byte *ring_row, int left,
            int right) {
    const std::uint8_t *src = plane.row(line);
    auto *dst = reinterpret_cast<Sample *>(ring_row);
    constexpr auto bytes = static_cast<std::ptrdiff_t>(sizeof(Sample));
    const int inside = std::min(right, plane.width);
    if (plane.step == 1 && left < inside)
        std::memcpy(dst + left, src + left * bytes, static_cast<std::size_t>(inside - left) * sizeof(Sample));
    else
        for (int x = left; x < inside; x++)
            std::memcpy(dst + x, src + x * 2 * bytes, sizeof(Sample));
    if (plane.shift)
        for (int x = left; x < inside; x++)
            dst[x] = static_cast<Sample>(dst[x] >> plane.shift);
    if (right > plane.width) {
        Sample last;
        std::memcpy(&last, src + (plane.width - 1) * plane.step * bytes, sizeof last);
        std::fill(dst + std::max(left, plane.width), dst + right, static_cast<Sample>(last >> plane.shift));
    }
}

/// Columns [left, right) of a ring's row into the plane, as far as it has them.
template <typename Sample>
void scatter(const PlaneView<std::uint8_t> &plane, unsigned line, const std::byte *ring_row, int left,
             int right) {
    if (static_cast<int>(line) >= plane.height)
        return;
    std::uint8_t *dst = plane.row(line);
    const auto *src = reinterpret_cast<const Sample *>(ring_row);
    constexpr auto bytes = static_cast<std::ptrdiff_t>(sizeof(Sample));
    right = std::min(right, plane.width);
    if (plane.step == 1 && plane.shift == 0 && left < right) {
        std::memcpy(dst + left * bytes, src + left, static_cast<std::size_t>(right - left) * sizeof(Sample));
        return;
    }
    for (int x = left; x < right; x++) {
        const auto sample = static_cast<Sample>(src[x] << plane.shift);
        std::memcpy(dst + static_cast<std::ptrdiff_t>(x) * plane.step * bytes, &sample, sizeof sample);
    }
}

void gather(int bytes, const PlaneView<const std::uint8_t> &plane, unsigned line, std::byte *ring_row,
            int left, int right) {
    if (bytes == 1)
        gather<std::uint8_t>(plane, line, ring_row, left, right);
    else
        gather<std::uint16_t>(plane, line, ring_row, left, right);
}

void scatter(int bytes, const PlaneView<std::uint8_t> &plane, unsigned line, const std::byte *ring_row,
             int left, int right) {
    if (bytes == 1)
        scatter<std::uint8_t>(plane, line, ring_row, left, right);
    else
        scatter<std::uint16_t>(plane, line, ring_row, left, right);
}

/// Calls visit(plane, line, left, right) for the two luma lines and the chroma lines that zimg means by
/// `line`.
template <typename Visit>
void for_420_rows(unsigned line, unsigned left, unsigned right, Visit &&visit) {
    const int l = static_cast<int>(left);
    const int r = static_cast<int>(right);
    visit(0, line, l, r);
    visit(0, line + 1, l, r);
    for (int p = 1; p < 3; p++)
        visit(p, line / 2, l / 2, (r + 1) / 2);
}

// ---- zimg's words for our formats

zimg_image_format empty_format(unsigned width, unsigned height) {
    zimg_image_format out;
    zimg_image_format_default(&out, ZIMG_API_VERSION);
    out.width = width;
    out.height = height;
    return out;
}

void set_samples(zimg_image_format &out, const PictureFormat &format) {
    out.pixel_type = format.bit_depth > 8 ? ZIMG_PIXEL_WORD : ZIMG_PIXEL_BYTE;
    out.depth = static_cast<unsigned>(format.bit_depth);
    out.pixel_range = format.full_range ? ZIMG_RANGE_FULL : ZIMG_RANGE_LIMITED;
}

/// Width and height are made even by replication, since zimg's 4:2:0 has no odd sizes. The chroma planes
/// are the same: an odd picture's have ceil(W/2) columns.
zimg_image_format yuv_format(const PictureFormat &format) {
    zimg_image_format out = empty_format(even(format.width), even(format.height));
    set_samples(out, format);
    out.subsample_w = 1;
    out.subsample_h = 1;
    out.color_family = ZIMG_COLOR_YUV;
    switch (format.matrix) {
    case Matrix::bt601:
        out.matrix_coefficients = ZIMG_MATRIX_ST170_M;
        break;
    case Matrix::bt709:
        out.matrix_coefficients = ZIMG_MATRIX_BT709;
        break;
    case Matrix::bt2020ncl:
        out.matrix_coefficients = ZIMG_MATRIX_BT2020_NCL;
        break;
    }
    switch (format.chroma_site) {
    case ChromaSite::left:
        out.chroma_location = ZIMG_CHROMA_LEFT;
        break;
    case ChromaSite::centre:
        out.chroma_location = ZIMG_CHROMA_CENTER;
        break;
    case ChromaSite::top_left:
        out.chroma_location = ZIMG_CHROMA_TOP_LEFT;
        break;
    }
    return out;
}

zimg_image_format rgb_format(unsigned width, unsigned height) {
    zimg_image_format out = empty_format(width, height);
    out.pixel_type = ZIMG_PIXEL_FLOAT;
    out.color_family = ZIMG_COLOR_RGB;
    out.matrix_coefficients = ZIMG_MATRIX_RGB;
    return out;
}

zimg_image_format rgb_format(const PictureFormat &format) {
    return rgb_format(even(format.width), even(format.height));
}

zimg_graph_builder_params rgb_parameters(Dither dither) {
    zimg_graph_builder_params out;
    zimg_graph_builder_params_default(&out, ZIMG_API_VERSION);
    out.resample_filter_uv = ZIMG_RESIZE_BICUBIC;
    out.filter_param_a_uv = 0.0; // Catmull-Rom: keeps flat and linear parts as they are, little ringing
    out.filter_param_b_uv = 0.5;
    out.dither_type = dither == Dither::ordered ? ZIMG_DITHER_ORDERED : ZIMG_DITHER_NONE;
    return out;
}

/// A chroma plane of `from` as a grey picture, and where in it that of `to` lies.
///
/// With X a luma position in samples (the first one's centre at 0.5), a chroma plane's own position is
/// u = X/2 when chroma is centred in its 2x2 block and u = X/2 + 1/4 when it is level with the left column.
/// Scaling moves X to s X, so u to s u, or to s (u - 1/4) + 1/4: the new plane begins at
/// u = (0 - 1/4) / s + 1/4 of the old one.
zimg_image_format chroma_format(const PictureFormat &from, const PictureFormat *to, int scale) {
    zimg_image_format out =
        empty_format(static_cast<unsigned>(from.chroma_width()), static_cast<unsigned>(from.chroma_height()));
    set_samples(out, from);
    out.color_family = ZIMG_COLOR_GREY;
    out.pixel_range = ZIMG_RANGE_LIMITED; // the same on both sides, so that codes go through linearly
    if (to) {
        const double shift = 0.25 - 0.25 / scale;
        out.active_region.left = from.chroma_site == ChromaSite::centre ? 0.0 : shift;
        out.active_region.top = from.chroma_site == ChromaSite::top_left ? shift : 0.0;
        out.active_region.width = static_cast<double>(to->chroma_width()) / scale;
        out.active_region.height = static_cast<double>(to->chroma_height()) / scale;
    }
    return out;
}

zimg_graph_builder_params chroma_parameters() {
    zimg_graph_builder_params out;
    zimg_graph_builder_params_default(&out, ZIMG_API_VERSION);
    out.resample_filter = ZIMG_RESIZE_LANCZOS;
    out.filter_param_a = 3.0;
    return out;
}

// ---- RGB tensors

struct Size {
    int width;
    int height;
};

/// Runs a graph from the picture to RGB: `inside` of what it gives goes to the corner of three planes of
/// `tensor`, each as large as `planes`.
void read_rgb(ZimgGraph &graph, const PictureFormat &format, const ConstPicture &picture, Size inside,
              Size planes, float *tensor) {
    const int bytes = format.bytes_per_sample();
    const std::ptrdiff_t plane_size = static_cast<std::ptrdiff_t>(planes.width) * planes.height;
    PlaneView<const std::uint8_t> from[3];
    for (int p = 0; p < 3; p++)
        from[p] = plane_view<const std::uint8_t>(format, picture, p);

    const auto feed = [&](const RowRing &ring, unsigned line, unsigned left, unsigned right) {
        for_420_rows(line, left, right, [&](int p, unsigned y, int l, int r) {
            gather(bytes, from[p], y, ring.row(p, y), l, r);
        });
    };
    const auto drain = [&](const RowRing &ring, unsigned line, unsigned left, unsigned right) {
        const unsigned end = std::min(right, static_cast<unsigned>(inside.width));
        if (static_cast<int>(line) >= inside.height || left >= end)
            return;
        for (int p = 0; p < 3; p++) {
            float *row = tensor + p * plane_size + static_cast<std::ptrdiff_t>(line) * planes.width;
            std::memcpy(row + left, ring.row(p, line) + left * sizeof(float), (end - left) * sizeof(float));
        }
    };
    graph.process(feed, drain);
}

/// Repeats the last column and row of the [height, width] corner of a plane over the rest of it.
void replicate_edges(float *plane, int width, int height, int padded_width, int padded_height) {
    if (padded_width > width)
        for (int y = 0; y < height; y++) {
            float *row = plane + static_cast<std::ptrdiff_t>(y) * padded_width;
            std::fill(row + width, row + padded_width, row[width - 1]);
        }
    const float *last = plane + static_cast<std::ptrdiff_t>(height - 1) * padded_width;
    for (int y = height; y < padded_height; y++)
        std::copy_n(last, padded_width, plane + static_cast<std::ptrdiff_t>(y) * padded_width);
}

} // namespace

struct RgbConverter::State {
    PictureFormat input;
    PictureFormat output;
    int width; ///< of the input tensor
    int height;
    int scale;
    ZimgGraph reader;
    ZimgGraph writer;
};

RgbConverter::RgbConverter(const PictureFormat &format, int tensor_width, int tensor_height, int scale,
                           Dither dither) {
    check_format(format, scale);
    if (tensor_width < format.width || tensor_height < format.height)
        throw std::invalid_argument("a tensor of " + size_text(tensor_width, tensor_height) +
                                    " is too small for a picture of " +
                                    size_text(format.width, format.height));
    const PictureFormat output = scaled(format, scale);
    state_.reset(new State{format, output, tensor_width, tensor_height, scale,
                           ZimgGraph(yuv_format(format), rgb_format(format), rgb_parameters(Dither::round)),
                           ZimgGraph(rgb_format(output), yuv_format(output), rgb_parameters(dither))});
}

RgbConverter::~RgbConverter() = default;
RgbConverter::RgbConverter(RgbConverter &&) noexcept = default;
RgbConverter &RgbConverter::operator=(RgbConverter &&) noexcept = default;

const PictureFormat &RgbConverter::output_format() const {
    return state_->output;
}

void RgbConverter::to_tensor(const ConstPicture &picture, float *tensor) {
    State &s = *state_;
    check_planes(s.input, picture, 0);
    const std::ptrdiff_t plane_size = static_cast<std::ptrdiff_t>(s.width) * s.height;
    read_rgb(s.reader, s.input, picture, {s.input.width, s.input.height}, {s.width, s.height}, tensor);
    for (int p = 0; p < 3; p++)
        replicate_edges(tensor + p * plane_size, s.input.width, s.input.height, s.width, s.height);
}

void RgbConverter::from_tensor(const float *tensor, const Picture &picture) {
    State &s = *state_;
    check_planes(s.output, picture, 0);
    const int bytes = s.output.bytes_per_sample();
    const std::ptrdiff_t row_size = static_cast<std::ptrdiff_t>(s.width) * s.scale;
    const std::ptrdiff_t plane_size = row_size * s.height * s.scale;
    PlaneView<std::uint8_t> planes[3];
    for (int p = 0; p < 3; p++)
        planes[p] = plane_view<std::uint8_t>(s.output, picture, p);

    // NaN, infinities and nonsense are brought to where zimg's arithmetic is defined.
    const LimitRow limit = kernels().limit;
    // The even size that zimg works on may be one more than the tensor has: replicate.
    const auto feed = [&](const RowRing &ring, unsigned line, unsigned left, unsigned right) {
        const int y = std::min(static_cast<int>(line), s.output.height - 1);
        const int l = static_cast<int>(left);
        const int inside = std::min(static_cast<int>(right), s.output.width);
        for (int p = 0; p < 3; p++) {
            const float *src = tensor + p * plane_size + y * row_size;
            auto *dst = reinterpret_cast<float *>(ring.row(p, line));
            limit(src + l, dst + l, inside - l, -1.0f, 2.0f);
            if (static_cast<int>(right) > inside)
                limit(src + s.output.width - 1, dst + s.output.width, 1, -1.0f, 2.0f);
        }
    };
    const auto drain = [&](const RowRing &ring, unsigned line, unsigned left, unsigned right) {
        for_420_rows(line, left, right, [&](int p, unsigned y, int l, int r) {
            scatter(bytes, planes[p], y, ring.row(p, y), l, r);
        });
    };
    s.writer.process(feed, drain);
}

struct RgbScaler::State {
    PictureFormat input;
    int width;
    int height;
    ZimgGraph graph;
};

RgbScaler::RgbScaler(const PictureFormat &format, int width, int height) {
    check_format(format, 1);
    if (width < 1 || height < 1 || width > limit || height > limit)
        throw std::invalid_argument("a picture cannot be scaled to " + size_text(width, height) +
                                    "; give 1x1 up to " + size_text(limit, limit));
    zimg_image_format from = yuv_format(format);
    from.active_region.width = format.width; // not the column and row that make the size even
    from.active_region.height = format.height;
    zimg_graph_builder_params parameters;
    zimg_graph_builder_params_default(&parameters, ZIMG_API_VERSION);
    parameters.resample_filter = ZIMG_RESIZE_BILINEAR;
    parameters.resample_filter_uv = ZIMG_RESIZE_BILINEAR;
    parameters.dither_type = ZIMG_DITHER_NONE;
    const zimg_image_format to = rgb_format(static_cast<unsigned>(width), static_cast<unsigned>(height));
    state_.reset(new State{format, width, height, ZimgGraph(from, to, parameters)});
}

RgbScaler::~RgbScaler() = default;
RgbScaler::RgbScaler(RgbScaler &&) noexcept = default;
RgbScaler &RgbScaler::operator=(RgbScaler &&) noexcept = default;

void RgbScaler::to_tensor(const ConstPicture &picture, float *tensor) {
    State &s = *state_;
    check_planes(s.input, picture, 0);
    const Size size = {s.width, s.height};
    read_rgb(s.graph, s.input, picture, size, size, tensor);
}

struct ChromaScaler::State {
    PictureFormat input;
    PictureFormat output;
    ZimgGraph graph;
};

ChromaScaler::ChromaScaler(const PictureFormat &format, int scale) {
    check_format(format, scale);
    const PictureFormat output = scaled(format, scale);
    state_.reset(new State{format, output,
                           ZimgGraph(chroma_format(format, &output, scale), chroma_format(output, nullptr, 1),
                                     chroma_parameters())});
}

ChromaScaler::~ChromaScaler() = default;
ChromaScaler::ChromaScaler(ChromaScaler &&) noexcept = default;
ChromaScaler &ChromaScaler::operator=(ChromaScaler &&) noexcept = default;

const PictureFormat &ChromaScaler::output_format() const {
    return state_->output;
}

void ChromaScaler::scale(const ConstPicture &from, const Picture &to) {
    State &s = *state_;
    check_planes(s.input, from, 1);
    check_planes(s.output, to, 1);
    const int bytes = s.input.bytes_per_sample();
    for (int p = 1; p < 3; p++) {
        const auto source = plane_view<const std::uint8_t>(s.input, from, p);
        const auto target = plane_view<std::uint8_t>(s.output, to, p);
        s.graph.process(
            [&](const RowRing &ring, unsigned line, unsigned left, unsigned right) {
                gather(bytes, source, line, ring.row(0, line), static_cast<int>(left),
                       static_cast<int>(right));
            },
            [&](const RowRing &ring, unsigned line, unsigned left, unsigned right) {
                scatter(bytes, target, line, ring.row(0, line), static_cast<int>(left),
                        static_cast<int>(right));
            });
    }
}

} // namespace clv::pixels
