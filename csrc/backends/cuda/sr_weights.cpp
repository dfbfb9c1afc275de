// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/sr_weights.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "pixels/half.h"

namespace clv::cuda::sr {
namespace {

// The kernel does not see backends/sr_luma.h.
static_assert(kCentre == kSrCentre && kSrOutputs <= kTailColumns);

constexpr float kLargestHalf = 65504.0F;

std::uint16_t half_of(float value) {
    if (!(std::fabs(value) <= kLargestHalf))
        throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors holds " + std::to_string(value) +
                                               ", which is no value in fp16: this net needs another backend");
    return pixels::f16_from_f32(value);
}

float weight_of(const SrConv &conv, int out, int in, int tap) {
    if (out >= conv.out_channels || in >= conv.in_channels)
        return 0;
    return conv.weights[static_cast<std::size_t>((out * conv.in_channels + in) * kTaps + tap)];
}

/// B of a product of `depth` 16 or 8: weight(k, n) of `columns` columns.
template <typename F>
void add_fragments(std::vector<std::uint16_t> &out, int depth, int columns, F weight) {
    const int blocks = columns / 8;
    const int values = depth / 4; // of a lane: b[0] low and high, b[1] low and high
    const std::size_t at = out.size();
    out.resize(at + static_cast<std::size_t>(depth * columns));
    for (int block = 0; block < blocks; block++)
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < values; i++) {
                // Of depth 16 the halves of a lane in two neighbouring blocks lie together.
                const bool paired = depth == 16 && block < blocks / 2 * 2;
                const int place = paired ? (block / 2 * 32 + lane) * 8 + block % 2 * 4 + i
                                         : (block * 32 + lane) * values + i;
                out[at + static_cast<std::size_t>(place)] =
                    half_of(weight(2 * (lane % 4) + i % 2 + i / 2 * 8, block * 8 + lane / 4));
            }
}

/// Sixteen channels after the other, the last eight perhaps: columns of taps from left to right.
void add_conv(std::vector<std::uint16_t> &out, const SrConv &conv, int channels, int columns) {
    for (int first = 0; first < channels; first += 16)
        for (int tap = 0; tap < kTaps; tap++)
            add_fragments(out, channels - first < 16 ? 8 : 16, columns,
                          [&](int k, int n) { return weight_of(conv, n, first + k, tap % 3 * 3 + tap / 3); });
}

void add_head(std::vector<std::uint16_t> &out, const SrConv &conv, int channels) {
    add_fragments(out, 16, channels, [&](int k, int n) {
        const int dy = k / kHeadRow;
        const int dx = k % kHeadRow;
        return dy < 3 && dx < 3 ? weight_of(conv, n, 0, 3 * dy + dx) : 0.0F;
    });
}

void add_bias(std::vector<float> &out, const SrConv &conv, int columns) {
    out.insert(out.end(), conv.bias.begin(), conv.bias.end());
    out.resize(out.size() + static_cast<std::size_t>(columns - conv.out_channels));
}

} // namespace

int padded_channels(int channels) {
    return channels <= 16 ? 16 : channels <= 24 ? 24 : 32;
}

std::vector<std::byte> constants_of(const SrLuma &net, const Layers &layers, int first_block) {
    const int channels = padded_channels(net.channels);
    std::vector<std::uint16_t> weights;
    std::vector<float> biases;
    if (layers.head) {
        add_head(weights, net.head, channels);
        add_bias(biases, net.head, channels);
    }
    for (int i = first_block; i < first_block + layers.blocks; i++) {
        const SrConv &block = net.blocks[static_cast<std::size_t>(i)];
        add_conv(weights, block, channels, channels);
        add_bias(biases, block, channels);
    }
    if (layers.tail) {
        add_conv(weights, net.tail, channels, kTailColumns);
        add_bias(biases, net.tail, kTailColumns);
    }
    std::vector<std::byte> out(weights.size() * sizeof weights[0] + biases.size() * sizeof biases[0]);
    std::memcpy(out.data(), weights.data(), weights.size() * sizeof weights[0]);
    std::memcpy(out.data() + weights.size() * sizeof weights[0], biases.data(),
                biases.size() * sizeof biases[0]);
    return out;
}

} // namespace clv::cuda::sr
