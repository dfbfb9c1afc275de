// SPDX-License-Identifier: BSD-2-Clause
// The C ABI's pictures as clv::pixels sees them.
#pragma once

#include <cstddef>

#include "clarivid/clarivid.h"
#include "pixels/pixels.h"

namespace clv {

bool is_semi_planar(clv_pixel_format format);
int plane_count(const clv_format &format);
/// Of the samples in one row of a plane.
ptrdiff_t row_bytes(const clv_format &format, int plane);
int plane_rows(const clv_format &format, int plane);

/// With the defaults of what nobody stated (clarivid.h) filled in.
pixels::PictureFormat picture_format(const clv_format &format);
pixels::Picture writable(const clv_picture &picture);
pixels::ConstPicture readable(const clv_picture &picture);

/// Throws Error(CLV_ERR_INVALID_ARGUMENT): a plane is NULL, or its stride is too small. `which` begins the
/// sentence.
void check_picture(const char *which, const clv_picture &picture, const clv_format &format);
void copy_picture(const clv_picture &from, const clv_picture &to, const clv_format &format);

} // namespace clv
