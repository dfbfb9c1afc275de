// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>

namespace clv {

/// Bytes that this process may still take: what is free in the machine, in its control group and under its
/// limit of address space (ulimit -v).
uint64_t memory_available();

/// "1234 MiB", for messages.
std::string mib_text(uint64_t bytes);

} // namespace clv
