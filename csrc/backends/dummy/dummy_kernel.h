// SPDX-License-Identifier: BSD-2-Clause
// What the dummy backend's kernel takes: one net, on contiguous f32 tensors in device memory.
#pragma once

namespace clv::dummy {

struct DeviceNet {
    const float *from;
    float *to;
    int height; ///< of a channel of the input
    int width;
    int channels; ///< of the output
    int scale;
    int paints;   ///< 1: yuv420_s2d_mask
    int enlarges; ///< 1: y and rgb, planes become larger; else there are more channels
    float shift;
    float tint;
};

} // namespace clv::dummy
