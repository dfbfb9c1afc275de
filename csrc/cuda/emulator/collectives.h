// SPDX-License-Identifier: BSD-2-Clause
// What a warp does together: device.h declares what kernels call, collectives.cpp has it.
#pragma once

#include <cstdint>

namespace clv::cuda::emulator {

/// A thread ended: what it copies and did not wait for never arrives.
void drop_copies(unsigned thread);

/// How the reads of matrices from shared memory met its banks.
struct BankStatistics {
    uint64_t reads = 0;  ///< of 8 rows of 16 bytes, each one pass when no two rows meet in a bank
    uint64_t passes = 0; ///< that they took
};
BankStatistics take_bank_statistics();

} // namespace clv::cuda::emulator
