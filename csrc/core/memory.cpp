// SPDX-License-Identifier: BSD-2-Clause
// proc(5), cgroups(7), and the kernel's cgroup-v1/memory.rst and cgroup-v2.rst.
#include "core/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

#include "core/control_group.h"

namespace clv {
namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

/// The number that a file holds; kUnknown when it does not ("max").
uint64_t number_in(const std::string &path) {
    std::ifstream file(path);
    uint64_t value = 0;
    return file >> value ? value : kUnknown;
}

/// The number behind `key` in a file of lines "key value"; 0 when it is not there.
uint64_t entry_of(const std::string &path, const std::string &key) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
        std::istringstream words(line);
        std::string name;
        uint64_t value = 0;
        if (words >> name >> value && name == key)
            return value;
    }
    return 0;
}

uint64_t left_of(uint64_t limit, uint64_t used) {
    return limit > used ? limit - used : 0;
}

/// The least that is left in the process's group and in those that hold it. Pages of files that have not been
/// used for long are given back on demand.
uint64_t left_in_control_groups() {
    uint64_t left = kUnknown;
    visit_control_groups("memory", [&left](const std::string &folder, bool version2) {
        const uint64_t limit = number_in(folder + (version2 ? "memory.max" : "memory.limit_in_bytes"));
        const uint64_t used = number_in(folder + (version2 ? "memory.current" : "memory.usage_in_bytes"));
        const char *idle = version2 ? "inactive_file" : "total_inactive_file";
        if (limit != kUnknown && used != kUnknown)
            left = std::min(left, left_of(limit, left_of(used, entry_of(folder + "memory.stat", idle))));
    });
    return left;
}

uint64_t left_of_address_space() {
    rlimit limit = {};
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return kUnknown;
    const uint64_t pages = number_in("/proc/self/statm"); // the first number is all address space
    return pages == kUnknown ? limit.rlim_cur
                             : left_of(limit.rlim_cur, pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

} // namespace

uint64_t memory_available() {
    const uint64_t kib = entry_of("/proc/meminfo", "MemAvailable:");
    return std::min({kib ? kib * 1024 : kUnknown, left_in_control_groups(), left_of_address_space()});
}

std::string mib_text(uint64_t bytes) {
    return std::to_string(bytes >> 20) + " MiB";
}

} // namespace clv
