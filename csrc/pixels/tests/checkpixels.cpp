// SPDX-License-Identifier: BSD-2-Clause
//
// checkpixels [--seed N] [--rounds N] [--bench [SECONDS]]
// Checks every kernel of csrc/pixels at every level that this machine has; --bench times them instead.

#include "harness.h"

#include <cstdio>
#include <cstdlib>
#include <string>

int main(int argc, char **argv) {
    using namespace clv::pixels::test;
    std::uint64_t seed = std::random_device()();
    int rounds = 300;
    double bench_seconds = 0.0;
    for (int i = 1; i < argc; i++) {
        const std::string option = argv[i];
        const bool has_value = i + 1 < argc;
        if (option == "--seed" && has_value) {
            seed = std::strtoull(argv[++i], nullptr, 0);
        } else if (option == "--rounds" && has_value) {
            rounds = std::atoi(argv[++i]);
        } else if (option == "--bench") {
            bench_seconds = has_value ? std::atof(argv[++i]) : 0.5;
        } else {
            std::fprintf(stderr, "usage: checkpixels [--seed N] [--rounds N] [--bench [SECONDS]]\n");
            return 2;
        }
    }
    if (bench_seconds > 0.0) {
        bench(bench_seconds);
        return 0;
    }

    std::printf("seed %llu, levels:", static_cast<unsigned long long>(seed));
    for (int l = 0; l < level_count(); l++)
        if (level(l))
            std::printf(" %s", level(l)->name);
    std::printf("\n");
    Report report;
    check_kernels(report, seed, rounds);
    check_colour(report, seed, rounds);
    check_thread_pool(report);
    return report.finish();
}
