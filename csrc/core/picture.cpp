// SPDX-License-Identifier: BSD-2-Clause
#include "core/picture.h"

#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.h"

namespace clv {
namespace {

pixels::Matrix matrix_of(const clv_format &format) {
    switch (format.matrix) {
    case CLV_MATRIX_BT601:
        return pixels::Matrix::bt601;
    case CLV_MATRIX_BT2020_NCL:
        return pixels::Matrix::bt2020ncl;
    case CLV_MATRIX_BT709:
        return pixels::Matrix::bt709;
    case CLV_MATRIX_UNSPECIFIED:
        break;
    }
    return format.height >= 720 ? pixels::Matrix::bt709 : pixels::Matrix::bt601;
}

pixels::ChromaSite site_of(clv_chroma_siting siting) {
    switch (siting) {
    case CLV_SITING_CENTRE:
        return pixels::ChromaSite::centre;
    case CLV_SITING_TOP_LEFT:
        return pixels::ChromaSite::top_left;
    case CLV_SITING_LEFT:
    case CLV_SITING_UNSPECIFIED:
        break;
    }
    return pixels::ChromaSite::left;
}

bool is_wide(clv_pixel_format format) {
    return format == CLV_PIXEL_YUV420P10 || format == CLV_PIXEL_P010;
}

} // namespace

bool is_semi_planar(clv_pixel_format format) {
    return format == CLV_PIXEL_NV12 || format == CLV_PIXEL_P010;
}

int plane_count(const clv_format &format) {
    return is_semi_planar(format.pixel_format) ? 2 : 3;
}

ptrdiff_t row_bytes(const clv_format &format, int plane) {
    const int chroma = (format.width + 1) / 2 * (is_semi_planar(format.pixel_format) ? 2 : 1);
    return ptrdiff_t{plane == 0 ? format.width : chroma} * (is_wide(format.pixel_format) ? 2 : 1);
}

int plane_rows(const clv_format &format, int plane) {
    return plane == 0 ? format.height : (format.height + 1) / 2;
}

pixels::PictureFormat picture_format(const clv_format &format) {
    pixels::PictureFormat out;
    out.width = format.width;
    out.height = format.height;
    out.semi_planar = is_semi_planar(format.pixel_format);
    out.msb_aligned = format.pixel_format == CLV_PIXEL_P010;
    out.bit_depth = is_wide(format.pixel_format) ? 10 : 8;
    out.full_range = format.range == CLV_RANGE_FULL;
    out.matrix = matrix_of(format);
    out.chroma_site = site_of(format.siting);
    return out;
}

pixels::Picture writable(const clv_picture &picture) {
    pixels::Picture out;
    for (int i = 0; i < 3; i++) {
        out.data[i] = static_cast<uint8_t *>(picture.data[i]);
        out.stride[i] = picture.stride[i];
    }
    return out;
}

pixels::ConstPicture readable(const clv_picture &picture) {
    return writable(picture);
}

void check_picture(const char *which, const clv_picture &picture, const clv_format &format) {
    for (int i = 0; i < plane_count(format); i++) {
        const ptrdiff_t row = row_bytes(format, i);
        const ptrdiff_t stride = picture.stride[i];
        const std::string plane = std::string(which) + " plane " + std::to_string(i);
        if (!picture.data[i])
            throw Error(CLV_ERR_INVALID_ARGUMENT, plane + " is NULL");
        if ((stride < 0 ? -stride : stride) < row)
            throw Error(CLV_ERR_INVALID_ARGUMENT, plane + " has a stride of " + std::to_string(stride) +
                                                      " bytes, a row has " + std::to_string(row));
        if (format.memory != CLV_MEMORY_CUDA)
            continue;
        if (stride < 0)
            throw Error(CLV_ERR_INVALID_ARGUMENT,
                        plane + " has a stride of " + std::to_string(stride) +
                            " bytes: in CUDA memory rows go from top to bottom, flip the picture there");
        if (is_wide(format.pixel_format) && (reinterpret_cast<uintptr_t>(picture.data[i]) | stride) % 2)
            throw Error(CLV_ERR_INVALID_ARGUMENT,
                        plane + " has 16-bit samples at an odd address or stride (" + std::to_string(stride) +
                            " bytes): CUDA memory is read by whole samples, align both to 2 bytes");
    }
}

void copy_picture(const clv_picture &from, const clv_picture &to, const clv_format &format) {
    for (int i = 0; i < plane_count(format); i++) {
        const auto *in = static_cast<const std::byte *>(from.data[i]);
        auto *out = static_cast<std::byte *>(to.data[i]);
        const auto bytes = static_cast<size_t>(row_bytes(format, i));
        for (int y = 0; y < plane_rows(format, i); y++)
            std::memcpy(out + y * to.stride[i], in + y * from.stride[i], bytes);
    }
}

} // namespace clv
