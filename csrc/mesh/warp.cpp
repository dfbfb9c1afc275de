// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/warp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace clv::mesh {
namespace {

constexpr int kTaps = 6;
constexpr int kFar = 1 << 16; ///< no displacement is longer

Point bounded(const Point &displacement) {
    const auto bound = [](float v) {
        return std::isfinite(v) ? std::clamp(v, -static_cast<float>(kFar), static_cast<float>(kFar)) : 0.F;
    };
    return {bound(displacement.x()), bound(displacement.y())};
}

/// a + t (b - a): exactly a where a and b are equal.
Point mix(const Point &a, const Point &b, float t) {
    return a + t * (b - a);
}

/// Spline36: the cubic spline through the samples, over six of them (the "spline36" of AviSynth and zimg).
double spline36(double x) {
    x = std::abs(x);
    if (x < 1)
        return ((13.0 / 11.0 * x - 453.0 / 209.0) * x - 3.0 / 209.0) * x + 1;
    if (x < 2) {
        x -= 1;
        return ((-6.0 / 11.0 * x + 270.0 / 209.0) * x - 156.0 / 209.0) * x;
    }
    if (x < 3) {
        x -= 2;
        return ((1.0 / 11.0 * x - 45.0 / 209.0) * x + 26.0 / 209.0) * x;
    }
    return 0;
}

/// For each phase the weights of the samples at -2 .. 3, and two zeros that make eight of them.
struct Weights {
    alignas(32) std::array<std::array<float, 8>, kPhases> of{};

    Weights() {
        for (int phase = 0; phase < kPhases; phase++) {
            std::array<double, kTaps> weights{};
            double sum = 0;
            for (int tap = 0; tap < kTaps; tap++) {
                weights[static_cast<size_t>(tap)] = spline36(tap - 2 - phase / double{kPhases});
                sum += weights[static_cast<size_t>(tap)];
            }
            for (size_t tap = 0; tap < kTaps; tap++)
                of[static_cast<size_t>(phase)][tap] = static_cast<float>(weights[tap] / sum);
        }
    }
};

const Weights kWeights;

using Eight [[gnu::vector_size(32)]] = float;
using EightWide [[gnu::vector_size(32)]] = int32_t;
using EightCodes [[gnu::vector_size(16)]] = uint16_t;

/// `at`: the sample at the whole part of the position. Reads 6 rows of 8 samples, from (-2, -2).
template <typename Sample>
[[gnu::always_inline]] inline float filtered(const Sample *at, ptrdiff_t stride, int phase_x, int phase_y) {
    using Samples [[gnu::vector_size(8 * sizeof(Sample))]] = Sample;
    const float *wy = kWeights.of[static_cast<size_t>(phase_y)].data();
    const Sample *row = at - 2 * stride - 2;
    Eight sum{};
    for (int tap = 0; tap < kTaps; tap++, row += stride) {
        Samples samples;
        std::memcpy(&samples, row, sizeof samples);
        // Step by step: GCC takes bytes to floats one by one.
        const auto codes = __builtin_convertvector(samples, EightCodes);
        const auto wide = __builtin_convertvector(codes, EightWide);
        sum += wy[tap] * __builtin_convertvector(wide, Eight);
    }
    Eight wx;
    std::memcpy(&wx, kWeights.of[static_cast<size_t>(phase_x)].data(), sizeof wx);
    sum *= wx;
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/// What the kernel needs to know of a plane.
template <typename Sample>
struct Source {
    const Sample *origin;
    ptrdiff_t stride;
    int max_x; ///< whole positions are held within the border
    int max_y;
    float maximum;
    Light light;
};

constexpr int kPiece = 128;

/// Samples first + [0, count) of row y, count <= kPiece; `dx`, `dy`: the way in luma samples, `phases` of
/// which make one.
template <typename Sample>
[[gnu::always_inline]] inline void filter_samples(const Source<Sample> &from, int first, int y, int count,
                                                  const float *dx, const float *dy, float phases,
                                                  Sample *to) {
    int qx[kPiece];
    int qy[kPiece];
    float value[kPiece];
    for (int i = 0; i < count; i++) {
        qx[i] = (first + i) * kPhases + static_cast<int>(std::floor(dx[i] * phases + 0.5F));
        qy[i] = y * kPhases + static_cast<int>(std::floor(dy[i] * phases + 0.5F));
    }
    for (int i = 0; i < count; i++) {
        const int phase_x = qx[i] & (kPhases - 1);
        const int phase_y = qy[i] & (kPhases - 1);
        const Sample *at = from.origin + std::clamp(qy[i] >> 6, -4, from.max_y) * from.stride +
                           std::clamp(qx[i] >> 6, -5, from.max_x);
        value[i] =
            (phase_x | phase_y) == 0 ? static_cast<float>(*at) : filtered(at, from.stride, phase_x, phase_y);
    }
    const Light light = from.light;
    const float maximum = from.maximum;
    for (int i = 0; i < count; i++)
        to[i] =
            static_cast<Sample>(code_of<int>(std::clamp(value[i] * light.gain + light.offset, 0.F, maximum)));
}

// The loader picks the best for the processor; all give the same bits, as nothing is fused.
#if defined(__x86_64__) && defined(__GLIBC__)
#define CLV_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLV_CLONES
#endif

CLV_CLONES void filter_row(const Source<uint8_t> &from, int first, int y, int count, const float *dx,
                           const float *dy, float phases, uint8_t *to) {
    filter_samples(from, first, y, count, dx, dy, phases, to);
}

CLV_CLONES void filter_row(const Source<uint16_t> &from, int first, int y, int count, const float *dx,
                           const float *dy, float phases, uint16_t *to) {
    filter_samples(from, first, y, count, dx, dy, phases, to);
}

#undef CLV_CLONES

template <typename Sample>
Source<Sample> source_of(const Frame &from, int plane, const Light &light) {
    const Shape &shape = from.shape();
    return {from.row<Sample>(plane, 0),          from.stride(plane),
            shape.plane_width(plane) + 1,        shape.plane_height(plane) + 3,
            static_cast<float>(shape.maximum()), light};
}

} // namespace

Field::Field(const Shape &shape)
    : columns_((shape.width + kStep - 1) / kStep + 1), rows_((shape.height + kStep - 1) / kStep + 1),
      nodes_(static_cast<size_t>(columns_) * static_cast<size_t>(rows_), Point::Zero()) {}

Field::Field(const Shape &shape, const Mesh &mesh) : Field(shape) {
    if (mesh.is_identity())
        return;
    for (int row = 0; row < rows_; row++)
        for (int column = 0; column < columns_; column++) {
            const Point at(static_cast<float>(column * kStep), static_cast<float>(row * kStep));
            nodes_[static_cast<size_t>(row) * columns_ + column] = bounded(mesh(at) - at);
        }
}

Point Field::at(const Point &point) const {
    const float u = point.x() * (1.F / kStep);
    const float v = point.y() * (1.F / kStep);
    const int column = std::clamp(floor_of(u), 0, columns_ - 2);
    const int row = std::clamp(floor_of(v), 0, rows_ - 2);
    const float t = v - static_cast<float>(row);
    return mix(mix(node(column, row), node(column, row + 1), t),
               mix(node(column + 1, row), node(column + 1, row + 1), t), u - static_cast<float>(column));
}

void Field::row(float x, float y, float step, int count, float *dx, float *dy) const {
    const float v = y * (1.F / kStep);
    const int row = std::clamp(floor_of(v), 0, rows_ - 2);
    const float t = v - static_cast<float>(row);
    for (int i = 0; i < count;) {
        const float u = (x + static_cast<float>(i) * step) * (1.F / kStep);
        const int column = std::clamp(floor_of(u), 0, columns_ - 2);
        // Up to the next column of nodes; the last cell has no end.
        int end = count;
        if (column < columns_ - 2) {
            const float border = static_cast<float>((column + 1) * kStep);
            end = std::min(count, std::max(i + 1, static_cast<int>(std::ceil((border - x) / step))));
        }
        const Point *upper = &node(column, row);
        const Point *lower = &node(column, row + 1);
        const float left_x = upper[0].x() + t * (lower[0].x() - upper[0].x());
        const float left_y = upper[0].y() + t * (lower[0].y() - upper[0].y());
        const float slope_x = upper[1].x() + t * (lower[1].x() - upper[1].x()) - left_x;
        const float slope_y = upper[1].y() + t * (lower[1].y() - upper[1].y()) - left_y;
        const float du = step * (1.F / kStep);
        const float u0 = x * (1.F / kStep) - static_cast<float>(column);
        for (; i < end; i++) {
            const float s = u0 + static_cast<float>(i) * du;
            dx[i] = left_x + s * slope_x;
            dy[i] = left_y + s * slope_y;
        }
    }
}

Field Field::after(const Field &first) const {
    if (first.is_identity())
        return *this;
    Field result = first;
    for (int row = 0; row < rows_; row++)
        for (int column = 0; column < columns_; column++) {
            const Point here(static_cast<float>(column * kStep), static_cast<float>(row * kStep));
            const Point &way = first.node(column, row);
            result.nodes_[static_cast<size_t>(row) * columns_ + column] = bounded(way + at(here + way));
        }
    return result;
}

Field Field::inverse() const {
    if (is_identity())
        return *this;
    constexpr int kRounds = 8;
    Field result = *this;
    for (int row = 0; row < rows_; row++)
        for (int column = 0; column < columns_; column++) {
            const Point here(static_cast<float>(column * kStep), static_cast<float>(row * kStep));
            Point back = -node(column, row);
            for (int round = 0; round < kRounds; round++)
                back = bounded(-at(here + back));
            result.nodes_[static_cast<size_t>(row) * columns_ + column] = back;
        }
    return result;
}

void Field::shift(const Point &by) {
    for (Point &node : nodes_)
        node += by;
}

bool Field::is_identity() const {
    return std::all_of(nodes_.begin(), nodes_.end(), [](const Point &p) { return p.x() == 0 && p.y() == 0; });
}

const float *resampling_weights() {
    return kWeights.of[0].data();
}

template <typename Sample>
void resample_luma(const Frame &from, const Field &field, const Light &light, int y, int first, int last,
                   Sample *to) {
    float dx[kPiece];
    float dy[kPiece];
    const auto source = source_of<Sample>(from, 0, light);
    for (int begin = first; begin < last; begin += kPiece) {
        const int count = std::min(last - begin, kPiece);
        field.row(static_cast<float>(begin), static_cast<float>(y), 1, count, dx, dy);
        filter_row(source, begin, y, count, dx, dy, kPhases, to + begin);
    }
}

template <typename Sample>
void resample_chroma(const Frame &from, const Field &field, const Light &light_u, const Light &light_v, int y,
                     int first, int last, Sample *to_u, Sample *to_v) {
    float dx[kPiece];
    float dy[kPiece];
    const auto source_u = source_of<Sample>(from, 1, light_u);
    const auto source_v = source_of<Sample>(from, 2, light_v);
    for (int begin = first; begin < last; begin += kPiece) {
        const int count = std::min(last - begin, kPiece);
        // A chroma sample sits at the middle of its block, whatever the siting: it is the same in all
        // pictures.
        field.row(2 * static_cast<float>(begin) + 0.5F, 2 * static_cast<float>(y) + 0.5F, 2, count, dx, dy);
        filter_row(source_u, begin, y, count, dx, dy, kPhases / 2.F, to_u + begin);
        filter_row(source_v, begin, y, count, dx, dy, kPhases / 2.F, to_v + begin);
    }
}

template <typename Sample>
float sample_at(const Frame &from, int plane, int x, int y, const Point &way) {
    const int qx = x * kPhases + floor_of(way.x() * kPhases + 0.5F);
    const int qy = y * kPhases + floor_of(way.y() * kPhases + 0.5F);
    const int row = std::clamp(qy >> 6, -4, from.shape().plane_height(plane) + 3);
    const int column = std::clamp(qx >> 6, -5, from.shape().plane_width(plane) + 1);
    return filtered(from.row<Sample>(plane, row) + column, from.stride(plane), qx & (kPhases - 1),
                    qy & (kPhases - 1));
}

template float sample_at<uint8_t>(const Frame &, int, int, int, const Point &);
template float sample_at<uint16_t>(const Frame &, int, int, int, const Point &);
template void resample_luma(const Frame &, const Field &, const Light &, int, int, int, uint8_t *);
template void resample_luma(const Frame &, const Field &, const Light &, int, int, int, uint16_t *);
template void resample_chroma(const Frame &, const Field &, const Light &, const Light &, int, int, int,
                              uint8_t *, uint8_t *);
template void resample_chroma(const Frame &, const Field &, const Light &, const Light &, int, int, int,
                              uint16_t *, uint16_t *);

} // namespace clv::mesh
