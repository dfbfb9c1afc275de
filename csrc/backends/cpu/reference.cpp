// SPDX-License-Identifier: BSD-2-Clause
// The kernel in plain C++: what the others are checked against, and what runs where they cannot.
#include <cmath>

#include "kernels.h"

namespace clv::cpu {
namespace {

void row(const RowJob &job) {
    for (int x = job.first; x < job.last; x++) {
        float sum = job.bias[0];
        const float *weight = job.weights;
        for (int tap = 0; tap < job.tap_count; tap++)
            for (int kx = 0; kx < 3; kx++)
                sum = std::fma(job.taps[tap][x + (kx - 1) * job.dilation], *weight++, sum);
        const float scaled = sum * job.slope;
        job.out[0][x] = job.base ? sum + job.base[0][x] : sum > scaled ? sum : scaled;
    }
}

constexpr RowKernel kKernels[] = {{1, 1, row}};

} // namespace

const Level kReference = {"plain C++", kKernels, 1};

} // namespace clv::cpu
