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
            use(r * quads + q, above[q] + fy * (below[q] - above[q]));
            above[q] = below[q];
        }
    }
}

// The same by cubic convolution (Keys 1981), for the last steps: linear interpolation shifts a wave by up to
// a hundredth of a sample, by the same amount wherever the fraction is the same, so it does not average out.
template <int quads, typename Use>
inline void sample_window_cubic(const float *from, ptrdiff_t stride, int rows, float fx, float fy, Use use) {
    float wx[4], wy[4];
    const auto weights = [](float t, float *w) {
        w[0] = ((-0.5F * t + 1.0F) * t - 0.5F) * t;
        w[1] = (1.5F * t - 2.5F) * t * t + 1.0F;
        w[2] = ((-1.5F * t + 2.0F) * t + 0.5F) * t;
        w[3] = (0.5F * t - 0.5F) * t * t;
    };
    weights(fx, wx);
    weights(fy, wy);
    Quad lines[4][quads];
    const auto along = [&wx](const float *row, Quad *to) {
        for (int q = 0; q < quads; q++) {
            const float *at = row + 4 * q;
            to[q] = (wx[0] * load(at - 1) + wx[1] * load(at)) + (wx[2] * load(at + 1) + wx[3] * load(at + 2));
        }
    };
    for (int r = -1; r < 2; r++)
        along(from + r * stride, lines[r + 1]);
    for (int r = 0; r < rows; r++) {
        along(from + (r + 2) * stride, lines[(r + 3) & 3]);
        const Quad *a = lines[r & 3], *b = lines[(r + 1) & 3], *c = lines[(r + 2) & 3],
                   *d = lines[(r + 3) & 3];
        for (int q = 0; q < quads; q++)
            use(r * quads + q, (wy[0] * a[q] + wy[1] * b[q]) + (wy[2] * c[q] + wy[3] * d[q]));
    }
}

template <int quads, bool cubic>
Sums project(const Window &window, const float *from, ptrdiff_t stride, float fx, float fy,
             const float *samples) {
    const float *t = samples;
    const float *gx = samples + window.floats();
    const float *gy = samples + 2 * window.floats();
    Quad sx = {}, sy = {}, st = {};
    const auto add = [&](int i, Quad j) {
        sx += load(gx + 4 * i) * j;
        sy += load(gy + 4 * i) * j;
        st += load(t + 4 * i) * j;
    };
    if constexpr (cubic)
        sample_window_cubic<quads>(from, stride, window.side, fx, fy, add);
    else
        sample_window<quads>(from, stride, window.side, fx, fy, add);
    return {sum(sx), sum(sy), sum(st)};
}

template <int quads>
float correlate(const Window &window, const float *from, ptrdiff_t stride, float fx, float fy,
                const float *samples, float energy) {
    Quad s1 = {}, s2 = {}, st = {};
    const float centre = from[window.half * stride + window.half]; // keeps the sum of squares small
    sample_window<quads>(from, stride, window.side, fx, fy, [&](int i, Quad j) {
        j -= centre;
        const Quad weighted = load(window.weight.data() + 4 * i) * j;
        s1 += weighted;
        s2 += weighted * j;
        st += j * load(samples + 4 * i);
    });
    const float mean = sum(s1);
    const float variance = sum(s2) - mean * mean / window.total;
    return variance > 1e-3F ? sum(st) / std::sqrt(variance * energy) : 0.0F;
}

template <int quads>
Aligned align(const Window &window, const PyramidLevel &in, int level, const PatchLevel &patch,
              const float *samples, const Distortion &distortion, float &x0, float &y0) {
    const float scale = 1.0F / static_cast<float>(1 << level);
    const int most = level ? 6 : 12;
    constexpr int most_cubic = 3;
    const float enough = level ? 0.03F : 0.01F;
    float known_x = 0, known_y = 0;
    for (std::size_t i = 0; i < 4; i++) {
        known_x += distortion[i] * patch.known[0][i];
        known_y += distortion[i] * patch.known[1][i];
    }
    const float start_x = x0 * scale - patch.offset_x, start_y = y0 * scale - patch.offset_y;
    const auto half = static_cast<float>(window.half);
    float x = start_x, y = start_y;
    const auto inside = [&] {
        return x > -1.0F && y > -1.0F && x < static_cast<float>(in.width()) &&
               y < static_cast<float>(in.height());
    };
    const float inverse_energy = 1.0F / patch.energy;
    float gain = 0;
    bool fine = false;
    for (int i = 0, last = most; i < last; i++) {
        if (!inside())
            return {};
        const float cx = std::floor(x), cy = std::floor(y);
        const float *from = in.at(static_cast<int>(cx) - window.half, static_cast<int>(cy) - window.half);
        const Sums sums = fine ? project<quads, true>(window, from, in.stride(), x - cx, y - cy, samples)
                               : project<quads, false>(window, from, in.stride(), x - cx, y - cy, samples);
        gain = sums.t * inverse_energy;
        const float by = 1.0F / std::clamp(gain, least_gain, 4.0F);
        const float sx = by * sums.x + known_x, sy = by * sums.y + known_y;
        float dx = patch.inverse[0] * sx + patch.inverse[1] * sy;
        float dy = patch.inverse[1] * sx + patch.inverse[2] * sy;
        const float length = std::max(std::abs(dx), std::abs(dy));
        if (length > 2.0F) { // the gradient says nothing about places that far away: a step in its direction
            dx *= 2.0F / length;
            dy *= 2.0F / length;
        }
        x -= dx;
        y -= dy;
        if (level == 0 && !fine && (length < 4 * enough || i + 1 == last)) {
            fine = true;
            last = i + 1 + most_cubic;
        } else if (length < enough) {
            break;
        }
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

Window::Window(int wanted) : side(std::clamp(wanted, 5, 15) | 1), half(side / 2), quads((side + 3) / 4) {
    weight.assign(static_cast<std::size_t>(floats()), 0.0F);
    const float reach = static_cast<float>(half) + 1.0F;
    for (int v = -half; v <= half; v++)
        for (int u = -half; u <= half; u++) {
            const float x = static_cast<float>(u) / reach, y = static_cast<float>(v) / reach;
            const float w = (1 - x * x) * (1 - y * y);
            weight[static_cast<std::size_t>((v + half) * 4 * quads + u + half)] = w;
            total += w;
        }
}

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
    float weight[15 * 16]; // 0 where nothing is seen
    float total = 0, mean = 0;
    for (int v = 0; v < window.side; v++) {
        const float *at = from.at(left, top + v);
        for (int u = 0; u < window.side; u++) {
            const int i = v * row + u;
            weight[i] = window.weight[static_cast<std::size_t>(i)];
            if (partial) {
                const int px = left + u, py = top + v;
                if (px < 0 || py < 0 || px >= from.width() || py >= from.height() ||
                    (!holes.empty() && holes(level, px, py)))
                    weight[i] = 0;
            }
            total += weight[i];
            mean += weight[i] * at[u];
            t[i] = at[u];
            gx[i] = 0.5F * (at[u + 1] - at[u - 1]);
            gy[i] = 0.5F * (at[u + from.stride()] - at[u - from.stride()]);
        }
    }
    if (total < least_coverage * window.total)
        return;

    mean /= total;
    float mean_x = 0, mean_y = 0, along_x = 0, along_y = 0, energy = 0;
    const auto each = [&](auto use) {
        for (int v = 0; v < window.side; v++)
            for (int u = 0; u < window.side; u++)
                use(v * row + u, weight[v * row + u]);
    };
    each([&](int i, float w) {
        t[i] -= mean;
        energy += w * t[i] * t[i];
        mean_x += w * gx[i];
        mean_y += w * gy[i];
        along_x += w * gx[i] * t[i];
        along_y += w * gy[i] * t[i];
    });
    if (energy < total * least_texture)
        return;
    mean_x /= total;
    mean_y /= total;
    along_x /= energy;
    along_y /= energy;
    float xx = 0, xy = 0, yy = 0;
    each([&](int i, float w) {
        const float dx = gx[i] - mean_x - along_x * t[i], dy = gy[i] - mean_y - along_y * t[i];
        xx += w * dx * dx;
        xy += w * dx * dy;
        yy += w * dy * dy;
        const int column = i % row, line = i / row;
        const auto u = static_cast<float>(column - window.half), v = static_cast<float>(line - window.half);
        const float moved[4] = {gx[i] * u, gx[i] * v, gy[i] * u, gy[i] * v};
        for (int n = 0; n < 4; n++) {
            patch.known[0][n] += w * dx * moved[n];
            patch.known[1][n] += w * dy * moved[n];
        }
        t[i] *= w;
        gx[i] = w * dx;
        gy[i] = w * dy;
    });
    const float half_trace = 0.5F * (xx + yy);
    const float root = std::sqrt(0.25F * (xx - yy) * (xx - yy) + xy * xy);
    patch.texture = (half_trace - root) / total;
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
                    const float *samples, const Distortion &distortion, float &x, float &y) {
    switch (window.quads) {
    case 2:
        return align<2>(window, in, level, patch, samples, distortion, x, y);
    case 3:
        return align<3>(window, in, level, patch, samples, distortion, x, y);
    default:
        return align<4>(window, in, level, patch, samples, distortion, x, y);
    }
}

} // namespace clv::mesh
