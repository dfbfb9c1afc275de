// SPDX-License-Identifier: BSD-2-Clause
// What the CPU backend's kernels promise: a chain computes what convolutions by the book compute, with a
// limit of the change and without, every level gives the bits of the reference, and neither the bands nor the
// threads matter. `cpu_test --bench` times the levels.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu/chain.h"
#include "check.h"

namespace {

using check::expect;
using check::random_values;
using check::same;
using check::Shape;
using clv::cpu::Chain;
using clv::cpu::Layer;
using clv::cpu::Level;

constexpr float kNoLimit = std::numeric_limits<float>::infinity();

std::vector<Layer> random_layers(const std::vector<int> &widths, const std::vector<int> &dilations) {
    std::vector<Layer> layers;
    for (size_t i = 0; i + 1 < widths.size(); i++)
        layers.push_back({widths[i], widths[i + 1], dilations[i],
                          random_values(static_cast<size_t>(widths[i] * widths[i + 1] * 9), 0.15F),
                          random_values(static_cast<size_t>(widths[i + 1]), 0.1F)});
    return layers;
}

/// A chain by the book, in double.
std::vector<double> by_the_book(const std::vector<Layer> &layers, float slope, float limit, Shape shape,
                                const std::vector<float> &input) {
    const auto most = static_cast<double>(limit);
    std::vector<double> values(input.begin(), input.end());
    for (size_t i = 0; i < layers.size(); i++) {
        const Layer &layer = layers[i];
        std::vector<double> out(shape.count(layer.out_channels));
        for (int o = 0; o < layer.out_channels; o++)
            for (int y = 0; y < shape.height; y++)
                for (int x = 0; x < shape.width; x++) {
                    double sum = layer.bias[static_cast<size_t>(o)];
                    for (int c = 0; c < layer.in_channels; c++)
                        for (int k = 0; k < 9; k++) {
                            const int fy = y + (k / 3 - 1) * layer.dilation,
                                      fx = x + (k % 3 - 1) * layer.dilation;
                            if (fy >= 0 && fy < shape.height && fx >= 0 && fx < shape.width)
                                sum +=
                                    values[static_cast<size_t>((c * shape.height + fy) * shape.width + fx)] *
                                    static_cast<double>(layer.weights[static_cast<size_t>(
                                        (o * layer.in_channels + c) * 9 + k)]);
                        }
                    const auto at = static_cast<size_t>((o * shape.height + y) * shape.width + x);
                    const bool ends = i + 1 == layers.size();
                    out[at] = ends ? std::clamp(sum, -most, most) + static_cast<double>(input[at])
                                   : std::max(sum, sum * static_cast<double>(slope));
                }
        values = std::move(out);
    }
    return values;
}

std::vector<float> run(const std::vector<Layer> &layers, float limit, Shape shape,
                       const std::vector<float> &input, const Level &level, int band) {
    Chain chain(layers, 0.1F, limit, shape.height, shape.width, level);
    std::vector<float> output(input.size(), std::nanf(""));
    // From the bottom up: a band must not lean on what another has left in scratch memory.
    for (int first = (shape.height - 1) / band * band; first >= 0; first -= band)
        chain.run(input.data(), output.data(), first, std::min(first + band, shape.height));
    return output;
}

struct Case {
    std::vector<int> widths;
    std::vector<int> dilations;
    Shape shape;
};

const std::vector<Case> kCases = {
    {{6, 12, 12, 6}, {1, 1, 1}, {27, 38}},
    {{6, 12, 12, 6}, {1, 1, 1}, {1, 1}},
    {{6, 12, 12, 6}, {1, 1, 1}, {40, 480}},
    {{6, 12, 12, 6}, {1, 2, 4}, {33, 65}},
    {{6, 16, 6}, {1, 1}, {18, 130}},
    {{6, 9, 7, 5, 6}, {1, 3, 1, 2}, {21, 97}},
    {{6, 1, 6}, {5, 1}, {3, 2}},
    {{6, 23, 6}, {1, 1}, {8, 33}},
    {{6, 11, 11, 11, 6}, {1, 1, 2, 1}, {64, 31}},
    {{6, 6}, {1}, {5, 64}},
};

std::string text(const Case &c, const Level &level, float limit) {
    std::string out = level.name;
    for (const int width : c.widths)
        out += " " + std::to_string(width);
    return out + ", " + std::to_string(c.shape.width) + "x" + std::to_string(c.shape.height) + ", limit " +
           std::to_string(limit);
}

void check_level(const Case &c, float limit, const std::vector<Layer> &layers,
                 const std::vector<float> &input) {
    int count = 0;
    const Level *const *levels = clv::cpu::levels(count);
    const auto wanted = by_the_book(layers, 0.1F, limit, c.shape, input);
    const auto reference = run(layers, limit, c.shape, input, *levels[0], c.shape.height);
    double error = 0;
    for (size_t i = 0; i < wanted.size(); i++)
        error = std::max(error, std::abs(wanted[i] - static_cast<double>(reference[i])));
    expect(error < 3e-5, text(c, *levels[0], limit) + " is off by " + std::to_string(error));
    for (int i = 0; i < count; i++)
        for (const int band : {4, 12, 16, c.shape.height})
            expect(same(run(layers, limit, c.shape, input, *levels[i], band), reference),
                   text(c, *levels[i], limit) + " in bands of " + std::to_string(band) +
                       " gives other bits than the reference");
}

void check_levels() {
    for (const Case &c : kCases) {
        const auto layers = random_layers(c.widths, c.dilations);
        const auto input = random_values(c.shape.count(c.widths[0]), 0.3F);
        for (const float limit : {kNoLimit, 0.1F})
            check_level(c, limit, layers, input);
    }
}

/// A limit changes what lies beyond it and nothing else.
void check_limit() {
    const Case &c = kCases[0];
    const Level &level = clv::cpu::best_level();
    const float limit = 0.1F;
    const auto layers = random_layers(c.widths, c.dilations);
    const auto input = random_values(c.shape.count(6), 0.3F);
    const auto free = run(layers, kNoLimit, c.shape, input, level, c.shape.height);
    const auto limited = run(layers, limit, c.shape, input, level, c.shape.height);
    size_t beyond = 0;
    for (size_t i = 0; i < input.size(); i++) {
        if (std::abs(free[i] - input[i]) <= limit - 1e-6F) {
            expect(free[i] == limited[i], "a change within the limit is another with it");
        } else {
            beyond++;
            expect(std::abs(limited[i] - input[i]) <= limit + 1e-6F, "a change goes beyond the limit");
        }
    }
    expect(beyond > input.size() / 8 && beyond < input.size() * 7 / 8, "the limit's test tests nothing");
}

void check_threads() {
    const Case &c = kCases[2];
    const auto layers = random_layers(c.widths, c.dilations);
    const auto input = random_values(c.shape.count(6), 0.3F);
    const auto wanted = run(layers, kNoLimit, c.shape, input, clv::cpu::best_level(), c.shape.height);
    Chain chain(layers, 0.1F, kNoLimit, c.shape.height, c.shape.width);
    std::vector<float> output(input.size());
    std::vector<std::thread> threads;
    for (int t = 0; t < 5; t++)
        threads.emplace_back([&, t] { chain.run(input.data(), output.data(), 8 * t, 8 * t + 8); });
    for (auto &thread : threads)
        thread.join();
    expect(same(output, wanted), "bands on threads give other bits");
}

void bench() {
    const Shape shape = {540, 960};
    const auto layers = random_layers({6, 12, 12, 6}, {1, 1, 1});
    const auto input = random_values(shape.count(6), 0.3F);
    std::vector<float> output(input.size());
    int count = 0;
    const Level *const *levels = clv::cpu::levels(count);
    std::printf("1080p, 6-12-12-6 channels (1.34 GMAC), one thread, processor time, the fastest of ten\n");
    for (int i = 0; i < count; i++) {
        Chain chain(layers, 0.1F, 0.02F, shape.height, shape.width, *levels[i]);
        const double best =
            check::fastest(i ? 10 : 2, [&] { chain.run(input.data(), output.data(), 0, shape.height); });
        std::printf("%-10s %8.2f ms\n", levels[i]->name, 1e3 * best);
    }
}

} // namespace

int main(int argc, char **argv) {
    if (argc > 1 && std::strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }
    check_levels();
    check_limit();
    check_threads();
    std::printf("%s: %d failures\n", clv::cpu::best_level().name, check::failures);
    return check::failures != 0;
}
