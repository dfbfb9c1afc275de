// SPDX-License-Identifier: BSD-2-Clause
#include "core/excerpt.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace clv {
namespace {

constexpr int kBestSize = 512; // for nets that do not say theirs
// Width of what the net sees over the width of the hole. More makes all that it sees smaller: 1.5 and 2 are
// equal for holes as high as the picture, and 1.5 is 0.3 dB better for smaller ones (inpaint_v1_fast).
constexpr double kContext = 1.5;
constexpr double kTouches = 1e-6; // of a sample: less of it in an area is a rounding error

int round_up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

} // namespace

TensorShape painter_input(const Bundle &bundle, const pixels::PictureFormat &format) {
    const int best = bundle.best_size ? bundle.best_size : kBestSize;
    const double shrink = std::max(1.0, static_cast<double>(std::max(format.width, format.height)) / best);
    const auto side = [&](int size, int least) {
        const int fitting = std::max(static_cast<int>(std::lround(size / shrink)), least);
        return round_up(round_up(fitting, bundle.multiple_of), 2);
    };
    return {7, side(format.height, bundle.min_height) / 2, side(format.width, bundle.min_width) / 2};
}

CodeScale luma_scale(const pixels::PictureFormat &format) {
    const auto unit = static_cast<float>(1 << (format.bit_depth - 8));
    const auto top = static_cast<float>((1 << format.bit_depth) - 1);
    return format.full_range ? CodeScale{top, 0.5F * top}
                             : CodeScale{219 * unit, 16 * unit + 0.5F * 219 * unit};
}

CodeScale chroma_scale(const pixels::PictureFormat &format) {
    const auto unit = static_cast<float>(1 << (format.bit_depth - 8));
    const auto top = static_cast<float>((1 << format.bit_depth) - 1);
    return {format.full_range ? top : 224 * unit, 128 * unit};
}

HoleBounds hole_bounds(const uint8_t *hole, ptrdiff_t stride, int width, int height) {
    HoleBounds bounds = {width, 0, height, 0};
    const auto is_hole = [](uint8_t value) { return value != 0; };
    for (int y = 0; y < height; y++) {
        const uint8_t *row = hole + y * stride;
        const uint8_t *end = row + width;
        const uint8_t *first = std::find_if(row, end, is_hole);
        if (first == end)
            continue;
        const auto last =
            std::find_if(std::make_reverse_iterator(end), std::make_reverse_iterator(row), is_hole);
        bounds.left = std::min(bounds.left, static_cast<int>(first - row));
        bounds.right = std::max(bounds.right, static_cast<int>(last.base() - row));
        bounds.top = std::min(bounds.top, y);
        bounds.bottom = y + 1;
    }
    bounds.left &= ~1;
    bounds.top &= ~1;
    return bounds;
}

Excerpt choose_excerpt(const HoleBounds &bounds, int width, int height, int net_width, int net_height) {
    const auto share = [](int samples, int net) { return static_cast<double>(samples) / net; };
    const double wanted = kContext * std::max(share(bounds.right - bounds.left, net_width),
                                              share(bounds.bottom - bounds.top, net_height));
    const double whole = std::max(share(width, net_width), share(height, net_height));
    Excerpt excerpt;
    excerpt.step = std::max(1.0, std::min(wanted, whole));
    const auto place = [&](int first, int last, int size, int net) {
        const double extent = net * excerpt.step;
        const double centred = 0.5 * (first + last) - 0.5 * extent;
        return static_cast<int>(std::clamp(centred, 0.0, std::max(0.0, size - extent))) & ~1;
    };
    excerpt.left = place(bounds.left, bounds.right, width, net_width);
    excerpt.top = place(bounds.top, bounds.bottom, height, net_height);
    return excerpt;
}

Areas::Areas(double start, double step, int count, int size) {
    for (int i = 0; i < count; i++) {
        const double begin = start + i * step;
        const double end = begin + step;
        const int first = std::clamp(static_cast<int>(std::floor(begin + kTouches)), 0, size - 1);
        const int last = std::clamp(static_cast<int>(std::ceil(end - kTouches)) - 1, first, size - 1);
        areas_.push_back({first, last - first + 1, weights_.size()});
        for (int k = first; k <= last; k++) {
            const double from = k == 0 ? begin : std::max<double>(begin, k);
            const double to = k == size - 1 ? end : std::min<double>(end, k + 1);
            weights_.push_back(static_cast<float>(std::max(0.0, to - from) / step));
        }
    }
}

Taps::Taps(double place, int size) {
    const int base = static_cast<int>(std::floor(place));
    const auto t = static_cast<float>(place - base);
    weight[0] = t * (-0.5F + t * (1.0F - 0.5F * t));
    weight[1] = 1.0F + t * t * (-2.5F + 1.5F * t);
    weight[2] = t * (0.5F + t * (2.0F - 1.5F * t));
    weight[3] = t * t * (-0.5F + 0.5F * t);
    for (int i = 0; i < 4; i++)
        index[i] = std::clamp(base - 1 + i, 0, size - 1);
}

std::vector<Taps> taps_of(int first, int last, int origin, double step, int size) {
    std::vector<Taps> list;
    list.reserve(static_cast<size_t>(std::max(0, last - first)));
    for (int i = first; i < last; i++)
        list.emplace_back((i + 0.5 - origin) / step - 0.5, size);
    return list;
}

} // namespace clv
