// SPDX-License-Identifier: BSD-2-Clause

#include "kernels.h"

#include <initializer_list>

#ifdef CLARIVID_PIXELS_X86
#include <cpuid.h>
#endif

namespace clv::pixels {
namespace {

#ifdef CLARIVID_PIXELS_X86
// __builtin_cpu_supports also asks the operating system whether it keeps the wide registers.
bool has_avx2() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0; // clang 14's builtin does not know f16c
    const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
}

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

const Kernels &best_kernels() {
    for (const CpuLevel level : {CpuLevel::avx512, CpuLevel::avx2})
        if (const Kernels *found = kernels_for(level))
            return *found;
    return reference_kernels;
}

} // namespace

const Kernels *kernels_for(CpuLevel level) {
    switch (level) {
    case CpuLevel::reference:
        return &reference_kernels;
#ifdef CLARIVID_PIXELS_X86
    case CpuLevel::avx2:
        return has_avx2() ? &avx2_kernels : nullptr;
    case CpuLevel::avx512:
        return has_avx512() ? &avx512_kernels : nullptr;
#endif
    default:
        return nullptr;
    }
}

const Kernels &kernels() {
    static const Kernels &best = best_kernels();
    return best;
}

} // namespace clv::pixels
