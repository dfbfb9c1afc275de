// SPDX-License-Identifier: BSD-2-Clause
// Quotas of processor time that control groups set, of files as the kernel has them.
#include "core/cores.h"

#include <sched.h>

#include "core/tests/core_test.h"

namespace {

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

/// A file of the folder that holds `text`; its folders are made.
void put(const fs::path &file, const std::string &text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
}

clv::ControlGroupFiles files_in(const fs::path &folder, const std::string &own) {
    put(folder / "own", own);
    return {(folder / "own").string(), (folder / "root").string()};
}

void the_least_quota_of_the_groups_counts(const Folder &folder) {
    const fs::path at = fs::path(folder.path()) / "v2";
    const auto files = files_in(at, "0::/pods/job");
    EXPECT(clv::cores_of_quota(files) == 0); // nothing is mounted
    put(at / "root/pods/job/cpu.max", "max 100000");
    put(at / "root/pods/cpu.max", "400000 100000");
    EXPECT(clv::cores_of_quota(files) == 4);
    put(at / "root/pods/job/cpu.max", "150000 100000");
    EXPECT(clv::cores_of_quota(files) == 2); // one and a half: rounded up
    put(at / "root/pods/job/cpu.max", "5000 100000");
    EXPECT(clv::cores_of_quota(files) == 1);
}

void a_container_sees_its_group_as_the_root(const Folder &folder) {
    const fs::path at = fs::path(folder.path()) / "container";
    const auto files = files_in(at, "0::/");
    put(at / "root/cpu.max", "300000 100000");
    EXPECT(clv::cores_of_quota(files) == 3);
}

void version_1_has_two_files(const Folder &folder) {
    const fs::path at = fs::path(folder.path()) / "v1";
    const auto files = files_in(at, "5:memory:/job\n3:cpu,cpuacct:/job");
    put(at / "root/cpu/cpu.cfs_quota_us", "-1");
    put(at / "root/cpu/cpu.cfs_period_us", "100000");
    EXPECT(clv::cores_of_quota(files) == 0);
    put(at / "root/cpu/job/cpu.cfs_quota_us", "250000");
    put(at / "root/cpu/job/cpu.cfs_period_us", "50000");
    EXPECT(clv::cores_of_quota(files) == 5);
}

void nonsense_is_no_quota(const Folder &folder) {
    const fs::path at = fs::path(folder.path()) / "nonsense";
    const auto files = files_in(at, "0::/job\nx\n:\n");
    for (const char *text : {"", "0 100000", "100000 0", "-5 -5", "nan nan", "100000"}) {
        put(at / "root/job/cpu.max", text);
        EXPECT(clv::cores_of_quota(files) == 0);
    }
    put(at / "root/job/cpu.max", "1e300 1");
    EXPECT(clv::cores_of_quota(files) > 0);
}

void threads_are_those_asked_for_else_no_more_than_cores(const Folder & /*folder*/) {
    cpu_set_t set;
    EXPECT(sched_getaffinity(0, sizeof(set), &set) == 0);
    EXPECT(clv::threads_or_cores(0) >= 1);
    EXPECT(clv::threads_or_cores(0) <= CPU_COUNT(&set));
    EXPECT(clv::threads_or_cores(77) == 77);
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(the_least_quota_of_the_groups_counts);
    RUN(a_container_sees_its_group_as_the_root);
    RUN(version_1_has_two_files);
    RUN(nonsense_is_no_quota);
    RUN(threads_are_those_asked_for_else_no_more_than_cores);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
