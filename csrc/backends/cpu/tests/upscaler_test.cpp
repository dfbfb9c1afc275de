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
using clv::SrLuma;
using clv::cpu::Level;
using clv::cpu::Upscaler;

constexpr float kSlope = 0.1F;

/// A layer that keeps the size of what goes through it.
SrConv random_conv(int in, int out) {
    const auto weights = static_cast<size_t>(in * out * 9);
    return {in, out, random_values(weights, 1.2F / std::sqrt(9.0F * static_cast<float>(in))),
            random_values(static_cast<size_t>(out), 0.1F)};
}

SrLuma random_net(int channels, int blocks) {
    SrLuma net;
    net.channels = channels;
    net.slope = kSlope;
    net.head = random_conv(1, channels);
    for (int i = 0; i < blocks; i++)
        net.blocks.push_back(random_conv(channels, channels));
    net.tail = random_conv(channels, 4);
    return net;
}

std::vector<float> random_picture(Shape shape) {
    auto values = random_values(shape.count(1), 0.3F);
    for (float &value : values)
        value += 0.5F;
    return values;
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
Values by_the_book(const SrLuma &net, Shape shape, const std::vector<float> &input) {
    Values picture(input.begin(), input.end());
    for (double &value : picture)
        value -= 0.5;
    Values x = activate(convolve(net.head, shape, picture));
    for (const SrConv &block : net.blocks) {
        const Values y = activate(convolve(block, shape, x));
        std::transform(x.begin(), x.end(), y.begin(), x.begin(), std::plus());
    }
    const Values deep = convolve(net.tail, shape, x);
    Values out(shape.count(4));
    const auto width = static_cast<size_t>(shape.width);
    for (size_t i = 0; i < out.size(); i++) {
        const size_t row = i / (2 * width), column = i % (2 * width);
        const size_t at = row / 2 * width + column / 2;
        out[i] = deep[(row % 2 * 2 + column % 2) * shape.count(1) + at] + static_cast<double>(input[at]);
    }
    return out;
}

std::vector<float> run(const SrLuma &net, Shape shape, const std::vector<float> &input, const Level &level,
                       int band) {
    Upscaler upscaler(net, shape.height, shape.width, level);
    std::vector<float> output(shape.count(4), std::nanf(""));
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

// Less than a tile, a strip, a block; whole ones; one position more; blocks of fewer tiles than the net has
// layers. Channels that are padded, and that are not.
const Case kCases[] = {
    {16, 4, {1, 1}},   {16, 3, {5, 3}},    {32, 2, {13, 24}}, {16, 4, {22, 49}},   {24, 2, {8, 191}},
    {24, 4, {9, 192}}, {32, 1, {12, 193}}, {28, 2, {19, 65}}, {4, 1, {37, 38}},    {8, 3, {6, 48}},
    {16, 4, {7, 245}}, {16, 9, {18, 201}}, {24, 4, {5, 500}}, {32, 12, {10, 101}}, {12, 5, {27, 50}},
    {16, 9, {50, 96}}, {20, 1, {2, 7}},
};

void check_levels() {
    int count = 0;
    const Level *const *levels = clv::cpu::levels(count);
    for (const Case &c : kCases) {
        const SrLuma net = random_net(c.channels, c.blocks);
        const auto input = random_picture(c.shape);
        const std::string what = std::to_string(c.channels) + " channels, " + std::to_string(c.blocks) +
                                 " blocks, " + std::to_string(c.shape.width) + "x" +
                                 std::to_string(c.shape.height);
        const Values wanted = by_the_book(net, c.shape, input);
        const auto reference = run(net, c.shape, input, *levels[0], c.shape.height);
        double error = 0, largest = 1;
        for (size_t i = 0; i < wanted.size(); i++) {
            error = std::max(error, std::abs(wanted[i] - static_cast<double>(reference[i])));
            largest = std::max(largest, std::abs(wanted[i]));
        }
        // Of values of about 1 a code of 10 bits is 1.1e-3.
        expect(error < 2e-5 * largest, what + " is off by " + std::to_string(error));
        for (int i = 0; i < count; i++)
            for (const int band : {4, 12, c.shape.height})
                expect(check::same(run(net, c.shape, input, *levels[i], band), reference),
                       std::string(levels[i]->name) + ", " + what + ", in bands of " + std::to_string(band) +
                           ", gives other bits than the reference");
    }
}

void check_threads() {
    const Shape shape = {40, 200};
    const SrLuma net = random_net(24, 2);
    const auto input = random_picture(shape);
    const auto wanted = run(net, shape, input, clv::cpu::best_level(), shape.height);
    Upscaler upscaler(net, shape.height, shape.width);
    std::vector<float> output(shape.count(4));
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
    const SrLuma net = random_net(16, 1);
    auto input = random_picture(shape);
    Upscaler upscaler(net, shape.height, shape.width);
    std::vector<float> clean(shape.count(4)), again(shape.count(4));
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
    const Shape shape = {1080, 1920};
    const auto input = random_picture(shape);
    std::vector<float> output(shape.count(4));
    int count = 0;
    const Level *const *levels = clv::cpu::levels(count);
    std::printf("1080p to 2160p, one thread, processor time, the fastest of five\n");
    for (const auto &[channels, blocks] : {std::pair{16, 3}, {16, 4}, {16, 9}, {24, 4}, {32, 4}}) {
        const SrLuma net = random_net(channels, blocks);
        const int weights = 9 * channels * (1 + blocks * channels + 4);
        const double gmac = 1e-9 * weights * static_cast<double>(shape.count(1));
        for (int i = 1; i < count; i++) {
            Upscaler upscaler(net, shape.height, shape.width, *levels[i]);
            const double best =
                check::fastest(5, [&] { upscaler.run(input.data(), output.data(), 0, shape.height); });
            std::printf(
                "%2d channels, %d blocks (%5.1f GMAC)  %-8s %8.1f ms %7.1f GFLOP/s by the definition\n",
                channels, blocks, gmac, levels[i]->name, 1e3 * best, 2 * gmac / best);
        }
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
