// SPDX-License-Identifier: BSD-2-Clause
// What the tracker sees: luma and hole at a fraction of the picture's size.
//
// Reduced sample (i, j) is the box of reduction x reduction full samples whose first is (i, j) * reduction,
// so its centre lies at (i, j) * reduction + (reduction - 1) / 2 in full samples. Full rows and columns that
// fill no box are left out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pixels/pixels.h"
#include "pixels/thread_pool.h"

namespace clv::mesh {

/// Full luma samples per reduced one: the least whole number that leaves at most 480 on the longer side (and
/// something of the shorter).
int reduction_of(int width, int height);

/// Samples that `size` full ones reduce to.
inline int reduced_size(int size, int reduction) {
    return size / reduction;
}

/// Averages boxes of the luma plane, in 8 bit code values rounded to the nearest; threaded by rows. `to`:
/// reduced_size() of width and height, `to_stride` bytes a row.
void reduce_luma(const pixels::PictureFormat &format, const pixels::ConstPicture &picture, int reduction,
                 uint8_t *to, ptrdiff_t to_stride, pixels::ThreadPool &pool);

/// 255 where any sample of the box is not 0, else 0. `mask`: width x height bytes, `stride` bytes a row.
void reduce_mask(const uint8_t *mask, ptrdiff_t stride, int width, int height, int reduction, uint8_t *to,
                 ptrdiff_t to_stride, pixels::ThreadPool &pool);

} // namespace clv::mesh
