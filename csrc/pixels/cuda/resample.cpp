// SPDX-License-Identifier: BSD-2-Clause

#include "pixels/cuda/resample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <numbers>

namespace clv::pixels::device {
namespace {

/// Keys' cubic with a = -1/2 (Mitchell and Netravali's with B = 0, C = 1/2).
double cubic(double x) {
    x = std::abs(x);
    if (x < 1.0)
        return 1.0 + x * x * (1.5 * x - 2.5);
    return x < 2.0 ? 2.0 + x * (-4.0 + x * (2.5 - 0.5 * x)) : 0.0;
}

double sinc(double x) {
    return x == 0.0 ? 1.0 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi);
}

double lanczos3(double x) {
    return std::abs(x) < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

/// Half up, such that round(x - 1) == round(x) - 1 also where a half is not exact.
double round_half_up(double x) {
    return x < 0.0 ? std::floor(x + 0.5) : std::floor(x + 0.49999999999999994);
}

/// Weights in 14 bits: each is rounded with the error of those before it, and the largest takes what is still
/// missing from 1.
void quantise(const std::array<double, lanczos_taps> &exact, std::int16_t *out) {
    constexpr double one = 16384.0;
    double error = 0.0;
    int sum = 0;
    int largest = 0;
    for (int t = 0; t < lanczos_taps; t++) {
        const double wanted = exact[static_cast<std::size_t>(t)] * one - error;
        const long rounded = std::lrint(wanted);
        error = static_cast<double>(rounded) - wanted;
        out[t] = static_cast<std::int16_t>(rounded);
        sum += out[t];
        if (out[t] > out[largest])
            largest = t;
    }
    out[largest] = static_cast<std::int16_t>(out[largest] + 16384 - sum);
}

struct Luminance {
    double red, blue;
};

/// K_R and K_B of H.273, table 4: BT.601 (5 and 6), BT.709 (1), BT.2020 (9).
Luminance luminance(Matrix matrix) {
    switch (matrix) {
    case Matrix::bt601:
        return {0.299, 0.114};
    case Matrix::bt2020ncl:
        return {0.2627, 0.0593};
    case Matrix::bt709:
        break;
    }
    return {0.2126, 0.0722};
}

struct Codes {
    double offset, span;
};

Codes codes(const PictureFormat &format, bool chroma) {
    const int extra = format.bit_depth - 8;
    const double full = (1 << format.bit_depth) - 1;
    if (chroma)
        return {static_cast<double>(128 << extra), format.full_range ? full : 224 << extra};
    return {format.full_range ? 0.0 : 16 << extra, format.full_range ? full : 219 << extra};
}

} // namespace

UpWeights cubic_up(bool level) {
    UpWeights out = {};
    for (int parity = 0; parity < 2; parity++)
        for (int t = 0; t < 4; t++) {
            const double at = (parity + 0.5) / 2.0 + (level ? 0.25 : 0.0); // of chroma sample 0's left edge
            out.weight[parity][t] = static_cast<float>(cubic(t - 2 + parity + 0.5 - at));
        }
    return out;
}

DownWeights cubic_down(bool level) {
    DownWeights out = {};
    for (int t = 0; t < 8; t++) {
        const double at = level ? 0.5 : 1.0; // of luma position 0's left edge
        out.weight[t] = static_cast<float>(cubic((t - 3 + 0.5 - at) / 2.0) / 2.0);
    }
    return out;
}

LanczosWeights lanczos(int source, int target, double shift, double extent) {
    LanczosWeights out;
    const double scale = target / extent;
    for (int i = 0; i < target; i++) {
        const double at = (i + 0.5) / scale + shift;
        const double begin = round_half_up(at - lanczos_taps / 2.0) + 0.5;
        double total = 0.0;
        for (int t = 0; t < lanczos_taps; t++)
            total += lanczos3(begin + t - at);
        std::array<int, lanczos_taps> from = {};
        for (int t = 0; t < lanczos_taps; t++) {
            const int k = static_cast<int>(std::floor(begin)) + t;
            const int mirrored = k < 0 ? -1 - k : k >= source ? 2 * source - 1 - k : k;
            from[static_cast<std::size_t>(t)] = std::clamp(mirrored, 0, source - 1);
        }
        const int first =
            std::min(*std::min_element(from.begin(), from.end()), std::max(0, source - lanczos_taps));
        std::array<double, lanczos_taps> exact = {};
        for (int t = 0; t < lanczos_taps; t++)
            exact[static_cast<std::size_t>(from[static_cast<std::size_t>(t)] - first)] +=
                lanczos3(begin + t - at) / total;
        out.first.push_back(first);
        out.weight.resize(out.weight.size() + lanczos_taps);
        quantise(exact, out.weight.data() + out.weight.size() - lanczos_taps);
    }
    return out;
}

void matrix_to_rgb(Matrix matrix, float (&out)[3][3]) {
    const auto [red, blue] = luminance(matrix);
    const double green = 1.0 - red - blue;
    const double exact[3][3] = {
        {1.0, 0.0, 2.0 - 2.0 * red},
        {1.0, -2.0 * blue * (1.0 - blue) / green, -2.0 * red * (1.0 - red) / green},
        {1.0, 2.0 - 2.0 * blue, 0.0},
    };
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            out[r][c] = static_cast<float>(exact[r][c]);
}

void matrix_from_rgb(Matrix matrix, float (&out)[3][3]) {
    const auto [red, blue] = luminance(matrix);
    const double green = 1.0 - red - blue;
    const double cb = 1.0 / (2.0 - 2.0 * blue);
    const double cr = 1.0 / (2.0 - 2.0 * red);
    const double exact[3][3] = {
        {red, green, blue},
        {-red * cb, -green * cb, (1.0 - blue) * cb},
        {(1.0 - red) * cr, -green * cr, -blue * cr},
    };
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            out[r][c] = static_cast<float>(exact[r][c]);
}

Linear values_of_codes(const PictureFormat &format, bool chroma) {
    const auto [offset, span] = codes(format, chroma);
    return {static_cast<float>(1.0 / span), static_cast<float>(-offset / span)};
}

Linear codes_of_values(const PictureFormat &format, bool chroma) {
    const auto [offset, span] = codes(format, chroma);
    return {static_cast<float>(span), static_cast<float>(offset)};
}

} // namespace clv::pixels::device
