// SPDX-License-Identifier: BSD-2-Clause
#include <cstdio>
#include <vector>

#include "cuda/driver.h"
#include "cuda/tests/test_kernels.h"

CLV_CUDA_IMAGE(test_kernels);

using namespace clv::cuda;
using namespace clv::cuda::test;

int main() {
    const Driver &api = driver();
    CUdevice device = 0;
    Place place;
    CUcontext context = nullptr;
    check(api.cuDeviceGet(&device, 0), "find a GPU");
    check(api.cuDevicePrimaryCtxRetain(&context, device), "make a context");
    place.context = context;
    place.counters = std::make_shared<Counters>();
    {
        const Module module(place, clv_image_test_kernels);
        const Kernel scale = module.kernel("clv_test_scale");
        std::vector<float> values(1000), out(1000);
        for (size_t i = 0; i < values.size(); i++)
            values[i] = static_cast<float>(i);
        Buffer from(place, 4000), to(place, 4000);
        copy_to_device_async(place, from.get(), values.data(), 4000);
        const Current current(place);
        scale.launch(dim3(4), dim3(256), ScaleParams{from.get<float>(), to.get<float>(), 1000, 3}, nullptr);
        copy_to_host_async(place, out.data(), to.get(), 4000);
        synchronise(place);
        for (size_t i = 0; i < values.size(); i++)
            if (out[i] != 3 * values[i])
                return std::printf("%zu: %f\n", i, static_cast<double>(out[i])), 1;
    }
    return 0;
}
