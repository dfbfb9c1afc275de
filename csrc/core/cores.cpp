// SPDX-License-Identifier: BSD-2-Clause
// sched_getaffinity(2); the kernel's cgroup-v2.rst (cpu.max) and sched-bwc.rst (cpu.cfs_quota_us).
#include "core/cores.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sched.h>

#include "core/checks.h"

namespace clv {

int cores_of_quota(const ControlGroupFiles &files) {
    double least = 0;
    const auto visit = [&least](const std::string &folder, bool version2) {
        double quota = 0;
        double period = 0;
        if (version2) {
            std::ifstream(folder + "cpu.max") >> quota >> period; // "max" is no number
        } else {
            std::ifstream(folder + "cpu.cfs_quota_us") >> quota; // -1 for none
            std::ifstream(folder + "cpu.cfs_period_us") >> period;
        }
        if (quota > 0 && period > 0)
            least = least > 0 ? std::min(least, quota / period) : quota / period;
    };
    visit_control_groups("cpu", visit, files);
    return static_cast<int>(std::min(std::ceil(least), 1e6));
}

int threads_or_cores(int threads) {
    check_range("threads", threads, 0, kMaxThreads);
    if (threads)
        return threads;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    const int cores = std::clamp(CPU_COUNT(&set), 1, kMaxThreads);
    const int quota = cores_of_quota();
    return quota ? std::min(cores, quota) : cores;
}

} // namespace clv
