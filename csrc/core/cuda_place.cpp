// SPDX-License-Identifier: BSD-2-Clause
#include "core/cuda_place.h"

namespace clv {

cuda::Place cuda_place(const clv_cuda_device &device) {
    return {device.context, device.stream, std::make_shared<cuda::Counters>()};
}

void clear_work(cuda::Counters &counters) {
    counters.copies_to_host = 0;
    counters.bytes_to_host = 0;
    counters.copies_to_device = 0;
    counters.bytes_to_device = 0;
    counters.synchronisations = 0;
}

clv_device_stats stats_of(const cuda::Counters &counters) {
    return {counters.copies_to_host,  counters.bytes_to_host,    counters.copies_to_device,
            counters.bytes_to_device, counters.synchronisations, counters.device_bytes};
}

} // namespace clv
