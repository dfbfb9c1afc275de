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
 * Super-resolution: each frame comes out exactly as many times larger as the
 * model's scale says, odd sizes included. Time, aspect, colour and side data
 * are the input's.
 */

#include "libavutil/opt.h"

#include "clarivid_session.h"

static const AVOption dnn_sr_options[] = {
    CLARIVID_DNN_SR_OPTIONS
};

AVFILTER_DEFINE_CLASS(dnn_sr);

static av_cold int init(AVFilterContext *ctx)
{
    ClarividSessionContext *s = ctx->priv;

    s->strength = 1;
    return ff_clarivid_session_init(ctx, "sr");
}

static const AVFilterPad dnn_sr_inputs[] = {
    {
        .name = "default",
        .type = AVMEDIA_TYPE_VIDEO,
    },
};

static const AVFilterPad dnn_sr_outputs[] = {
    {
        .name         = "default",
        .type         = AVMEDIA_TYPE_VIDEO,
        .config_props = ff_clarivid_session_config_output,
    },
};

extern const FFFilter ff_vf_dnn_sr;

const FFFilter ff_vf_dnn_sr = {
    FILTER_PUBLIC(name)        = "dnn_sr",
    FILTER_PUBLIC(description) = NULL_IF_CONFIG_SMALL("Enlarge video by a neural network."),
    FILTER_PUBLIC(priv_class)  = &dnn_sr_class,
    .flags_internal  = FF_FILTER_FLAG_HWFRAME_AWARE,
    .priv_size       = sizeof(ClarividSessionContext),
    .init            = init,
    .uninit          = ff_clarivid_session_uninit,
    .activate        = ff_clarivid_session_activate,
    .process_command = ff_clarivid_session_process_command,
    FILTER_INPUTS(dnn_sr_inputs),
    FILTER_OUTPUTS(dnn_sr_outputs),
    FILTER_PIXFMTS_ARRAY(ff_clarivid_pix_fmts),
};
