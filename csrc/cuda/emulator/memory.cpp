// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/emulator/memory.h"

#include <csignal>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "cuda/emulator/block.h"

namespace clv::cuda::emulator {

namespace {

constexpr size_t kPage = 4096;
constexpr unsigned char kCanary = 0xC5;
// What is larger is filled at both ends only: the host may have less memory than the device claims.
constexpr size_t kNoise = 32 << 20;

struct Allocation {
    size_t bytes;
    unsigned char *pages; // with `whole` bytes: slack, the memory, slack to a multiple of 16
    size_t whole;
};
std::map<const unsigned char *, Allocation> allocations;

// What is closed in a moment. CLARIVID_EMULATOR_PROTECT=0 closes nothing.
size_t closed_at_most() {
    static const size_t value = [] {
        const char *text = std::getenv("CLARIVID_EMULATOR_PROTECT");
        return text != nullptr && std::strcmp(text, "0") == 0 ? size_t{0} : size_t{64} << 20;
    }();
    return value;
}
size_t allocated = 0; // bytes of pages
int accesses = 0;     // DeviceAccess that live
bool closed = false;

void protect(const Allocation &allocation, int protection) {
    mprotect(allocation.pages, allocation.whole, protection);
}

void close_all() {
    closed = allocated <= closed_at_most();
    if (closed)
        for (const auto &[begin, allocation] : allocations)
            protect(allocation, PROT_NONE);
}

void open_all() {
    if (closed)
        for (const auto &[begin, allocation] : allocations)
            protect(allocation, PROT_READ | PROT_WRITE);
    closed = false;
}

/// Says what a crash of the host was, then lets it crash.
void on_host_fault(int signal, siginfo_t *info, void *) {
    if (device_bytes_at(info->si_addr) > 0) {
        constexpr char sentence[] = "clarivid emulator: the host reads or writes device memory, which a real "
                                    "device would not let it\n";
        if (write(STDERR_FILENO, sentence, sizeof sentence - 1) < 0)
            std::abort();
    }
    std::signal(signal, SIG_DFL);
}

void watch_host() {
    static bool done = false;
    struct sigaction old {};
    if (done || sigaction(SIGSEGV, nullptr, &old) != 0)
        return;
    done = true;
    if (old.sa_handler != SIG_DFL) // another one's, such as Python's faulthandler
        return;
    struct sigaction action {};
    action.sa_sigaction = on_host_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
}

/// The allocation that begins at or before `p`.
auto before(const void *p) {
    auto next = allocations.upper_bound(static_cast<const unsigned char *>(p));
    return next == allocations.begin() ? allocations.end() : std::prev(next);
}

bool is_canary(const unsigned char *from, const unsigned char *to) {
    return std::all_of(from, to, [](unsigned char byte) { return byte == kCanary; });
}

} // namespace

void *guarded_pages(size_t bytes) {
    void *all =
        mmap(nullptr, bytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        throw std::bad_alloc();
    unsigned char *pages = static_cast<unsigned char *>(all) + kPage;
    if (bytes > 0 && mprotect(pages, bytes, PROT_READ | PROT_WRITE) != 0) {
        munmap(all, bytes + 2 * kPage);
        throw std::bad_alloc();
    }
    return pages;
}

void release_guarded_pages(void *pages, size_t bytes) {
    if (pages != nullptr)
        munmap(static_cast<unsigned char *>(pages) - kPage, bytes + 2 * kPage);
}

void *allocate_device(size_t bytes) {
    const size_t aligned = (bytes + 15) / 16 * 16;
    Allocation allocation{bytes, nullptr, (aligned + kPage - 1) / kPage * kPage};
    try {
        allocation.pages = static_cast<unsigned char *>(guarded_pages(allocation.whole));
    } catch (const std::bad_alloc &) {
        return nullptr;
    }
    unsigned char *end = allocation.pages + allocation.whole;
    unsigned char *memory = end - aligned;
    std::memset(allocation.pages, kCanary, static_cast<size_t>(memory - allocation.pages));
    if (bytes <= kNoise) {
        make_noise(memory, bytes);
    } else {
        make_noise(memory, kNoise / 2);
        make_noise(memory + bytes - kNoise / 2, kNoise / 2);
    }
    std::memset(memory + bytes, kCanary, aligned - bytes);
    watch_host();
    allocations.emplace(memory, allocation);
    allocated += allocation.whole;
    if (accesses == 0) {
        open_all(); // it may be too much now
        close_all();
    }
    return memory;
}

void free_device(void *memory) {
    const auto found = allocations.find(static_cast<const unsigned char *>(memory));
    const Allocation &allocation = found->second;
    const unsigned char *begin = found->first;
    protect(allocation, PROT_READ | PROT_WRITE);
    if (!is_canary(allocation.pages, begin))
        fail("something was written before the beginning of an allocation of " +
             std::to_string(allocation.bytes) + " bytes on the device");
    if (!is_canary(begin + allocation.bytes, allocation.pages + allocation.whole))
        fail("something was written behind the end of an allocation of " + std::to_string(allocation.bytes) +
             " bytes on the device");
    release_guarded_pages(allocation.pages, allocation.whole);
    allocated -= allocation.whole;
    allocations.erase(found);
}

size_t device_bytes_at(const void *p) {
    const auto found = before(p);
    if (found == allocations.end())
        return 0;
    const auto into = static_cast<size_t>(static_cast<const unsigned char *>(p) - found->first);
    return into < found->second.bytes ? found->second.bytes - into : 0;
}

DeviceAccess::DeviceAccess() {
    if (accesses++ == 0)
        open_all();
}

DeviceAccess::~DeviceAccess() {
    if (--accesses == 0)
        close_all();
}

std::string describe_address(const void *address) {
    const auto *p = static_cast<const unsigned char *>(address);
    if (const auto found = before(p); found != allocations.end()) {
        const auto into = static_cast<size_t>(p - found->first);
        const std::string size = std::to_string(found->second.bytes) + " bytes on the device";
        if (into < found->second.bytes)
            return ", inside of an allocation of " + size +
                   ": not aligned to the size of what is read or written";
        if (into < found->second.bytes + (1 << 20))
            return ", " + std::to_string(into - found->second.bytes) +
                   " bytes behind the end of an allocation of " + size;
    }
    if (const auto next = allocations.upper_bound(p); next != allocations.end())
        if (const auto missing = static_cast<size_t>(next->first - p); missing < (1 << 20))
            return ", " + std::to_string(missing) + " bytes before the beginning of an allocation of " +
                   std::to_string(next->second.bytes) + " bytes on the device";
    return ", near no allocation on the device";
}

} // namespace clv::cuda::emulator
