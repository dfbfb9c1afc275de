// SPDX-License-Identifier: BSD-2-Clause
//
// What a painting net sees of a picture, and what of its output is put back: core/net_painter.cpp on the
// device, with the same operations in the same order (this file is compiled without fused multiplications and
// additions), so that the same net paints the same codes.
//
//     gather     a position of the net <- averages of step x step samples for each of its four luma samples
//                and of its two chroma samples; zeros and a mark where any of them is hole
//     put back   a sample of the hole <- 4 x 4 of the net's samples, cubic; where the net was given the
//                picture rather than a hole, that is the picture
//
// Memory traffic: the excerpt once (neighbours share the samples at their areas' borders through L1), the
// tensors once, and of the hole's samples 16 reads each through L1. A 1080p excerpt is 3 MB, the tensors of
// 512x288 are 2 MB: a few microseconds each.

#include "backends/cuda/excerpt_params.h"
#include "cuda/device.cuh"

namespace clv::cuda::excerpt {
namespace {

CLV_DEVICE float load(const void *tensor, int half_precision, std::int64_t at) {
    return half_precision ? __half2float(static_cast<const __half *>(tensor)[at])
                          : static_cast<const float *>(tensor)[at];
}
CLV_DEVICE void store(void *tensor, int half_precision, std::int64_t at, float value) {
    if (half_precision)
        static_cast<__half *>(tensor)[at] = __float2half_rn(value);
    else
        static_cast<float *>(tensor)[at] = value;
}

CLV_DEVICE int plane_width(const Params &p, int plane) {
    return plane == 0 ? p.width : (p.width + 1) / 2;
}
CLV_DEVICE int plane_height(const Params &p, int plane) {
    return plane == 0 ? p.height : (p.height + 1) / 2;
}
CLV_DEVICE float sample(const Params &p, int plane, int y, int x) {
    const std::uint8_t *const row = p.plane[plane] + y * p.stride[plane];
    return p.two_bytes ? static_cast<float>(reinterpret_cast<const std::uint16_t *>(row)[x])
                       : static_cast<float>(row[x]);
}

/// Samples that an average takes (Areas): beyond the ends a row goes on with its last sample.
struct Area {
    double begin, end;
    int first, last, size;
    float whole; ///< weight of a sample that lies inside

    /// Of one sample, before it is divided by the step.
    CLV_DEVICE float weight(int k, double step) const {
        if (k > 0 && k < size - 1 && k >= begin && k + 1 <= end)
            return whole; // most of them, without arithmetic in f64
        const double from = k == 0 ? begin : fmax(begin, static_cast<double>(k));
        const double to = k == size - 1 ? end : fmin(end, static_cast<double>(k + 1));
        return static_cast<float>(fmax(0.0, to - from) / step);
    }
};
CLV_DEVICE Area area(int start, double step, int i, int size) {
    constexpr double touches = 1e-6;
    Area out;
    out.begin = start + i * step;
    out.end = out.begin + step;
    out.size = size;
    out.whole = static_cast<float>(1.0 / step);
    out.first = min(max(static_cast<int>(floor(out.begin + touches)), 0), size - 1);
    out.last = min(max(static_cast<int>(ceil(out.end - touches)) - 1, out.first), size - 1);
    return out;
}

CLV_DEVICE float average(const Params &p, int plane, const Area &down, const Area &across) {
    float sum = 0.0f;
    for (int x = across.first; x <= across.last; x++) {
        float column = 0.0f;
        for (int y = down.first; y <= down.last; y++)
            column += down.weight(y, p.step) * sample(p, plane, y, x);
        sum += across.weight(x, p.step) * column;
    }
    return sum;
}

/// Whether any luma sample of the chroma samples' blocks is hole.
CLV_DEVICE bool any_hole(const Params &p, int y0, int y1, int x0, int x1) {
    for (int y = 2 * y0; y < min(2 * y1 + 2, p.height); y++)
        for (int x = 2 * x0; x < min(2 * x1 + 2, p.width); x++)
            if (p.hole[y * p.hole_stride + x])
                return true;
    return false;
}

/// Catmull-Rom's cubic (Taps).
struct Taps {
    int index[4];
    float weight[4];
};
CLV_DEVICE Taps taps(int i, int origin, double step, int size) {
    const double place = (i + 0.5 - origin) / step - 0.5;
    const int base = static_cast<int>(floor(place));
    const auto t = static_cast<float>(place - base);
    Taps out;
    out.weight[0] = t * (-0.5f + t * (1.0f - 0.5f * t));
    out.weight[1] = 1.0f + t * t * (-2.5f + 1.5f * t);
    out.weight[2] = t * (0.5f + t * (2.0f - 1.5f * t));
    out.weight[3] = t * t * (-0.5f + 0.5f * t);
    for (int k = 0; k < 4; k++)
        out.index[k] = min(max(base - 1 + k, 0), size - 1);
    return out;
}

/// What is put back: the net's in blocks of hole, what it was given around them.
CLV_DEVICE float painted(const Params &p, int plane, int y, int x) {
    const std::int64_t positions = static_cast<std::int64_t>(p.rows) * p.columns;
    const int row = plane == 0 ? y / 2 : y;
    const int column = plane == 0 ? x / 2 : x;
    const int channel = plane == 0 ? y % 2 * 2 + x % 2 : 3 + plane;
    const std::int64_t position = static_cast<std::int64_t>(row) * p.columns + column;
    const bool is_hole = load(p.in, p.in_half, 6 * positions + position) != 0.0f;
    const float value = is_hole ? load(p.out, p.out_half, channel * positions + position)
                                : load(p.in, p.in_half, channel * positions + position);
    return fabsf(value) < 1e30f ? value : 0.0f; // what is no number becomes the middle of the range
}

} // namespace
} // namespace clv::cuda::excerpt

using namespace clv::cuda::excerpt;

CLV_KERNEL(clv_excerpt_gather, Params, kAcross *kDown, 2) {
    const int j = static_cast<int>(blockIdx.x * kAcross + threadIdx.x);
    const int i = static_cast<int>(blockIdx.y * kDown + threadIdx.y);
    if (i >= p.rows || j >= p.columns)
        return;
    const std::int64_t positions = static_cast<std::int64_t>(p.rows) * p.columns;
    const std::int64_t at = static_cast<std::int64_t>(i) * p.columns + j;
    const Area chroma_down = area(p.top / 2, p.step, i, plane_height(p, 1));
    const Area chroma_across = area(p.left / 2, p.step, j, plane_width(p, 1));
    const bool is_hole =
        any_hole(p, chroma_down.first, chroma_down.last, chroma_across.first, chroma_across.last);
    store(p.in, p.in_half, 6 * positions + at, is_hole ? 1.0f : 0.0f);
    for (int c = 0; c < 6; c++) {
        float value = 0.0f;
        if (!is_hole && c < 4)
            value = (average(p, 0, area(p.top, p.step, 2 * i + c / 2, p.height),
                             area(p.left, p.step, 2 * j + c % 2, p.width)) -
                     p.luma.offset) /
                    p.luma.span;
        else if (!is_hole)
            value = (average(p, c - 3, chroma_down, chroma_across) - p.chroma.offset) / p.chroma.span;
        store(p.in, p.in_half, c * positions + at, value);
    }
    if (!is_hole)
        *p.seen = 1; // all that write, write this
}

/// A thread a sample of the box around the hole; blockIdx.z is the plane.
CLV_KERNEL(clv_excerpt_put, Params, kAcross *kDown, 2) {
    const int plane = static_cast<int>(blockIdx.z);
    const int divide = plane == 0 ? 1 : 2;
    const int x = p.x0 / divide + static_cast<int>(blockIdx.x * kAcross + threadIdx.x);
    const int y = p.y0 / divide + static_cast<int>(blockIdx.y * kDown + threadIdx.y);
    if (x >= (p.x1 + divide - 1) / divide || y >= (p.y1 + divide - 1) / divide)
        return;
    if (plane == 0 ? !p.hole[y * p.hole_stride + x] : !any_hole(p, y, y, x, x))
        return;
    const Scale scale = plane == 0 ? p.luma : p.chroma;
    float value = 0.0f;
    if (*p.seen) {                              // else there is nothing to say: the middle of the range
        const int samples = plane == 0 ? 2 : 1; // of a position
        const Taps down = taps(y, p.top / divide, p.step, samples * p.rows);
        const Taps across = taps(x, p.left / divide, p.step, samples * p.columns);
        for (int k = 0; k < 4; k++) {
            const float column = down.weight[0] * painted(p, plane, down.index[0], across.index[k]) +
                                 down.weight[1] * painted(p, plane, down.index[1], across.index[k]) +
                                 down.weight[2] * painted(p, plane, down.index[2], across.index[k]) +
                                 down.weight[3] * painted(p, plane, down.index[3], across.index[k]);
            value += across.weight[k] * column;
        }
    }
    const float code = fminf(fmaxf(floorf(value * scale.span + (scale.offset + 0.5f)), 0.0f), p.max_code);
    std::uint8_t *const row = p.plane[plane] + y * p.stride[plane];
    if (p.two_bytes)
        reinterpret_cast<std::uint16_t *>(row)[x] = static_cast<std::uint16_t>(code);
    else
        row[x] = static_cast<std::uint8_t>(code);
}
