// SPDX-License-Identifier: BSD-2-Clause
// What a session had to do with a device. Written wherever a transfer, a wait or an allocation is made
// (driver.h); read by clv_session_get_device_stats().
#pragma once

#include <atomic>
#include <cstdint>

namespace clv::cuda {

struct Counters {
    std::atomic<uint64_t> copies_to_host = 0;
    std::atomic<uint64_t> bytes_to_host = 0;
    std::atomic<uint64_t> copies_to_device = 0;
    std::atomic<uint64_t> bytes_to_device = 0;
    std::atomic<uint64_t> synchronisations = 0; ///< times that a thread of the host waited for the device
    std::atomic<uint64_t> device_bytes = 0;     ///< allocated now
};

} // namespace clv::cuda
