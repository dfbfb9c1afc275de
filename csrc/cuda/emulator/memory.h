// SPDX-License-Identifier: BSD-2-Clause
// Memory that tells when it is misused.
#pragma once

#include <cstddef>
#include <string>

namespace clv::cuda::emulator {

/// `bytes` (a multiple of a page) between two pages that nobody may touch; zeros. Throws std::bad_alloc.
void *guarded_pages(size_t bytes);
void release_guarded_pages(void *pages, size_t bytes);

/// Memory of the emulated device: it ends at a page that nobody may touch, is aligned to 16 bytes and no more
/// (a real device gives 256), and holds noise. Null when the host has none left.
void *allocate_device(size_t bytes);
/// Fails when something was written before its beginning or behind its end.
void free_device(void *memory);
/// Bytes at `p` up to the end of the allocation that it lies in; 0 when it lies in none.
size_t device_bytes_at(const void *p);

/// Device memory can be read and written while one of these lives, and by nobody else: the host that follows
/// a device's pointer crashes, as it would with a real device. (With much memory in use it does not: that
/// takes long.)
class DeviceAccess {
public:
    DeviceAccess();
    ~DeviceAccess();
    DeviceAccess(const DeviceAccess &) = delete;
    DeviceAccess &operator=(const DeviceAccess &) = delete;
};

/// What lies near an address, for a sentence: ", 16 bytes behind the end of ...".
std::string describe_address(const void *address);

} // namespace clv::cuda::emulator
