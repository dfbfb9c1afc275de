// SPDX-License-Identifier: BSD-2-Clause
//
// The architecture "sr_luma" of a card (python/clarivid/nets/sr.py), of the layout y, on luma x in 0..1:
//
//     f = LeakyReLU(head(x - 1/2));  for each block: f += LeakyReLU(conv(f));
//     out = 2x2 pixels of the four channels of tail(f) + x
//
// All convolutions are 3x3 and pad with zeros.
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

struct SrLuma {
    int channels = 0;
    float slope = 0; ///< of LeakyReLU, 0..1
    SrConv head;     ///< of one channel
    std::vector<SrConv> blocks;
    SrConv tail; ///< to kSrOutputs channels: rows, then columns of a pixel's 2x2
};

inline constexpr float kSrCentre = 0.5F; ///< is taken from x before the head
inline constexpr int kSrScale = 2;
inline constexpr int kSrOutputs = kSrScale * kSrScale;
inline constexpr int kSrMinChannels = 4;
inline constexpr int kSrMaxChannels = 32;

/// Whether the bundle's card says "sr_luma", of a size and without attention, as kernels are made for, and
/// the rest of the request fits that.
bool is_sr_luma(const CompileRequest &request);

/// Reads card and weights. `backend` is for messages: one that runs this architecture and "lowrank_chain".
/// Throws Error: CLV_ERR_UNSUPPORTED, CLV_ERR_INVALID_MODEL.
SrLuma read_sr_luma(const CompileRequest &request, const std::string &backend);

} // namespace clv
