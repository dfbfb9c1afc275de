// SPDX-License-Identifier: BSD-2-Clause

#include "mesh/patch.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace clv::mesh {
namespace {

// Four lanes in any compiler that has GNU vectors. Four, not eight: sums are then the same on every machine,
// and the windows' rows are short.
using Quad = float __attribute__((vector_size(16)));

constexpr float least_texture = 0.05F; // mean squared gradient along the weaker direction, (code / sample)^2
constexpr float least_gain = 0.3F;
constexpr float least_coverage = 0.4F; // of a window by visible samples

Quad load(const float *from) {
    Quad out;
    std::memcpy(&out, from, sizeof out);
    return out;
}

float sum(Quad q) {
    return (q[0] + q[1]) + (q[2] + q[3]);
}

struct Sums {
    float x, y, t;
};

// Rows of the window at a fractional place, each as `quads` vectors: bilinear, along the row first so that a
// row is interpolated once for the two rows of the window that it lies between.
template <int quads, typename Use>
inline void sample_window(const float *from, ptrdiff_t stride, int rows, float fx, float fy, Use use) {
    Quad above[quads];
    const auto along = [fx](const float *row, Quad *to) {
        for (int q = 0; q < quads; q++) {
            const Quad a = load(row + 4 * q);
            to[q] = a + fx * (load(row + 4 * q + 1) - a);
        }
    };
    along(from, above);
    for (int r = 0; r < rows; r++) {
        Quad below[quads];
        along(from + (r + 1) * stride, below);
        for (int q = 0; q < quads; q++) {
            use(r * quads + q, q, above[q] + fy * (below[q] - above[q]));
            above[q] = below[q];
        }
    }
}

template <int quads>
Sums project(const Window &window, const float *from, ptrdiff_t stride, float fx, float fy,
             const float *samples) {
    const float *t = samples;
    const float *gx = samples + window.floats();
    const float *gy = samples + 2 * window.floats();
    Quad sx = {}, sy = {}, st = {};
    sample_window<quads>(from, stride, window.side, fx, fy, [&](int i, int, Quad j) {
        sx += load(gx + 4 * i) * j;
        sy += load(gy + 4 * i) * j;
        st += load(t + 4 * i) * j;
    });
    return {sum(sx), sum(sy), sum(st)};
}

template <int quads>
float correlate(const Window &window, const float *from, ptrdiff_t stride, float fx, float fy,
                const float *samples, float energy) {
    const int last = window.side - 4 * (quads - 1); // lanes of the last vector that belong to the window
    const Quad edge = {1.0F, last > 1 ? 1.0F : 0.0F, last > 2 ? 1.0F : 0.0F, last > 3 ? 1.0F : 0.0F};
    Quad s1 = {}, s2 = {}, st = {};
    const float centre = from[window.half * stride + window.half]; // keeps the sum of squares small
    sample_window<quads>(from, stride, window.side, fx, fy, [&](int i, int q, Quad j) {
        j -= centre;
        if (q == quads - 1)
            j *= edge;
        s1 += j;
        s2 += j * j;
        st += j * load(samples + 4 * i);
    });
    const float mean = sum(s1);
    const float variance = sum(s2) - mean * mean / static_cast<float>(window.side * window.side);
    return variance > 1e-3F ? sum(st) / std::sqrt(variance * energy) : 0.0F;
}

template <int quads>
Aligned align(const Window &window, const PyramidLevel &in, int level, const PatchLevel &patch,
              const float *samples, float &x0, float &y0) {
    const float scale = 1.0F / static_cast<float>(1 << level);
    const int most = level ? 6 : 12;
    const float enough = level ? 0.03F : 0.003F;
    const float start_x = x0 * scale - patch.offset_x, start_y = y0 * scale - patch.offset_y;
    const auto half = static_cast<float>(window.half);
    float x = start_x, y = start_y;
    const auto inside = [&] {
        return x > -1.0F && y > -1.0F && x < static_cast<float>(in.width()) &&
               y < static_cast<float>(in.height());
    };
    const float inverse_energy = 1.0F / patch.energy;
    float gain = 0;
    for (int i = 0; i < most; i++) {
        if (!inside())
            return {};
        const float cx = std::floor(x), cy = std::floor(y);
        const float *from = in.at(static_cast<int>(cx) - window.half, static_cast<int>(cy) - window.half);
        const Sums sums = project<quads>(window, from, in.stride(), x - cx, y - cy, samples);
        gain = sums.t * inverse_energy;
        const float by = 1.0F / std::clamp(gain, least_gain, 4.0F);
        float dx = by * (patch.inverse[0] * sums.x + patch.inverse[1] * sums.y);
        float dy = by * (patch.inverse[1] * sums.x + patch.inverse[2] * sums.y);
        const float length = std::max(std::abs(dx), std::abs(dy));
        if (length > 2.0F) { // the gradient says nothing about places that far away: a step in its direction
            dx *= 2.0F / length;
            dy *= 2.0F / length;
        }
        x -= dx;
        y -= dy;
        if (length < enough)
            break;
    }
    // The first steps may have had a poor gain; at the end there must be a likeness.
    if (!inside() || gain < least_gain || std::abs(x - start_x) > half + 1 ||
        std::abs(y - start_y) > half + 1)
        return {};
    Aligned out;
    out.found = true;
    if (level == 0) {
        const float cx = std::floor(x), cy = std::floor(y);
        const float *from = in.at(static_cast<int>(cx) - window.half, static_cast<int>(cy) - window.half);
        out.correlation = correlate<quads>(window, from, in.stride(), x - cx, y - cy, samples, patch.energy);
    }
    x0 = (x + patch.offset_x) / scale;
    y0 = (y + patch.offset_y) / scale;
    return out;
}

} // namespace

Window::Window(int wanted) : side(std::clamp(wanted, 5, 15) | 1), half(side / 2), quads((side + 3) / 4) {}

void take_patch(const Window &window, const PyramidLevel &from, const HolePyramid &holes, int level, float x,
                float y, PatchLevel &patch, float *samples) {
    patch = {};
    const float scale = 1.0F / static_cast<float>(1 << level);
    const float cx = std::round(x * scale), cy = std::round(y * scale);
    patch.offset_x = x * scale - cx;
    patch.offset_y = y * scale - cy;
    const int left = static_cast<int>(cx) - window.half, top = static_cast<int>(cy) - window.half;
    const int row = 4 * window.quads;
    float *t = samples;
    float *gx = samples + window.floats();
    float *gy = samples + 2 * window.floats();
    std::fill_n(samples, 3 * window.floats(), 0.0F);

    const bool hanging =
        left < 0 || top < 0 || left + window.side > from.width() || top + window.side > from.height();
    const bool partial = hanging || !holes.empty();
    bool seen[15 * 15];
    int count = 0;
    float mean = 0;
    for (int v = 0; v < window.side; v++) {
        const float *at = from.at(left, top + v);
        for (int u = 0; u < window.side; u++) {
            bool visible = true;
            if (partial) {
                const int px = left + u, py = top + v;
                visible = px >= 0 && py >= 0 && px < from.width() && py < from.height() &&
                          (holes.empty() || !holes(level, px, py));
                seen[v * window.side + u] = visible;
            }
            if (!visible)
                continue;
            count++;
            mean += at[u];
            t[v * row + u] = at[u];
            gx[v * row + u] = 0.5F * (at[u + 1] - at[u - 1]);
            gy[v * row + u] = 0.5F * (at[u + from.stride()] - at[u - from.stride()]);
        }
    }
    const auto all = static_cast<float>(window.side * window.side);
    if (static_cast<float>(count) < least_coverage * all)
        return;

    const auto n = static_cast<float>(count);
    mean /= n;
    float mean_x = 0, mean_y = 0, along_x = 0, along_y = 0, energy = 0;
    const auto each = [&](auto use) {
        for (int v = 0; v < window.side; v++)
            for (int u = 0; u < window.side; u++)
                if (!partial || seen[v * window.side + u])
                    use(v * row + u);
    };
    each([&](int i) {
        t[i] -= mean;
        energy += t[i] * t[i];
        mean_x += gx[i];
        mean_y += gy[i];
        along_x += gx[i] * t[i];
        along_y += gy[i] * t[i];
    });
    if (energy < n * least_texture)
        return;
    mean_x /= n;
    mean_y /= n;
    along_x /= energy;
    along_y /= energy;
    float xx = 0, xy = 0, yy = 0;
    each([&](int i) {
        gx[i] -= mean_x + along_x * t[i];
        gy[i] -= mean_y + along_y * t[i];
        xx += gx[i] * gx[i];
        xy += gx[i] * gy[i];
        yy += gy[i] * gy[i];
    });
    const float half_trace = 0.5F * (xx + yy);
    const float root = std::sqrt(0.25F * (xx - yy) * (xx - yy) + xy * xy);
    patch.texture = (half_trace - root) / n;
    const float determinant = xx * yy - xy * xy;
    if (!(patch.texture > least_texture) || !(determinant > 1e-6F * half_trace * half_trace))
        return;
    patch.energy = energy;
    patch.inverse[0] = yy / determinant;
    patch.inverse[1] = -xy / determinant;
    patch.inverse[2] = xx / determinant;
    patch.usable = true;
}

Aligned align_patch(const Window &window, const PyramidLevel &in, int level, const PatchLevel &patch,
                    const float *samples, float &x, float &y) {
    switch (window.quads) {
    case 2:
        return align<2>(window, in, level, patch, samples, x, y);
    case 3:
        return align<3>(window, in, level, patch, samples, x, y);
    default:
        return align<4>(window, in, level, patch, samples, x, y);
    }
}

} // namespace clv::mesh
