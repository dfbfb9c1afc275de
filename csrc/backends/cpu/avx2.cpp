// SPDX-License-Identifier: BSD-2-Clause
#include "eight.h"
#include "winograd_simd.h"

namespace clv::cpu {
namespace {

using Vector = Eight;

constexpr Kernel kKernels[] = {kernel<Vector, 6, 2>(), kernel<Vector, 4, 2>(), kernel<Vector, 2, 4>(),
                               kernel<Vector, 1, 8>()};

using Set = Halves<Vector>;
using Wide = Set::Wide;

} // namespace

const Level kAvx2 = {"AVX2",
                     kKernels,
                     4,
                     transform<Vector>,
                     {winograd<Set, Vector, 12>(), winograd<Set, Wide, 6>(),
                      winograd<Set, Pair<Wide, Vector>, 4>(), winograd<Set, Pair<Wide, Wide>, 3>()}};

} // namespace clv::cpu
