// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>

#include "core/backend.h"

namespace clv::dummy {

/// What the nets have in common, wherever they run.
struct Net {
    TensorShape input;
    TensorShape output;
    bool paints = false;   ///< yuv420_s2d_mask
    bool enlarges = false; ///< y, rgb
    int scale = 1;
    float shift = 0;
    float tint = 0;
    int fail_at = 0;    ///< the inference, counted from 1, that fails; 0: none
    size_t scratch = 0; ///< bytes of device memory that it holds for nothing
};

/// In device memory. Throws Error as Backend::compile_tensors().
std::unique_ptr<TensorModel> make_device_net(const Net &net, const cuda::Place &place);

} // namespace clv::dummy
