// SPDX-License-Identifier: BSD-2-Clause
// What is remembered, resampled once and in the light of now.
//
// draw: a thread a sample. 36 samples of the slot's frame each, which neighbours share through the L1; at
// 1280x720 with a hole of 15 % 0.2 M samples, 30 M instructions of threads: microseconds on any device, and
// the traffic is that of the hole, 0.3 MB in and out.
//
// lights: a block of threads for each slot and plane. Sums are one thread's, in the order of the points, as
// the host's: 600 points, eleven times. Medians by digits of 8 bits.
#include "mesh/cuda/samples.cuh"

namespace clv::mesh::cuda {
namespace {

constexpr int kPhases = 64;
constexpr int kTaps = 6;

/// `at`: the sample at the whole part of the position. The host adds two more products in each row, with
/// zeros.
template <class Sample>
CLV_DEVICE float filtered(const Sample *at, int stride, const float *weights, int phase_x, int phase_y) {
    const float *wx = weights + 8 * phase_x;
    const float *wy = weights + 8 * phase_y;
    const Sample *row = at - 2 * static_cast<ptrdiff_t>(stride) - 2;
    float sum[kTaps] = {};
#pragma unroll
    for (int y = 0; y < kTaps; y++, row += stride) {
        const float weight = wy[y];
#pragma unroll
        for (int x = 0; x < kTaps; x++)
            sum[x] += weight * static_cast<float>(row[x]);
    }
#pragma unroll
    for (int x = 0; x < kTaps; x++)
        sum[x] *= wx[x];
    return ((sum[0] + sum[4]) + sum[2]) + ((sum[1] + sum[5]) + sum[3]);
}

template <class Sample>
CLV_DEVICE float sample_at(const void *frame, const Layout &layout, int plane, int qx, int qy,
                           const float *weights, bool copy_whole) {
    const int phase_x = qx & (kPhases - 1);
    const int phase_y = qy & (kPhases - 1);
    // Whole positions are held within the border.
    const Sample *at =
        row_of<Sample>(frame, layout, plane, clamp_int(qy >> 6, -4, layout.height[plane] + 3)) +
        clamp_int(qx >> 6, -5, layout.width[plane] + 1);
    if (copy_whole && (phase_x | phase_y) == 0)
        return static_cast<float>(*at);
    return filtered(at, layout.stride[plane], weights, phase_x, phase_y);
}

template <class Sample>
CLV_DEVICE void draw_samples(const DrawParams &p) {
    const int plane = static_cast<int>(blockIdx.z);
    const int scale = plane == 0 ? 2 : 1;
    const int x = thread_x() + scale * p.blocks.box.x0;
    const int y = thread_y() + scale * p.blocks.box.y0;
    if (x >= min(scale * p.blocks.box.x1, p.layout.width[plane]) ||
        y >= min(scale * p.blocks.box.y1, p.layout.height[plane]))
        return;
    const int slot = static_cast<int>(block_at(p.blocks, x / scale, y / scale) & kSlotBits) - 1;
    if (slot < 0)
        return;
    Nodes nodes = p.nodes;
    nodes.nodes = p.slots[slot].nodes;
    // A chroma sample is at the middle of its block.
    const float centre = plane == 0 ? 0.F : 0.5F;
    const float luma_x = static_cast<float>(plane == 0 ? x : 2 * x) + centre;
    const float luma_y = static_cast<float>(plane == 0 ? y : 2 * y) + centre;
    const Way way = field_at(nodes, p.field_columns, p.field_rows, luma_x, luma_y);
    const float phases = plane == 0 ? kPhases : kPhases / 2.F;
    const int qx = x * kPhases + static_cast<int>(floorf(way.x * phases + 0.5F));
    const int qy = y * kPhases + static_cast<int>(floorf(way.y * phases + 0.5F));
    const float value = sample_at<Sample>(p.slots[slot].frame, p.layout, plane, qx, qy, p.weights, true);
    LightValue light{1, 0};
    if ((p.fresh >> slot & 1) == 0)
        light = p.lights[3 * slot + plane];
    row_of<Sample>(p.canvas, p.layout, plane, y)[x] = static_cast<Sample>(
        static_cast<int>(clamp_float(value * light.gain + light.offset, 0.F, p.maximum) + 0.5F));
}

// ------------------------------------------------------------------------------------------------ lights

// light.cpp
constexpr int kEnough = 64;
constexpr float kDeadZone = 0.4F;
constexpr double kSignificant = 4;
constexpr float kFlat = 1.0F;

/// What a block of threads keeps in shared memory: then and now of each point, its error, and this.
struct Fit {
    unsigned bins[256];
    unsigned rank, prefix;
    double mean_past, mean_now, spread_past, spread_now, left;
    float gain, offset, limit;
    int count, done;
};
static_assert(sizeof(Fit) <= kFitBytes);

struct Points {
    float *past;
    float *now;
    float *error;
    int count;
};

/// Order of unsigned numbers = order of floats.
CLV_DEVICE unsigned ordered(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return (bits & 0x80000000U) ? ~bits : bits | 0x80000000U;
}
CLV_DEVICE float from_ordered(unsigned bits) {
    bits = (bits & 0x80000000U) ? bits & 0x7fffffffU : ~bits;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/// The error that `rank` others are not above; for all threads of the block.
CLV_DEVICE float select_error(const Points &points, int rank, Fit &fit) {
    if (threadIdx.x == 0) {
        fit.rank = static_cast<unsigned>(rank);
        fit.prefix = 0;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (unsigned i = threadIdx.x; i < 256; i += blockDim.x)
            fit.bins[i] = 0;
        __syncthreads();
        const unsigned prefix = fit.prefix;
        for (int i = static_cast<int>(threadIdx.x); i < points.count; i += static_cast<int>(blockDim.x)) {
            const unsigned bits = ordered(points.error[i]);
            if (shift == 24 || bits >> (shift + 8) == prefix)
                atomicAdd(&fit.bins[bits >> shift & 255], 1U);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            unsigned digit = 0;
            for (; fit.rank >= fit.bins[digit]; digit++)
                fit.rank -= fit.bins[digit];
            fit.prefix = prefix << 8 | digit;
        }
        __syncthreads();
    }
    return from_ordered(fit.prefix);
}

/// Means, then spreads, of the points whose error is within the limit: thread 0 of then, thread 1 of now.
CLV_DEVICE void find_moments(const Points &points, bool all, Fit &fit) {
    const unsigned part = threadIdx.x;
    if (part < 2) {
        const float *values = part == 0 ? points.past : points.now;
        double sum = 0;
        int count = 0;
        for (int i = 0; i < points.count; i++)
            if (all || points.error[i] <= fit.limit) {
                sum += values[i];
                count++;
            }
        const auto n = static_cast<double>(count);
        const double mean = sum / n;
        double spread = 0;
        for (int i = 0; i < points.count; i++)
            if (all || points.error[i] <= fit.limit)
                spread += (values[i] - mean) * (values[i] - mean);
        spread = sqrt(spread / n);
        if (part == 0) {
            fit.mean_past = mean;
            fit.spread_past = spread;
            fit.count = count;
        } else {
            fit.mean_now = mean;
            fit.spread_now = spread;
        }
    }
    __syncthreads();
}

/// One round: leaves out what does not fit, fits again. Returns whether there may be another.
CLV_DEVICE bool fit_again(const Points &points, float unit, Fit &fit) {
    for (int i = static_cast<int>(threadIdx.x); i < points.count; i += static_cast<int>(blockDim.x))
        points.error[i] = fabsf(points.now[i] - (fit.gain * points.past[i] + fit.offset));
    __syncthreads();
    const float median = select_error(points, points.count / 2, fit);
    if (threadIdx.x == 0) {
        fit.limit = 4 * median + 2 * unit;
        int kept = 0;
        for (int i = 0; i < points.count; i++)
            kept += points.error[i] <= fit.limit;
        fit.done = kept < kEnough;
    }
    __syncthreads();
    if (fit.done)
        return false;
    find_moments(points, false, fit);
    if (threadIdx.x == 0) {
        float gain = 1;
        if (fit.spread_past > kFlat * unit) {
            const double ratio = fit.spread_now / fit.spread_past;
            gain = static_cast<float>(ratio < 0.1 ? 0.1 : ratio > 10.0 ? 10.0 : ratio);
        }
        fit.gain = gain;
        fit.offset = static_cast<float>(fit.mean_now - gain * fit.mean_past);
        double error = 0;
        for (int i = 0; i < points.count; i++)
            if (points.error[i] <= fit.limit) {
                const double left = points.now[i] - (fit.gain * points.past[i] + fit.offset);
                error += left * left;
            }
        fit.left = sqrt(error) / static_cast<double>(fit.count);
    }
    __syncthreads();
    return true;
}

/// robust_fit() of light.cpp; the result is thread 0's.
CLV_DEVICE LightValue robust_fit(const Points &points, float unit, Fit &fit) {
    for (int i = static_cast<int>(threadIdx.x); i < points.count; i += static_cast<int>(blockDim.x))
        points.error[i] = points.now[i] - points.past[i];
    __syncthreads();
    const float middle = select_error(points, points.count / 2, fit);
    if (threadIdx.x == 0) {
        fit.gain = 1;
        fit.offset = middle;
        fit.left = 0;
    }
    __syncthreads();
    for (int round = 0; round < 3; round++)
        if (!fit_again(points, unit, fit))
            break;
    find_moments(points, true, fit);
    const double significant = kSignificant * fit.left;
    const double least = kDeadZone * unit;
    const double dead_zone = least < significant ? significant : least;
    const double low = fit.mean_past - 2 * fit.spread_past;
    const double high = fit.mean_past + 2 * fit.spread_past;
    const LightValue light{fit.gain, fit.offset};
    if (fabs(light.gain * low + light.offset - low) > dead_zone ||
        fabs(light.gain * high + light.offset - high) > dead_zone)
        return light;
    return {1, 0};
}

template <class Sample>
CLV_DEVICE void find_lights(const LightParams &p) {
    const LightJob job = p.jobs[blockIdx.x];
    const int plane = static_cast<int>(blockIdx.y);
    const bool own = job.count > 0;
    const LightJob &from = own ? job : p.step;
    auto *base = reinterpret_cast<float *>(clv::cuda::dynamic_shared() + kFitBytes);
    Fit &fit = *reinterpret_cast<Fit *>(clv::cuda::dynamic_shared());
    const Points points{base, base + p.most, base + 2 * p.most, static_cast<int>(from.count)};
    if (points.count == 0) // of the whole block
        return;
    const float share = plane == 0 ? 1.F : 0.5F;
    for (int i = static_cast<int>(threadIdx.x); i < points.count; i += static_cast<int>(blockDim.x)) {
        const LightPoint point = p.points[from.first + static_cast<unsigned>(i)];
        const int x = plane == 0 ? 2 * point.column : point.column;
        const int y = plane == 0 ? 2 * point.row : point.row;
        const int qx = x * kPhases + floor_of(point.way.x * share * kPhases + 0.5F);
        const int qy = y * kPhases + floor_of(point.way.y * share * kPhases + 0.5F);
        points.past[i] = sample_at<Sample>(from.past, p.layout, plane, qx, qy, p.weights, false);
        points.now[i] = static_cast<float>(row_of<Sample>(p.now, p.layout, plane, y)[x]);
    }
    __syncthreads();
    const LightValue found = robust_fit(points, p.unit, fit);
    if (threadIdx.x != 0)
        return;
    LightValue &light = p.lights[3 * job.slot + plane];
    const LightValue before = job.fresh ? LightValue{1, 0} : light;
    light = own ? found : LightValue{before.gain * found.gain, before.offset * found.gain + found.offset};
}

} // namespace
} // namespace clv::mesh::cuda

using namespace clv::mesh::cuda;

CLV_MESH_KERNEL(clv_mesh_draw, DrawParams, 256, draw_samples)
CLV_MESH_KERNEL(clv_mesh_lights, LightParams, 256, find_lights)
