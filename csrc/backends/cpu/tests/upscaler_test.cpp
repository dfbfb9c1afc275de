// SPDX-License-Identifier: BSD-2-Clause
// What the upscaler promises: it computes what convolutions by the book compute, every level gives the bits
// of the reference, and neither the bands nor the threads matter. `upscaler_test --bench` times the levels.
#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "backends/cpu/upscaler.h"
#include "check.h"

namespace {

using check::expect;
using check::random_values;
using check::Shape;
using clv::SrConv;
using clv::SrNet;
using clv::cpu::Level;
using clv::cpu::Upscaler;

constexpr float kSlope = 0.1F;

/// A layer that keeps the size of what goes through it.
SrConv random_conv(int in, int out) {
    const auto weights = static_cast<size_t>(in * out * 9);
    return {in, out, random_values(weights, 1.2F / std::sqrt(9.0F * static_cast<float>(in))),
            random_values(static_cast<size_t>(out), 0.1F)};
}

SrNet random_net(int channels, int blocks) {
    SrNet net;
    net.channels = channels;
    net.slope = kSlope;
    net.head = random_conv(6, channels);
    for (int i = 0; i < blocks; i++)
        net.blocks.push_back(random_conv(channels, channels));
    net.tail = random_conv(channels, 24);
    return net;
}

using Values = std::vector<double>;

/// A convolution with zeros around the picture.
Values convolve(const SrConv &conv, Shape shape, const Values &values) {
    Values out(shape.count(conv.out_channels));
    for (int o = 0; o < conv.out_channels; o++)
        for (int y = 0; y < shape.height; y++)
            for (int x = 0; x < shape.width; x++) {
                double sum = conv.bias[static_cast<size_t>(o)];
                for (int c = 0; c < conv.in_channels; c++)
                    for (int k = 0; k < 9; k++) {
                        const int fy = y + k / 3 - 1, fx = x + k % 3 - 1;
                        if (fy >= 0 && fy < shape.height && fx >= 0 && fx < shape.width)
                            sum += values[static_cast<size_t>((c * shape.height + fy) * shape.width + fx)] *
                                   static_cast<double>(
                                       conv.weights[static_cast<size_t>((o * conv.in_channels + c) * 9 + k)]);
                    }
                out[static_cast<size_t>((o * shape.height + y) * shape.width + x)] = sum;
            }
    return out;
}

Values activate(Values values) {
    for (double &value : values)
        value = std::max(value, value * static_cast<double>(kSlope));
    return values;
}

/// The net by the book, in double.
Values by_the_book(const SrNet &net, Shape shape, const std::vector<float> &input) {
    const Values picture(input.begin(), input.end());
    Values x = activate(convolve(net.head, shape, picture));
    for (const SrConv &block : net.blocks) {
        const Values y = activate(convolve(block, shape, x));
        std::transform(x.begin(), x.end(), y.begin(), x.begin(), std::plus());
    }
    Values out = convolve(net.tail, shape, x);
    const size_t count = shape.count(1);
    // 4x4 luma of 2x2, then 2x2 of U and of V
    constexpr size_t from[] = {0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5};
    for (size_t i = 0; i < out.size(); i++)
        out[i] += picture[from[i / count] * count + i % count];
    return out;
}

std::vector<float> run(const SrNet &net, Shape shape, const std::vector<float> &input, const Level &level,
                       int band) {
    Upscaler upscaler(net, shape.height, shape.width, level);
    std::vector<float> output(shape.count(24), std::nanf(""));
    // From the bottom up: a band must not lean on what another has left in scratch memory.
    for (int first = (shape.height - 1) / band * band; first >= 0; first -= band)
        upscaler.run(input.data(), output.data(), first, std::min(first + band, shape.height));
    return output;
}

struct Case {
    int channels;
    int blocks;
    Shape shape;
};

// Less than a tile, a vector, a strip; whole ones; one position more.
const Case kCases[] = {
    {32, 2, {1, 1}},   {32, 2, {5, 3}},    {32, 2, {13, 64}},  {16, 4, {22, 65}}, {24, 2, {8, 191}},
    {24, 3, {9, 192}}, {48, 1, {12, 193}}, {28, 2, {19, 130}}, {12, 1, {37, 38}}, {40, 5, {27, 50}},
};

void check_levels() {
    int count = 0;
    const Level *const *levels = clv::cpu::levels(count);
    for (const Case &c : kCases) {
        const SrNet net = random_net(c.channels, c.blocks);
        const auto input = random_values(c.shape.count(6), 0.3F);
        const std::string what = std::to_string(c.channels) + " channels, " + std::to_string(c.blocks) +
                                 " blocks, " + std::to_string(c.shape.width) + "x" +
                                 std::to_string(c.shape.height);
        const Values wanted = by_the_book(net, c.shape, input);
        const auto reference = run(net, c.shape, input, *levels[0], c.shape.height);
        double error = 0;
        for (size_t i = 0; i < wanted.size(); i++)
            error = std::max(error, std::abs(wanted[i] - static_cast<double>(reference[i])));
        // Values of about 1; a code of 10 bits is 1.1e-3.
        expect(error < 5e-5, what + " is off by " + std::to_string(error));
        for (int i = 0; i < count; i++)
            for (const int band : {4, 12, c.shape.height})
                expect(check::same(run(net, c.shape, input, *levels[i], band), reference),
                       std::string(levels[i]->name) + ", " + what + ", in bands of " + std::to_string(band) +
                           ", gives other bits than the reference");
    }
}

void check_threads() {
    const Shape shape = {40, 200};
    const SrNet net = random_net(32, 2);
    const auto input = random_values(shape.count(6), 0.3F);
    const auto wanted = run(net, shape, input, clv::cpu::best_level(), shape.height);
    Upscaler upscaler(net, shape.height, shape.width);
    std::vector<float> output(shape.count(24));
    for (int round = 0; round < 2; round++) { // the second on scratch memory that was used
        std::vector<std::thread> threads;
        for (int t = 0; t < 5; t++)
            threads.emplace_back([&, t] { upscaler.run(input.data(), output.data(), 8 * t, 8 * t + 8); });
        for (auto &thread : threads)
            thread.join();
        expect(check::same(output, wanted), "bands on threads give other bits");
    }
}

/// What is no number stays where convolutions take it, and the next picture knows nothing of it.
void check_damage() {
    const Shape shape = {30, 70};
    const SrNet net = random_net(16, 1);
    auto input = random_values(shape.count(6), 0.3F);
    Upscaler upscaler(net, shape.height, shape.width);
    std::vector<float> clean(shape.count(24)), again(shape.count(24));
    upscaler.run(input.data(), clean.data(), 0, shape.height);
    auto damaged = input;
    std::fill(damaged.begin(), damaged.end(), std::numeric_limits<float>::quiet_NaN());
    upscaler.run(damaged.data(), again.data(), 0, shape.height);
    expect(std::all_of(again.begin(), again.end(), [](float v) { return std::isnan(v); }),
           "a picture that is no number gives numbers");
    upscaler.run(input.data(), again.data(), 0, shape.height);
    expect(check::same(again, clean), "a picture that is no number shows in the next one");
}

void bench() {
    const Shape shape = {540, 960};
    const SrNet net = random_net(32, 2);
    const auto input = random_values(shape.count(6), 0.3F);
    std::vector<float> output(shape.count(24));
    int count = 0;
    const Level *const *levels = clv::cpu::levels(count);
    std::printf(
        "1080p, 32 channels, 2 blocks (14.0 GMAC), one thread, processor time, the fastest of five\n");
    for (int i = 1; i < count; i++) {
        Upscaler upscaler(net, shape.height, shape.width, *levels[i]);
        const double best =
            check::fastest(5, [&] { upscaler.run(input.data(), output.data(), 0, shape.height); });
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
    check_threads();
    check_damage();
    std::printf("%s: %d failures\n", clv::cpu::best_level().name, check::failures);
    return check::failures != 0;
}
