// SPDX-License-Identifier: BSD-2-Clause
// The architecture "lowrank_chain" of a card: 3x3 convolutions with LeakyReLU between them, whose end is
// limited, times the strength, and added to the beginning (python/clarivid/nets/lowrank.py).
#pragma once

#include <string>
#include <vector>

#include "core/backend.h"

namespace clv {

/// One convolution.
struct ChainLayer {
    int in_channels = 0;
    int out_channels = 0;
    int dilation = 1;
    std::vector<float> weights; ///< [out][in][3][3]
    std::vector<float> bias;    ///< [out]
};

struct LowrankChain {
    std::vector<ChainLayer> layers; ///< the last has as many channels as the first takes
    float slope = 0;                ///< of LeakyReLU, 0..1
    float limit = 0;    ///< of the change of a value, before the strength; infinite: there is none
    float strength = 1; ///< 0..1
};

/// Whether the bundle's card says "lowrank_chain" and the rest of the request fits that.
bool is_lowrank_chain(const CompileRequest &request);

/// Reads card and weights. `backend` is for messages. Throws Error: CLV_ERR_UNSUPPORTED when it is no such
/// net, CLV_ERR_INVALID_MODEL.
LowrankChain read_lowrank_chain(const CompileRequest &request, const std::string &backend);

} // namespace clv
