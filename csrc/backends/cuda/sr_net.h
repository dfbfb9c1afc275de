// SPDX-License-Identifier: BSD-2-Clause
//
// The architecture "sr_hpca" of a card (python/clarivid/nets/sr.py), and its weights in the order that the
// kernels need:
//
//     x = LeakyReLU(head(picture));  for each block: y = LeakyReLU(conv(x)), x += gate(y) y;
//     out = tail(x) + nearest(picture)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/backend.h"

namespace clv::cuda::sr {

/// A 3x3 convolution.
struct Conv {
    int in_channels = 0;
    int out_channels = 0;
    std::vector<float> weights; ///< [out][in][3][3]
    std::vector<float> bias;    ///< [out]
};

/// 2 sigmoid(up(LeakyReLU(down(mean |high-pass|)))), one value a channel.
struct GateLayers {
    std::vector<float> down_weights; ///< [hidden][channels]
    std::vector<float> down_bias;    ///< [hidden]
    std::vector<float> up_weights;   ///< [channels][hidden]
    std::vector<float> up_bias;      ///< [channels]
};

struct Net {
    int channels = 0;
    int hidden = 0;  ///< of the gates' layers
    float slope = 0; ///< of LeakyReLU, 0..1
    Conv head;
    std::vector<Conv> blocks;
    std::vector<GateLayers> gates; ///< of the blocks; empty: all gates are 1
    Conv tail;
};

inline constexpr int kMinChannels = 12;
inline constexpr int kMaxChannels = 48;

/// Whether the bundle's card says "sr_hpca" and the rest of the request fits that.
bool is_sr(const CompileRequest &request);

/// Reads card and weights. Throws Error: CLV_ERR_UNSUPPORTED, CLV_ERR_INVALID_MODEL.
Net read_net(const CompileRequest &request);

/// How many channels the kernels compute for so many of the net's; those beyond are zero.
int padded_channels(int channels);

/// Weights as the lanes of mma.m16n8k16 hold them (sr_product.cuh), halves: [step][block of eight outputs]
/// [lane][4]; of each pair of blocks the lanes' halves lie together. A step is sixteen input channels of a
/// tap; `inputs` and `outputs` are padded sizes. Throws Error(CLV_ERR_INVALID_MODEL) for what no half holds.
std::vector<std::uint16_t> arrange(const Conv &conv, int inputs, int outputs);
/// The same of the head: a step is two taps of eight input channels.
std::vector<std::uint16_t> arrange_head(const Conv &conv, int outputs);

} // namespace clv::cuda::sr
