// SPDX-License-Identifier: BSD-2-Clause
// The weights that zimg resamples chroma with (3.0.4: src/zimg/resize/filter.cpp), and the matrices of H.273:
// what the kernels of rgb.cu and chroma.cu need to give the pictures of colour.h.
#pragma once

#include <cstdint>
#include <vector>

#include "pixels/cuda/colour_params.h"

namespace clv::pixels::device {

/// Whether chroma samples are level with luma's even positions along an axis, rather than half-way to the
/// odd ones.
constexpr bool level_across(ChromaSite site) {
    return site != ChromaSite::centre;
}
constexpr bool level_down(ChromaSite site) {
    return site == ChromaSite::top_left;
}

/// Catmull-Rom's cubic between a 4:2:0 chroma plane and luma's positions. All weights are multiples of 2^-11:
/// exact.
UpWeights cubic_up(bool level);
DownWeights cubic_down(bool level);

/// Lanczos with three lobes for all `target` positions, in zimg's 14 bits.
struct LanczosWeights {
    std::vector<std::int32_t> first;  ///< never negative; first + lanczos_taps may pass a short input's end,
    std::vector<std::int16_t> weight; ///< where weights are 0
};
/// Position i of the target lies at (i + 0.5) * extent / target + shift of the source, whose samples have
/// their centres at 0.5, 1.5 ...; samples beyond its ends are those mirrored there.
LanczosWeights lanczos(int source, int target, double shift, double extent);

/// H.273, 8.3: E'R etc. of E'Y, E'PB and E'PR (equations 38 to 40 solved), and the other way round.
void matrix_to_rgb(Matrix matrix, float (&out)[3][3]);
void matrix_from_rgb(Matrix matrix, float (&out)[3][3]);

/// H.273, 8.3, quantisation (equations 23 to 31): values of codes, and codes of values.
Linear values_of_codes(const PictureFormat &format, bool chroma);
Linear codes_of_values(const PictureFormat &format, bool chroma);

} // namespace clv::pixels::device
