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
 * Frames in flight, and why none is ever lost
 *
 * A session works on up to `async` frames at once and gives them back in
 * order. A frame that the filter keeps while the graph rests is safe only as
 * long as the graph lives. ffmpeg (fftools) replaces its graph when the size,
 * the format or the colour description of the input changes: it asks the old
 * graph for no frame (5.1, 6.1), for one (9.0), or for frames until
 * avfilter_graph_request_oldest() returns EAGAIN (7.1, 8.1), then frees it.
 * The graph sees no EOF, and that last request is no signal either: the sink
 * has wanted a frame ever since the previous one left, no filter is ready, so
 * none is activated, and what is held back is lost with the graph. Therefore:
 *
 *  - With async=1, the default, each frame is waited for in the activation
 *    that took it. Nothing is in flight when the graph rests, so any host may
 *    free the graph at any time. The net uses all threads for the one frame;
 *    decoder and encoder run in threads of their own beside it.
 *
 *  - With async > 1 up to async-1 frames are held back, so that several are
 *    worked on although the host sends one and asks for one. They leave when
 *    newer ones push them out, at EOF, and at the command "drain", after which
 *    nothing is held back any more. Our patch to fftools sends "drain" before
 *    the graph is replaced, and asks it for frames until there is none; another
 *    host that replaces graphs without sending them EOF must do so too, or keep
 *    async=1.
 *
 *  - With frames in CUDA memory a frame leaves in the activation that took it,
 *    whatever async is: it is enqueued, and what comes after is too.
 */

#include <string.h>

#include "libavutil/detection_bbox.h"
#include "libavutil/mem.h"

#include "clarivid_cuda.h"
#include "clarivid_session.h"

av_cold int ff_clarivid_session_init(AVFilterContext *ctx, const char *task)
{
    ClarividSessionContext *s = ctx->priv;
    int ret;

    ret = ff_clarivid_init(ctx);
    if (ret < 0)
        return ret;

    return ff_clarivid_open_model(ctx, "model", s->common.model_name, task,
                                  &s->common.model, &s->common.model_info);
}

/** @param frame NULL when the link is being configured */
static clv_format get_format(AVFilterContext *ctx, const AVFrame *frame)
{
    const ClarividSessionContext *s = ctx->priv;

    return ff_clarivid_format(ctx->inputs[0], frame, s->common.model_info.layout != CLV_LAYOUT_YUV420_S2D);
}

static void destroy_session(AVFilterContext *ctx)
{
    ClarividSessionContext *s = ctx->priv;
    clv_device_stats stats;

    if (s->session) {
        clv_session_get_device_stats(s->session, &stats);
        ff_clarivid_cuda_log_stats(ctx, &stats);
    }
    clv_session_destroy(&s->session);
}

static int create_session(AVFilterContext *ctx, const clv_format *format, enum AVColorSpace space)
{
    ClarividSessionContext *s = ctx->priv;
    clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
    int ret;

    if (s->common.model_info.layout == CLV_LAYOUT_RGB)
        ff_clarivid_warn_matrix(ctx, format, space);

    params.backend   = s->common.backend;
    params.device    = s->common.device;
    params.precision = s->common.precision;
    params.threads   = s->common.threads;
    params.in_flight = s->common.device_ref ? 1 : s->async;
    params.dither    = s->dither;
    params.strength  = s->strength;
    params.cuda      = &s->common.cuda;
    params.tile      = s->tile;
    params.overlap   = s->overlap;
    params.sharpness = s->sharpness;

    destroy_session(ctx);
    ret = clv_session_create(s->common.clv, s->common.model, format, &params, &s->session);
    if (ret < 0)
        return ff_clarivid_failure(ctx, ret);
    clv_session_get_info(s->session, &s->session_info);
    s->format           = *format;
    s->session_strength = s->strength;

    return 0;
}

int ff_clarivid_session_config_output(AVFilterLink *outlink)
{
    AVFilterContext *ctx = outlink->src;
    AVFilterLink *inlink = ctx->inputs[0];
    ClarividSessionContext *s = ctx->priv;
    clv_format format;
    int ret;

    ret = ff_clarivid_cuda_config_input(ctx, inlink);
    if (ret < 0)
        return ret;
    format = get_format(ctx, NULL);
    ret = create_session(ctx, &format, LINK_COLORSPACE(inlink));
    if (ret < 0)
        return ret;

    outlink->w = s->session_info.output.width;
    outlink->h = s->session_info.output.height;

    return ff_clarivid_cuda_config_output(ctx, outlink, s->strength == 0);
}

/**
 * Make true again what the larger size has made false: scale what is counted
 * in pixels, drop what describes the coded picture.
 * av_frame_copy_props() has dropped AV_FRAME_DATA_PANSCAN.
 */
static void scale_props(AVFrame *frame, int scale)
{
    static const enum AVFrameSideDataType false_now[] = {
        AV_FRAME_DATA_MOTION_VECTORS,
        AV_FRAME_DATA_VIDEO_ENC_PARAMS,
#if HAVE_SIDE_DATA_VIDEO_HINT
        AV_FRAME_DATA_VIDEO_HINT,
#endif
#if HAVE_SIDE_DATA_LCEVC
        AV_FRAME_DATA_LCEVC,
#endif
    };
    AVFrameSideData *sd;

    if (scale == 1)
        return;

    frame->crop_left   *= scale;
    frame->crop_right  *= scale;
    frame->crop_top    *= scale;
    frame->crop_bottom *= scale;

    for (int i = 0; i < FF_ARRAY_ELEMS(false_now); i++)
        av_frame_remove_side_data(frame, false_now[i]);

    sd = av_frame_get_side_data(frame, AV_FRAME_DATA_REGIONS_OF_INTEREST);
    if (sd && sd->size >= sizeof(AVRegionOfInterest)) {
        const size_t step = ((const AVRegionOfInterest *)sd->data)->self_size;

        for (size_t at = 0; step >= sizeof(AVRegionOfInterest) && at + step <= sd->size; at += step) {
            AVRegionOfInterest *roi = (AVRegionOfInterest *)(sd->data + at);

            roi->top    *= scale;
            roi->bottom *= scale;
            roi->left   *= scale;
            roi->right  *= scale;
        }
    }

    sd = av_frame_get_side_data(frame, AV_FRAME_DATA_DETECTION_BBOXES);
    if (sd) {
        const AVDetectionBBoxHeader *header = (const AVDetectionBBoxHeader *)sd->data;

        for (unsigned i = 0; i < header->nb_bboxes; i++) {
            AVDetectionBBox *box = av_get_detection_bbox(header, i);

            box->x *= scale;
            box->y *= scale;
            box->w *= scale;
            box->h *= scale;
        }
    }
}

/** Start work on a frame; takes ownership of it. */
static int submit_frame(AVFilterContext *ctx, AVFrame *in)
{
    AVFilterLink *outlink = ctx->outputs[0];
    ClarividSessionContext *s = ctx->priv;
    clv_picture input, output;
    AVFrame *out = NULL;
    int ret;

    ff_clarivid_warn_interlaced(ctx, in);

    ret = ff_clarivid_cuda_get_frame(outlink, in, &out);
    if (ret < 0)
        goto fail;
    scale_props(out, s->session_info.scale);

    input  = ff_clarivid_picture(in);
    output = ff_clarivid_picture(out);
    ret = clv_session_submit(s->session, &input, &output, out);
    if (ret < 0) {
        ret = ff_clarivid_failure(ctx, ret);
        goto fail;
    }

    av_frame_free(&in); /* it has been read, or will have been before its memory is written (clarivid_cuda.h) */
    return 0;

fail:
    av_frame_free(&in);
    av_frame_free(&out);
    return ret;
}

/**
 * Take the oldest frame in flight out of the session.
 *
 * @param wait whether to wait for it
 * @return 1 with *out set, 0 when none is ready, a negative error code
 */
static int receive_frame(AVFilterContext *ctx, int wait, AVFrame **out)
{
    ClarividSessionContext *s = ctx->priv;
    void *opaque = NULL;
    AVFrame *frame;
    int ret;

    ret = clv_session_receive(s->session, wait, &opaque);
    if (ret == CLV_AGAIN || ret == CLV_EMPTY)
        return 0;

    frame = opaque;
    if (ret < 0) {
        av_frame_free(&frame);
        return ff_clarivid_failure(ctx, ret);
    }

    *out = frame;
    return 1;
}

/**
 * Make sure that the session is for pictures like the next one, and for the
 * strength that is asked for now.
 *
 * @return 1 when it is, 0 when frames in flight have to leave first, a
 *         negative error code
 */
static int prepare_session(AVFilterContext *ctx, const AVFrame *next)
{
    ClarividSessionContext *s = ctx->priv;
    clv_format format = get_format(ctx, next);
    int ret;

    ret = ff_clarivid_check_frame(ctx, ctx->inputs[0], next);
    if (ret < 0)
        return ret;

    if (ff_clarivid_is_same_format(&format, &s->format) && s->strength == s->session_strength)
        return 1;
    if (clv_session_pending(s->session))
        return 0;

    av_log(ctx, AV_LOG_VERBOSE, "the colour description of the input or the strength changes\n");
    ret = create_session(ctx, &format, next->colorspace);
    return ret < 0 ? ret : 1;
}

int ff_clarivid_session_activate(AVFilterContext *ctx)
{
    AVFilterLink *inlink  = ctx->inputs[0];
    AVFilterLink *outlink = ctx->outputs[0];
    ClarividSessionContext *s = ctx->priv;
    int must_wait = 0;

    FF_FILTER_FORWARD_STATUS_BACK(outlink, inlink);

    while (1) {
        /* On a device all work is enqueued at once: nothing is gained by holding back. */
        const int held = s->common.hold_back && !s->common.device_ref ? s->async - 1 : 0;
        AVFrame *in = NULL, *out = NULL;
        int ret;

        ret = receive_frame(ctx, s->eof || must_wait || clv_session_pending(s->session) > held, &out);
        if (ret < 0)
            return ret;
        if (ret > 0) {
            /* There may be more to do for what came in already. */
            ff_filter_set_ready(ctx, 100);
            return ff_filter_frame(outlink, out);
        }

        if (s->eof) {
            ff_outlink_set_status(outlink, s->eof_status, s->eof_pts);
            return 0;
        }

        if (ff_inlink_check_available_frame(inlink)) {
            ret = prepare_session(ctx, ff_inlink_peek_frame(inlink, 0));
            if (ret < 0)
                return ret;
            must_wait = !ret;
            if (must_wait)
                continue;

            ret = ff_inlink_consume_frame(inlink, &in);
            if (ret < 0)
                return ret;
            if (s->strength == 0)
                return ff_clarivid_cuda_pass_frame(outlink, in);
            ret = submit_frame(ctx, in);
            if (ret < 0)
                return ret;
        } else if (ff_inlink_acknowledge_status(inlink, &s->eof_status, &s->eof_pts)) {
            s->eof = 1;
        } else {
            break;
        }
    }

    FF_FILTER_FORWARD_WANTED(outlink, inlink);

    return FFERROR_NOT_READY;
}

int ff_clarivid_session_process_command(AVFilterContext *ctx, const char *cmd, const char *arg,
                                        char *res, int res_len, int flags)
{
    ClarividSessionContext *s = ctx->priv;

    if (!strcmp(cmd, "drain")) {
        s->common.hold_back = 0;
        ff_filter_set_ready(ctx, 100);
        return 0;
    }

    return ff_filter_process_command(ctx, cmd, arg, res, res_len, flags);
}

av_cold void ff_clarivid_session_uninit(AVFilterContext *ctx)
{
    ClarividSessionContext *s = ctx->priv;

    if (s->session) {
        void *frame = NULL;
        int ret;

        do {
            ret = clv_session_receive(s->session, 1, &frame);
            if (ret == CLV_OK || ret == CLV_ERR_INFERENCE)
                av_frame_free((AVFrame **)&frame);
        } while (ret == CLV_OK || ret == CLV_ERR_INFERENCE);
    }
    destroy_session(ctx);
    ff_clarivid_uninit(ctx);
}
