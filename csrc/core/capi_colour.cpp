// SPDX-License-Identifier: BSD-2-Clause
// The C ABI over the C++ core: colour conversion for hosts that have or want R'G'B'.
#include "clarivid/clarivid.h"

#include <memory>

#include "core/capi.h"
#include "core/checks.h"
#include "core/picture.h"
#include "pixels/colour.h"

struct clv_rgb_converter {
    clv_context &context;
    clv_format format;
    clv::pixels::RgbConverter converter;
};

using clv::guarded;
using clv::require;

int clv_rgb_converter_create(clv_context *context, const clv_format *format, clv_dither dither,
                             clv_rgb_converter **converter) {
    if (!context)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(context, [&] {
        require(format, "format");
        require(converter, "converter");
        clv::check_format(*format);
        clv::check_enum("dither", dither, CLV_DITHER_NONE, CLV_DITHER_ORDERED);
        if (format->memory != CLV_MEMORY_HOST)
            throw clv::Error(CLV_ERR_UNSUPPORTED,
                             "colours are converted in host memory only: copy the picture there first");
        const auto rounding =
            dither == CLV_DITHER_ORDERED ? clv::pixels::Dither::ordered : clv::pixels::Dither::round;
        *converter =
            std::unique_ptr<clv_rgb_converter>(
                new clv_rgb_converter{*context, *format,
                                      clv::pixels::RgbConverter(clv::picture_format(*format), format->width,
                                                                format->height, 1, rounding)})
                .release();
        return CLV_OK;
    });
}

void clv_rgb_converter_destroy(clv_rgb_converter **converter) {
    if (!converter)
        return;
    delete *converter;
    *converter = nullptr;
}

int clv_rgb_from_picture(clv_rgb_converter *converter, const clv_picture *picture, float *rgb) {
    if (!converter)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&converter->context, [&] {
        require(picture, "picture");
        require(rgb, "rgb");
        clv::check_picture("picture", *picture, converter->format);
        converter->converter.to_tensor(clv::readable(*picture), rgb);
        return CLV_OK;
    });
}

int clv_rgb_to_picture(clv_rgb_converter *converter, const float *rgb, const clv_picture *picture) {
    if (!converter)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&converter->context, [&] {
        require(rgb, "rgb");
        require(picture, "picture");
        clv::check_picture("picture", *picture, converter->format);
        converter->converter.from_tensor(rgb, clv::writable(*picture));
        return CLV_OK;
    });
}
