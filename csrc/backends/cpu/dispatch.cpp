// SPDX-License-Identifier: BSD-2-Clause
#include "kernels.h"

namespace clv::cpu {
namespace {

struct Levels {
    const Level *found[3] = {&kReference};
    int count = 1;
    Levels() {
#ifdef CLARIVID_CPU_X86
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            found[count++] = &kAvx2;
        if (__builtin_cpu_supports("avx512f"))
            found[count++] = &kAvx512;
#endif
    }
};

const Levels &available() {
    static const Levels levels;
    return levels;
}

} // namespace

const Level &best_level() {
    return *available().found[available().count - 1];
}

const Level *const *levels(int &count) {
    count = available().count;
    return available().found;
}

} // namespace clv::cpu
