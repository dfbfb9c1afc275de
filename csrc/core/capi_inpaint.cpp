// SPDX-License-Identifier: BSD-2-Clause
// The C ABI over the C++ core: inpainters.
#include "clarivid/clarivid.h"

#include "core/capi.h"
#include "core/inpaint.h"

using clv::guarded;
using clv::require;

int clv_inpainter_create(clv_context *context, clv_model *net, clv_model *segmenter, const clv_format *format,
                         const clv_inpaint_params *params, clv_inpainter **inpainter) {
    if (!context)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(context, [&] {
        require(format, "format");
        require(inpainter, "inpainter");
        const clv_inpaint_params defaults = CLV_INPAINT_PARAMS_DEFAULTS;
        const auto full = clv::complete(params, defaults, "CLV_INPAINT_PARAMS_DEFAULTS");
        *inpainter = std::make_unique<clv_inpainter>(*context, net ? net->bundle : nullptr,
                                                     segmenter ? segmenter->bundle : nullptr, *format, full)
                         .release();
        return CLV_OK;
    });
}

void clv_inpainter_destroy(clv_inpainter **inpainter) {
    if (!inpainter)
        return;
    delete *inpainter;
    *inpainter = nullptr;
}

int clv_inpainter_submit(clv_inpainter *inpainter, const clv_picture *input, const clv_mask *mask,
                         const clv_picture *output, void *opaque) {
    if (!inpainter)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&inpainter->context(), [&] {
        require(input, "input");
        require(output, "output");
        return inpainter->submit(*input, mask, *output, opaque);
    });
}

int clv_inpainter_receive(clv_inpainter *inpainter, int flush, void **opaque) {
    if (!inpainter)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&inpainter->context(), [&] { return inpainter->receive(flush != 0, opaque); });
}

int clv_inpainter_pending(const clv_inpainter *inpainter) {
    return inpainter->pending();
}

void clv_inpainter_get_stats(const clv_inpainter *inpainter, clv_inpaint_stats *stats) {
    *stats = {};
    inpainter->stats(*stats);
}

void clv_inpainter_get_device_stats(const clv_inpainter *inpainter, clv_device_stats *stats) {
    *stats = {};
    inpainter->device_stats(*stats);
}

int clv_inpainter_reset(clv_inpainter *inpainter) {
    if (!inpainter)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&inpainter->context(), [&] {
        inpainter->reset();
        return CLV_OK;
    });
}

int clv_inpainter_paint(clv_inpainter *inpainter, const clv_picture *picture, const clv_mask *mask) {
    if (!inpainter)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&inpainter->context(), [&] {
        require(picture, "picture");
        require(mask, "mask");
        inpainter->paint(*picture, *mask);
        return CLV_OK;
    });
}
