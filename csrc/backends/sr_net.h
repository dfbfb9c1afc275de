// SPDX-License-Identifier: BSD-2-Clause
//
// The architecture "sr_hpca" of a card (python/clarivid/nets/sr.py):
//
//     x = LeakyReLU(head(picture));  for each block: y = LeakyReLU(conv(x)), x += gate(y) y;
//     out = tail(x) + nearest(picture)
#pragma once

#include <string>
#include <vector>

#include "core/backend.h"

namespace clv {

/// A 3x3 convolution.
struct SrConv {
    int in_channels = 0;
    int out_channels = 0;
    std::vector<float> weights; ///< [out][in][3][3]
    std::vector<float> bias;    ///< [out]
};

/// 2 sigmoid(up(LeakyReLU(down(mean |high-pass|)))), one value a channel.
struct SrGate {
    std::vector<float> down_weights; ///< [hidden][channels]
    std::vector<float> down_bias;    ///< [hidden]
    std::vector<float> up_weights;   ///< [channels][hidden]
    std::vector<float> up_bias;      ///< [channels]
};

struct SrNet {
    int channels = 0;
    int hidden = 0;  ///< of the gates' layers
    float slope = 0; ///< of LeakyReLU, 0..1
    SrConv head;
    std::vector<SrConv> blocks;
    std::vector<SrGate> gates; ///< of the blocks; empty: all gates are 1
    SrConv tail;
};

inline constexpr int kSrMinChannels = 12;
inline constexpr int kSrMaxChannels = 48;
inline constexpr int kSrPictureChannels = 6;
inline constexpr int kSrOutputChannels = 24; ///< of the tail: scale 2
inline constexpr int kSrGateStride = 4;      ///< a window of 3x3 at every fourth place, both ways

/// The picture's channel that an output channel adds: 4x4 luma of 2x2, then 2x2 of U and of V.
constexpr int sr_base_channel(int channel) {
    return channel < 16 ? channel / 8 * 2 + channel % 4 / 2 : 4 + (channel - 16) / 4;
}

/// Whether the bundle's card says "sr_hpca" and the rest of the request fits that.
bool is_sr_net(const CompileRequest &request);

/// Reads card and weights. `backend` is for messages: one that runs this architecture and "lowrank_chain".
/// Throws Error: CLV_ERR_UNSUPPORTED, CLV_ERR_INVALID_MODEL.
SrNet read_sr_net(const CompileRequest &request, const std::string &backend);

} // namespace clv
