// SPDX-License-Identifier: BSD-2-Clause
// The dummy backend's nets on a device, value for value what dummy.cpp computes on the host. A thread a value
// of the output.
#include "backends/dummy/dummy_kernel.h"
#include "cuda/device.cuh"

namespace {

/// Channel `c` of (2s)x(2s) blocks of luma and s x s blocks of U and V -> that of the nearest sample of the
/// input.
CLV_DEVICE int nearest_channel(int c, int s) {
    const int luma = 4 * s * s;
    if (c < luma)
        return c / (2 * s) / s * 2 + c % (2 * s) / s;
    return 4 + (c - luma) / (s * s);
}

CLV_DEVICE float painted(int channel, int column, int width, float tint) {
    if (channel >= 4)
        return channel == 4 ? -tint : tint;
    return (static_cast<float>(2 * column + channel % 2) + 0.5F) / static_cast<float>(2 * width) - 0.5F;
}

} // namespace

CLV_KERNEL(clv_dummy, clv::dummy::DeviceNet, 256, 1) {
    const int plane = p.height * p.width;
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (p.enlarges != 0) {
        const int width = p.width * p.scale;
        const int row = i / width; // of all channels
        if (row < p.channels * p.height * p.scale)
            p.to[i] = p.from[row / p.scale * p.width + i % width / p.scale] - p.shift;
        return;
    }
    if (i >= p.channels * plane)
        return;
    const int channel = i / plane;
    const int place = i % plane;
    const bool hole = p.paints != 0 && p.from[6 * plane + place] != 0.0F;
    const int source = p.paints != 0 ? channel : nearest_channel(channel, p.scale);
    const float value =
        hole ? painted(channel, place % p.width, p.width, p.tint) : p.from[source * plane + place];
    p.to[i] = value - p.shift;
}
