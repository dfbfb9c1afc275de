// SPDX-License-Identifier: BSD-2-Clause
#include "kernels.h"

#ifdef CLARIVID_CPU_X86
#include <cpuid.h>
#endif

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

bool multiplies_bf16_tiles() {
#ifdef CLARIVID_CPU_X86
    // Intel SDM, volume 1, chapter 18: the processor has AMX-TILE and AMX-BF16, and the system keeps the
    // tiles' state (XCR0, bits 17 and 18).
    constexpr unsigned osxsave = 1U << 27, tile_and_bf16 = 1U << 24 | 1U << 22, tile_state = 3U << 17;
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & osxsave) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        (d & tile_and_bf16) != tile_and_bf16)
        return false;
    unsigned low = 0;
    unsigned high = 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & tile_state) == tile_state;
#else
    return false;
#endif
}

} // namespace clv::cpu
