// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/sr_net.h"

#include <cmath>
#include <cstddef>

#include "backends/cuda/sr_layout.h"
#include "pixels/half.h"

namespace clv::cuda::sr {
namespace {

// Kernels do not see backends/sr_net.h.
static_assert(kPictureChannels == kSrPictureChannels && kOutputChannels == kSrOutputChannels &&
              kGateStride == kSrGateStride);

constexpr float kLargestHalf = 65504.0F;

std::uint16_t half_of(float value) {
    if (!(std::fabs(value) <= kLargestHalf))
        throw Error(CLV_ERR_INVALID_MODEL, "weights.safetensors holds " + std::to_string(value) +
                                               ", which is no value in fp16: this net needs another backend");
    return pixels::f16_from_f32(value);
}

/// weight(k, n) of every place of the fragments: `steps` of depth sixteen, `outputs` columns.
template <typename F>
std::vector<std::uint16_t> fragments(int steps, int outputs, F weight) {
    const int blocks = outputs / 8;
    std::vector<std::uint16_t> out(static_cast<std::size_t>(weight_bytes(steps, outputs)) / 2);
    for (int step = 0; step < steps; step++)
        for (int block = 0; block < blocks; block++)
            for (int lane = 0; lane < 32; lane++)
                for (int i = 0; i < 4; i++) { // b[0] low and high, b[1] low and high
                    const int k = 2 * (lane % 4) + i % 2 + i / 2 * 8;
                    const bool paired = block < blocks / 2 * 2;
                    const int place = paired ? (block / 2 * 32 + lane) * 8 + block % 2 * 4 + i
                                             : (block * 32 + lane) * 4 + i;
                    out[static_cast<std::size_t>(step * blocks * 128 + place)] =
                        half_of(weight(step, k, block * 8 + lane / 4));
                }
    return out;
}

float weight_of(const SrConv &conv, int out, int in, int tap) {
    if (out >= conv.out_channels || in >= conv.in_channels || tap >= kTaps)
        return 0;
    return conv.weights[static_cast<std::size_t>((out * conv.in_channels + in) * kTaps + tap)];
}

} // namespace

int padded_channels(int channels) {
    return channels <= 32 ? 32 : 48;
}

std::vector<std::uint16_t> arrange(const SrConv &conv, int inputs, int outputs) {
    const int depth = inputs / 16;
    return fragments(kTaps * depth, outputs, [&](int step, int k, int n) {
        return weight_of(conv, n, step % depth * 16 + k, step / depth);
    });
}

std::vector<std::uint16_t> arrange_head(const SrConv &conv, int outputs) {
    return fragments(kHeadSteps, outputs,
                     [&](int step, int k, int n) { return weight_of(conv, n, k % 8, 2 * step + k / 8); });
}

} // namespace clv::cuda::sr
