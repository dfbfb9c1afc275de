// SPDX-License-Identifier: BSD-2-Clause
#include "core/control_group.h"

#include <fstream>

namespace clv {
namespace {

void visit_up(const std::string &root, std::string path, bool version2, const VisitControlGroup &visit) {
    while (true) {
        visit(root + (path == "/" ? "" : path) + "/", version2);
        if (path.empty() || path == "/")
            return;
        path.erase(path.find_last_of('/'));
    }
}

} // namespace

/// Lines of /proc/self/cgroup: "0::/path" of version 2, "4:memory:/path" of version 1.
void visit_control_groups(const std::string &controller, const VisitControlGroup &visit,
                          const ControlGroupFiles &files) {
    std::ifstream file(files.own);
    std::string line;
    while (std::getline(file, line)) {
        const size_t first = line.find(':');
        const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos)
            continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const std::string path = line.substr(second + 1);
        if (controllers == ",,")
            visit_up(files.root, path, true, visit);
        else if (controllers.find("," + controller + ",") != std::string::npos)
            visit_up(files.root + "/" + controller, path, false, visit);
    }
}

} // namespace clv
