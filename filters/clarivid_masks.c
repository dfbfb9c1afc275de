// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * This file is part of clarivid's filters for FFmpeg.
 *
 * It is free software; you can redistribute it and/or modify it under the
 * terms of the GNU Lesser General Public License as published by the Free
 * Software Foundation; either version 2.1 of the License, or (at your option)
 * any later version.
 */

#include <inttypes.h>
#include <string.h>

#include "libavutil/avstring.h"
#include "libavutil/mem.h"

#include "clarivid_cuda.h"
#include "clarivid_masks.h"

av_cold int ff_clarivid_masks_init(AVFilterContext *ctx, ClarividMasks *masks, const char *rect, const char *path)
{
    ClarividContext *s = ctx->priv;
    int ret;

    if (rect) {
        /* ':' separates options in a filtergraph, so that '|' may stand for it. */
        char *text = av_strireplace(rect, "|", ":");

        if (!text)
            return AVERROR(ENOMEM);
        ret = clv_boxes_create(s->clv, text, 0, &masks->boxes[0]);
        av_free(text);
        if (ret < 0)
            return ff_clarivid_failure(ctx, ret);
    }

    if (path) {
        ret = clv_boxes_create(s->clv, path, 1, &masks->boxes[1]);
        if (ret < 0)
            return ff_clarivid_failure(ctx, ret);
    }

    return 0;
}

int ff_clarivid_masks_config(AVFilterContext *ctx, ClarividMasks *masks, const char *rect, int width, int height)
{
    if (!masks->boxes[0] && !masks->boxes[1])
        return 0;

    masks->width  = width;
    masks->height = height;
    masks->drawn  = av_malloc((size_t)width * height);
    if (!masks->drawn)
        return AVERROR(ENOMEM);
    if (masks->boxes[0] && !clv_boxes_draw(masks->boxes[0], 0, masks->drawn, width, width, height))
        av_log(ctx, AV_LOG_WARNING, "no box of rect=%s lies in the picture, which is %dx%d\n", rect, width, height);

    return 0;
}

int ff_clarivid_masks_get(AVFilterContext *ctx, ClarividMasks *masks, const AVFilterLink *inlink,
                          const AVFrame *frame, int64_t number, clv_mask *view, const clv_mask **mask)
{
    int count = 0, ret;

    *mask = NULL;
    if (frame) {
        ret = ff_clarivid_cuda_check_frame(ctx, inlink, frame);
        if (ret < 0)
            return ret;
        view->data   = frame->data[0];
        view->stride = frame->linesize[0];
        view->width  = frame->width;
        view->height = frame->height;
        view->memory = frame->format == AV_PIX_FMT_CUDA ? CLV_MEMORY_CUDA : CLV_MEMORY_HOST;
        *mask = view;
    } else if (masks->drawn) {
        memset(masks->drawn, 0, (size_t)masks->width * masks->height);
        for (int i = 0; i < FF_ARRAY_ELEMS(masks->boxes); i++)
            if (masks->boxes[i])
                count += clv_boxes_draw(masks->boxes[i], number, masks->drawn, masks->width,
                                        masks->width, masks->height);
        masks->seen += count;
        *view = (clv_mask){ masks->drawn, masks->width, masks->width, masks->height, CLV_MEMORY_HOST };
        if (count)
            *mask = view;
    }

    return 0;
}

int ff_clarivid_masks_go_on(FFFrameSync *fs)
{
    FFFrameSyncIn *in = &fs->in[1];
    int ret;

    in->pts_next  = INT64_MAX;
    in->have_next = 1;
    in->before    = EXT_NULL;
    ret = ff_framesync_activate(fs);
    in->pts_next  = AV_NOPTS_VALUE;
    in->have_next = 0;
    in->before    = EXT_INFINITY;

    return ret;
}

void ff_clarivid_masks_finish(AVFilterContext *ctx, const ClarividMasks *masks, const char *path, int64_t frames)
{
    if (masks->boxes[1] && frames && !masks->seen)
        av_log(ctx, AV_LOG_WARNING, "no box of %s lay in one of the %"PRId64" frames\n", path, frames);
}

av_cold void ff_clarivid_masks_uninit(ClarividMasks *masks)
{
    for (int i = 0; i < FF_ARRAY_ELEMS(masks->boxes); i++)
        clv_boxes_destroy(&masks->boxes[i]);
    av_freep(&masks->drawn);
}
