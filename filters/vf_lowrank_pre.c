// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * This file is part of clarivid's filters for FFmpeg.
 *
 * It is free software; you can redistribute it and/or modify it under the
 * terms of the GNU Lesser General Public License as published by the Free
 * Software Foundation; either version 2.1 of the License, or (at your option)
 * any later version.
 */

/**
 * @file
 * Before an encoder: each frame comes out at its size, with less of what costs
 * bits and is not seen. Each frame by itself: what stands still stays still.
 * Time, aspect, colour and side data are the input's.
 */

#include "libavutil/opt.h"

#include "clarivid_session.h"

static const AVOption lowrank_pre_options[] = {
    CLARIVID_LOWRANK_PRE_OPTIONS
};

AVFILTER_DEFINE_CLASS(lowrank_pre);

static av_cold int init(AVFilterContext *ctx)
{
    return ff_clarivid_session_init(ctx, "lowrank");
}

static int config_output(AVFilterLink *outlink)
{
    AVFilterContext *ctx = outlink->src;
    ClarividSessionContext *s = ctx->priv;
    int ret;

    ret = ff_clarivid_session_config_output(outlink);
    if (ret < 0)
        return ret;

    /* An .onnx file need not name its task. */
    if (s->session_info.scale != 1) {
        av_log(ctx, AV_LOG_ERROR, "model %s makes pictures %d times as large, but this filter keeps their size: "
               "use dnn_sr for it, or a model for the task 'lowrank' here\n",
               s->common.model_info.name, s->session_info.scale);
        return AVERROR(EINVAL);
    }

    return 0;
}

static const AVFilterPad lowrank_pre_inputs[] = {
    {
        .name = "default",
        .type = AVMEDIA_TYPE_VIDEO,
    },
};

static const AVFilterPad lowrank_pre_outputs[] = {
    {
        .name         = "default",
        .type         = AVMEDIA_TYPE_VIDEO,
        .config_props = config_output,
    },
};

extern const FFFilter ff_vf_lowrank_pre;

const FFFilter ff_vf_lowrank_pre = {
    FILTER_PUBLIC(name)        = "lowrank_pre",
    FILTER_PUBLIC(description) = NULL_IF_CONFIG_SMALL("Prepare video for an encoder by a neural network: fewer bits."),
    FILTER_PUBLIC(priv_class)  = &lowrank_pre_class,
    .flags_internal  = FF_FILTER_FLAG_HWFRAME_AWARE,
    .priv_size       = sizeof(ClarividSessionContext),
    .init            = init,
    .uninit          = ff_clarivid_session_uninit,
    .activate        = ff_clarivid_session_activate,
    .process_command = ff_clarivid_session_process_command,
    FILTER_INPUTS(lowrank_pre_inputs),
    FILTER_OUTPUTS(lowrank_pre_outputs),
    FILTER_PIXFMTS_ARRAY(ff_clarivid_pix_fmts),
};
