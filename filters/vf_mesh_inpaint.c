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
 * Make what a mask covers vanish. The library remembers the background, carries
 * it along with the camera, and has a net paint what no frame has shown.
 *
 * The masks come from a second input, or from boxes, or from a net that finds
 * people; then there is one input only. Both cases go through framesync: the
 * first input makes the events, the second one is looked up at their times.
 *
 * Frames in host memory are worked on where they lie: what is outside the hole
 * is not touched, and neither are properties and side data. Frames in CUDA memory
 * come out as others, so that the decoder has its own back at once.
 *
 * With lookahead=N the last N frames stay inside, because later ones may show
 * what they lack. They leave at EOF and at the command "drain", after which
 * none is held back any more; clarivid_session.c says when that is needed.
 */

#include <inttypes.h>
#include <string.h>

#include "libavutil/opt.h"
#include "libavutil/time.h"

#include "clarivid_common.h"
#include "clarivid_cuda.h"
#include "clarivid_masks.h"
#include "formats.h"
#include "framesync.h"

typedef struct MeshInpaintContext {
    ClarividContext common;

    /* options */
    char *rect;
    char *boxes_path;
    char *segment;
    int mesh_w, mesh_h;         ///< set by one option
    int lookahead;
    int dilate;
    int feather;
    int show;                   ///< enum clv_inpaint_show

    FFFrameSync fs;
    int found_no_net;           ///< model=auto: none of ours is there
    clv_model *segmenter;
    clv_model_info segmenter_info;
    ClarividMasks masks;        ///< of rect and of boxes_path

    clv_inpainter *inpainter;
    clv_format format;          ///< what it was created for
    AVFrame *held[CLARIVID_MAX_LOOKAHEAD + 1]; ///< what it works on, oldest first
    int nb_held;

    int64_t frame_number;       ///< of the next frame
    int64_t first_time;         ///< wall clock when the first frame came in, microseconds
    int64_t last_time;          ///< and when the last one went out
    int wants_more;             ///< the last frame that came in has let none out
    int drain;                  ///< the command came, and what is inside has still to leave
    int mask_is_late;           ///< the frame that is coming in cannot wait for its mask
    int finished;
} MeshInpaintContext;

static const AVOption mesh_inpaint_options[] = {
    CLARIVID_MESH_INPAINT_OPTIONS
};

FRAMESYNC_DEFINE_CLASS(mesh_inpaint, MeshInpaintContext, fs);

/* What model=auto looks for; the first one costs a processor less. */
static const char *const ours[] = { "inpaint_v1_fast", "inpaint_v1" };

/** The option model: a bundle, "none", or "auto" for the first of ours that is there. */
static av_cold int open_net(AVFilterContext *ctx)
{
    MeshInpaintContext *s = ctx->priv;
    const char *name = s->common.model_name;

    if (name && !strcmp(name, "none"))
        return 0;

    if (name && !strcmp(name, "auto")) {
        int ret = ff_clarivid_find_model(ctx, ours, FF_ARRAY_ELEMS(ours), &name);
        if (ret < 0)
            return ret;
        s->found_no_net = !name;
        if (!name)
            return 0;
    }

    return ff_clarivid_open_model(ctx, "model", name, "inpaint", &s->common.model, &s->common.model_info);
}

static av_cold int init(AVFilterContext *ctx)
{
    AVFilterPad main_pad = { .name = "main", .type = AVMEDIA_TYPE_VIDEO };
    AVFilterPad mask_pad = { .name = "mask", .type = AVMEDIA_TYPE_VIDEO };
    MeshInpaintContext *s = ctx->priv;
    int ret;

    if (s->mesh_w < 1 || s->mesh_w > 32 || s->mesh_h < 1 || s->mesh_h > 18) {
        av_log(ctx, AV_LOG_ERROR, "mesh=%dx%d: the grid has 1x1 to 32x18 cells\n", s->mesh_w, s->mesh_h);
        return AVERROR(EINVAL);
    }

    ret = ff_clarivid_init(ctx);
    if (ret < 0)
        return ret;
    ret = open_net(ctx);
    if (ret < 0)
        return ret;
    ret = ff_clarivid_masks_init(ctx, &s->masks, s->rect, s->boxes_path);
    if (ret < 0)
        return ret;
    if (s->segment) {
        ret = ff_clarivid_open_model(ctx, "segment", s->segment, "segment", &s->segmenter, &s->segmenter_info);
        if (ret < 0)
            return ret;
    }

    ret = ff_append_inpad(ctx, &main_pad);
    if (ret < 0)
        return ret;
    if (!s->rect && !s->boxes_path && !s->segment) {
        av_log(ctx, AV_LOG_VERBOSE, "the masks come from the second input\n");
        ret = ff_append_inpad(ctx, &mask_pad);
    }

    return ret;
}

/* Masks are grey, which swscale takes for full range: it expands what comes
 * with limited range. In CUDA memory luma is taken as it is. */
static int query_formats(QUERY_FORMATS_PARAMS)
{
    static const enum AVPixelFormat mask_fmts[] = {
        AV_PIX_FMT_GRAY8,
#if CONFIG_CUDA
        AV_PIX_FMT_CUDA,
#endif
        AV_PIX_FMT_NONE
    };
    AVFilterFormats *main_formats = ff_make_format_list(ff_clarivid_pix_fmts);
    int ret;

    if ((ret = ff_formats_ref(main_formats, QUERY_IN_FORMATS(0))) < 0 ||
        (ret = ff_formats_ref(main_formats, QUERY_OUT_FORMATS(0))) < 0)
        return ret;
    if (ctx->nb_inputs > 1)
        ret = ff_formats_ref(ff_make_format_list(mask_fmts), QUERY_IN_FORMATS(1));

    return ret;
}

/** Say what was done so far. */
static void log_stats(AVFilterContext *ctx)
{
    MeshInpaintContext *s = ctx->priv;
    const double seconds = (s->last_time - s->first_time) / 1e6;
    clv_inpaint_stats stats = { 0 };
    clv_device_stats device;
    double frames;

    if (s->inpainter)
        clv_inpainter_get_stats(s->inpainter, &stats);
    if (!stats.pictures)
        return;
    frames = stats.pictures;

    av_log(ctx, AV_LOG_VERBOSE, "%"PRIu64" frames, %.1f fps in all; ms a frame: track %.2f, solve %.2f, fill %.2f, "
           "paint %.2f; %"PRIu64" cuts, %"PRIu64" paintings; memory %.1f MiB\n", stats.pictures,
           seconds > 0 ? frames / seconds : 0, stats.track_ms / frames, stats.solve_ms / frames,
           stats.fill_ms / frames, stats.paint_ms / frames, stats.cuts, stats.paintings,
           stats.memory_bytes / 1048576.0);
    av_log(ctx, AV_LOG_VERBOSE, "the last frame: %d of %d features agree, %.3f samples from the mesh; cost %g of "
           "features, %g of shape, %g of time; hole %.2f %% of the picture, %.1f %% of it remembered\n",
           stats.inliers, stats.features, stats.residual, stats.cost_features, stats.cost_shape,
           stats.cost_time, 100 * stats.hole, 100 * stats.remembered);
    clv_inpainter_get_device_stats(s->inpainter, &device);
    ff_clarivid_cuda_log_stats(ctx, &device);
}

static int create_inpainter(AVFilterContext *ctx, const clv_format *format, enum AVColorSpace space)
{
    MeshInpaintContext *s = ctx->priv;
    clv_inpaint_params params = CLV_INPAINT_PARAMS_DEFAULTS;
    int ret;

    if (s->segmenter_info.layout == CLV_LAYOUT_RGB)
        ff_clarivid_warn_matrix(ctx, format, space);

    params.backend      = s->common.backend;
    params.device       = s->common.device;
    params.precision    = s->common.precision;
    params.threads      = s->common.threads;
    params.mesh_columns = s->mesh_w;
    params.mesh_rows    = s->mesh_h;
    params.lookahead    = s->lookahead;
    params.dilate       = s->dilate;
    params.feather      = s->feather;
    params.show         = s->show;
    params.cuda         = &s->common.cuda;

    clv_inpainter_destroy(&s->inpainter);
    ret = clv_inpainter_create(s->common.clv, s->common.model, s->segmenter, format, &params, &s->inpainter);
    if (ret < 0)
        return ff_clarivid_failure(ctx, ret);
    s->format = *format;

    return 0;
}

/** @param frame NULL when the link is being configured */
static clv_format get_format(AVFilterContext *ctx, const AVFrame *frame)
{
    const MeshInpaintContext *s = ctx->priv;

    /* Only a segmenter on RGB has to know more than the range. */
    return ff_clarivid_format(ctx->inputs[0], frame, s->segmenter_info.layout == CLV_LAYOUT_RGB);
}

/** Let the oldest frame out. @return 1 when it went, 0 when it has to stay, a negative error code */
static int output_frame(AVFilterContext *ctx, int flush)
{
    MeshInpaintContext *s = ctx->priv;
    AVFrame *frame;
    int ret;

    if (!s->nb_held)
        return 0;
    ret = clv_inpainter_receive(s->inpainter, flush, NULL);
    if (ret == CLV_AGAIN || ret == CLV_EMPTY)
        return 0;

    frame = s->held[0];
    memmove(s->held, s->held + 1, --s->nb_held * sizeof(*s->held));
    if (ret < 0) {
        av_frame_free(&frame);
        return ff_clarivid_failure(ctx, ret);
    }

    s->last_time = av_gettime_relative();
    ret = ff_filter_frame(ctx->outputs[0], frame);
    return ret < 0 ? ret : 1;
}

/** Let all frames out that need not, or may not, wait. @return how many, or a negative error code */
static int output_frames(AVFilterContext *ctx, int flush)
{
    int count = 0, ret;

    while ((ret = output_frame(ctx, flush)) > 0)
        count++;

    return ret < 0 ? ret : count;
}

/**
 * Make sure that the inpainter is for pictures like this one. When the colour
 * description changes, the frames before leave, and the memory is a new one.
 */
static int prepare_inpainter(AVFilterContext *ctx, const AVFrame *frame)
{
    MeshInpaintContext *s = ctx->priv;
    clv_format format = get_format(ctx, frame);
    int ret;

    ret = ff_clarivid_check_frame(ctx, ctx->inputs[0], frame);
    if (ret < 0)
        return ret;
    if (ff_clarivid_is_same_format(&format, &s->format))
        return 0;

    ret = output_frames(ctx, 1);
    if (ret < 0)
        return ret;
    log_stats(ctx);
    av_log(ctx, AV_LOG_VERBOSE, "the colour description of the input changes\n");

    return create_inpainter(ctx, &format, frame->colorspace);
}

/** Hand a frame over to the inpainter; takes ownership of it. */
static int submit_frame(AVFilterContext *ctx, AVFrame *in, const clv_mask *mask)
{
    MeshInpaintContext *s = ctx->priv;
    clv_picture input, output;
    AVFrame *out = NULL;
    int ret;

    if (s->common.device_ref)
        ret = ff_clarivid_cuda_get_frame(ctx->outputs[0], in, &out);
    else
        ret = ff_inlink_make_frame_writable(ctx->inputs[0], &in);
    if (ret < 0)
        goto fail;

    input  = ff_clarivid_picture(in);
    output = ff_clarivid_picture(out ? out : in);
    ret = clv_inpainter_submit(s->inpainter, &input, mask, &output, NULL);
    if (ret < 0) {
        ret = ff_clarivid_failure(ctx, ret);
        goto fail;
    }

    s->held[s->nb_held++] = out ? out : in;
    if (out)
        av_frame_free(&in);
    return 0;

fail:
    av_frame_free(&in);
    av_frame_free(&out);
    return ret;
}

/** A frame of the first input, and what the second one shows at its time. */
static int on_event(FFFrameSync *fs)
{
    AVFilterContext *ctx = fs->parent;
    AVFilterLink *outlink = ctx->outputs[0];
    MeshInpaintContext *s = ctx->priv;
    AVFrame *frame = NULL, *mask_frame = NULL;
    const clv_mask *mask = NULL;
    clv_mask view;
    int ret;

    ret = ff_framesync_get_frame(fs, 0, &frame, 1);
    if (ret < 0)
        return ret;
    if (ctx->nb_inputs > 1) {
        ret = ff_framesync_get_frame(fs, 1, &mask_frame, 0);
        if (ret < 0)
            goto fail;
        if (!mask_frame && s->mask_is_late) {
            av_log(ctx, AV_LOG_WARNING, "a frame has to leave before the first mask has come: nothing vanishes from it\n");
        } else if (!mask_frame && !s->frame_number && fs->opt_repeatlast) {
            av_log(ctx, AV_LOG_ERROR, "the mask input ended before it gave a frame: nothing would vanish. A still "
                   "picture has to be repeated (-loop 1) where frames change their size in mid-stream; with "
                   "eof_action=pass frames without a mask are let through\n");
            ret = AVERROR(EINVAL);
            goto fail;
        }
    }
    frame->pts = av_rescale_q_rnd(frame->pts, fs->time_base, outlink->time_base,
                                  AV_ROUND_NEAR_INF | AV_ROUND_PASS_MINMAX);

    if (!s->frame_number)
        s->first_time = av_gettime_relative();
    ret = prepare_inpainter(ctx, frame);
    if (ret < 0)
        goto fail;
    ff_clarivid_warn_interlaced(ctx, frame);

    if (!ctx->is_disabled) {
        ret = ff_clarivid_masks_get(ctx, &s->masks, mask_frame ? ctx->inputs[1] : NULL, mask_frame,
                                    s->frame_number, &view, &mask);
        if (ret < 0)
            goto fail;
    } else if (s->segmenter) {
        /* It would make a mask of its own: the frame goes past it. */
        ret = output_frames(ctx, 1);
        if (ret < 0)
            goto fail;
        s->frame_number++;
        return ff_clarivid_cuda_pass_frame(outlink, frame);
    }
    s->frame_number++;

    ret = submit_frame(ctx, frame, mask);
    if (ret < 0)
        return ret;

    ret = output_frames(ctx, !s->common.hold_back);
    s->wants_more = !ret;
    return FFMIN(ret, 0);

fail:
    av_frame_free(&frame);
    return ret;
}

static int config_output(AVFilterLink *outlink)
{
    AVFilterContext *ctx = outlink->src;
    AVFilterLink *inlink = ctx->inputs[0];
    MeshInpaintContext *s = ctx->priv;
    clv_format format;
    int ret;

    /* Not in init, which ffmpeg calls twice for a complex graph. */
    if (s->found_no_net)
        av_log(ctx, AV_LOG_WARNING, "no model for inpainting was found (looked for %s and %s): what was never "
               "seen is diffused from around; model=none says that this is meant\n", ours[0], ours[1]);

    ret = ff_clarivid_cuda_config_input(ctx, inlink);
    if (ret < 0)
        return ret;
    if (ctx->nb_inputs > 1) {
        ret = ff_clarivid_cuda_check_second(ctx, ctx->inputs[1], "mask");
        if (ret < 0)
            return ret;
    }
    format = get_format(ctx, NULL);
    ret = create_inpainter(ctx, &format, LINK_COLORSPACE(inlink));
    if (ret < 0)
        return ret;
    ret = ff_clarivid_masks_config(ctx, &s->masks, s->rect, inlink->w, inlink->h);
    if (ret < 0)
        return ret;

    ret = ff_framesync_init(&s->fs, ctx, ctx->nb_inputs);
    if (ret < 0)
        return ret;
    s->fs.on_event = on_event;
    s->fs.in[0].time_base = inlink->time_base;
    s->fs.in[0].sync      = 1;
    s->fs.in[0].before    = EXT_STOP;
    s->fs.in[0].after     = EXT_STOP;
    /* The times of both inputs have to be exact, and if they cannot be, the first one's. */
    s->fs.time_base = inlink->time_base;
    if (ctx->nb_inputs > 1) {
        /* It makes no events. Its first frame holds before its time too: a mask
         * that comes a little late, or whose first frames went with the graph
         * before this one, must not let anything be seen. */
        s->fs.in[1].time_base = ctx->inputs[1]->time_base;
        s->fs.in[1].sync      = 0;
        s->fs.in[1].before    = EXT_INFINITY;
        s->fs.in[1].after     = EXT_INFINITY;
        s->fs.time_base = av_gcd_q(inlink->time_base, ctx->inputs[1]->time_base, INT_MAX, inlink->time_base);
    }
    outlink->w         = inlink->w;
    outlink->h         = inlink->h;
    outlink->time_base = inlink->time_base;
    ret = ff_clarivid_cuda_config_output(ctx, outlink, 0);
    if (ret < 0)
        return ret;

    return ff_framesync_configure(&s->fs);
}

/** The input has ended: let everything out. */
static int finish(AVFilterContext *ctx)
{
    MeshInpaintContext *s = ctx->priv;
    int ret;

    s->finished = 1;
    ret = output_frames(ctx, 1);
    if (ret < 0)
        return ret;
    ff_clarivid_masks_finish(ctx, &s->masks, s->boxes_path, s->frame_number);

    return 0;
}

/** Let everything out that came in before the command "drain". */
static int drain(AVFilterContext *ctx)
{
    MeshInpaintContext *s = ctx->priv;
    int64_t number;
    int ret;

    s->drain = 0;
    do {
        number = s->frame_number;
        ret = ff_framesync_activate(&s->fs);
        if (ret >= 0 && !s->fs.eof && ctx->nb_inputs > 1 && s->fs.in[0].have_next && !s->fs.in[1].have_next) {
            s->mask_is_late = 1;
            ret = ff_clarivid_masks_go_on(&s->fs);
            s->mask_is_late = 0;
        }
    } while (ret >= 0 && !s->fs.eof && s->frame_number != number);

    return ret < 0 ? ret : output_frames(ctx, 1);
}

static int activate(AVFilterContext *ctx)
{
    MeshInpaintContext *s = ctx->priv;
    int ret;

    s->wants_more = 0;
    ret = s->drain ? drain(ctx) : ff_framesync_activate(&s->fs);
    if (ret < 0)
        return ret;

    /* framesync has put the end onto the output already. Nobody has seen it yet,
     * and frames that follow in the same activation are delivered before it. */
    if (s->fs.eof && !s->finished)
        return finish(ctx);

    if (s->wants_more)
        ff_filter_set_ready(ctx, 100);

    return 0;
}

static int process_command(AVFilterContext *ctx, const char *cmd, const char *arg,
                           char *res, int res_len, int flags)
{
    MeshInpaintContext *s = ctx->priv;

    if (!strcmp(cmd, "drain")) {
        s->common.hold_back = 0;
        s->drain            = 1;
        ff_filter_set_ready(ctx, 100);
        return 0;
    }

    return ff_filter_process_command(ctx, cmd, arg, res, res_len, flags);
}

static av_cold void uninit(AVFilterContext *ctx)
{
    MeshInpaintContext *s = ctx->priv;

    log_stats(ctx); /* also when the output was closed before the input's end */
    ff_framesync_uninit(&s->fs);
    clv_inpainter_destroy(&s->inpainter);
    for (int i = 0; i < s->nb_held; i++)
        av_frame_free(&s->held[i]);
    ff_clarivid_masks_uninit(&s->masks);
    clv_model_close(&s->segmenter);
    ff_clarivid_uninit(ctx);
}

static const AVFilterPad mesh_inpaint_outputs[] = {
    {
        .name         = "default",
        .type         = AVMEDIA_TYPE_VIDEO,
        .config_props = config_output,
    },
};

extern const FFFilter ff_vf_mesh_inpaint;

const FFFilter ff_vf_mesh_inpaint = {
    FILTER_PUBLIC(name)        = "mesh_inpaint",
    FILTER_PUBLIC(description) = NULL_IF_CONFIG_SMALL("Make what a mask covers vanish from video."),
    FILTER_PUBLIC(priv_class)  = &mesh_inpaint_class,
    FILTER_PUBLIC(flags)       = AVFILTER_FLAG_DYNAMIC_INPUTS | AVFILTER_FLAG_SUPPORT_TIMELINE_INTERNAL,
    .flags_internal  = FF_FILTER_FLAG_HWFRAME_AWARE,
    .priv_size       = sizeof(MeshInpaintContext),
    .preinit         = mesh_inpaint_framesync_preinit,
    .init            = init,
    .uninit          = uninit,
    .activate        = activate,
    .process_command = process_command,
    FILTER_OUTPUTS(mesh_inpaint_outputs),
    FILTER_QUERY_FUNC2(query_formats),
};
