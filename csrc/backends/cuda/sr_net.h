// SPDX-License-Identifier: BSD-2-Clause
// The weights of the net (backends/sr_net.h) in the order that the kernels need.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/sr_net.h"

namespace clv::cuda::sr {

/// How many channels the kernels compute for so many of the net's; those beyond are zero.
int padded_channels(int channels);

/// Weights as the lanes of mma.m16n8k16 hold them (sr_product.cuh), halves: [step][block of eight outputs]
/// [lane][4]; of each pair of blocks the lanes' halves lie together. A step is sixteen input channels of a
/// tap; `inputs` and `outputs` are padded sizes. Throws Error(CLV_ERR_INVALID_MODEL) for what no half holds.
std::vector<std::uint16_t> arrange(const SrConv &conv, int inputs, int outputs);
/// The same of the head: a step is two taps of eight input channels.
std::vector<std::uint16_t> arrange_head(const SrConv &conv, int outputs);

} // namespace clv::cuda::sr
