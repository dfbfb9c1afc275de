// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "core/control_group.h"

namespace clv {

/// The time of how many cores the process's control groups grant it, rounded up; 0 for no limit.
int cores_of_quota(const ControlGroupFiles &files = {});

/// `threads` of an options struct, 0 for the cores that this process may use: the affinity mask, which
/// taskset and cpusets set, or fewer where a quota of time grants fewer (containers' --cpus, systemd's
/// CPUQuota=).
int threads_or_cores(int threads);

} // namespace clv
