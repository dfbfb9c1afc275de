// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <functional>
#include <string>

namespace clv {

/// Where the kernel tells of control groups; tests have their own.
struct ControlGroupFiles {
    std::string own = "/proc/self/cgroup";
    std::string root = "/sys/fs/cgroup";
};

/// A folder of files of one group, with a slash at its end, and whether it is of version 2.
using VisitControlGroup = std::function<void(const std::string &folder, bool version2)>;

/// Visits this process's group of a controller ("memory", "cpu") and the groups that hold it, of version 2
/// and of version 1 as far as they are mounted. cgroups(7).
void visit_control_groups(const std::string &controller, const VisitControlGroup &visit,
                          const ControlGroupFiles &files = {});

} // namespace clv
