// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/tests/test_kernels.h"

#include "cuda/mma.cuh"

using namespace clv::cuda;
using namespace clv::cuda::test;

CLV_KERNEL(clv_test_scale, ScaleParams, 256, 1) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < p.count)
        p.to[i] = p.from[i] * p.by;
}
