// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * This file is part of clarivid's filters for FFmpeg.
 *
 * It is free software; you can redistribute it and/or modify it under the
 * terms of the GNU Lesser General Public License as published by the Free
 * Software Foundation; either version 2.1 of the License, or (at your option)
 * any later version.
 */

#include <string.h>

#include "libavutil/hwcontext.h"
#include "libavutil/pixdesc.h"

#include "clarivid_common.h"
#include "clarivid_cuda.h"

const enum AVPixelFormat ff_clarivid_pix_fmts[] = {
    AV_PIX_FMT_YUV420P,
    AV_PIX_FMT_NV12,
    AV_PIX_FMT_YUV420P10,
    AV_PIX_FMT_P010,
    AV_PIX_FMT_YUVJ420P,
#if CONFIG_CUDA
    AV_PIX_FMT_CUDA,
#endif
    AV_PIX_FMT_NONE
};

static void log_callback(void *opaque, clv_log_level level, const char *message)
{
    static const int levels[] = {
        [CLV_LOG_ERROR]   = AV_LOG_ERROR,
        [CLV_LOG_WARNING] = AV_LOG_WARNING,
        [CLV_LOG_INFO]    = AV_LOG_INFO,
        [CLV_LOG_VERBOSE] = AV_LOG_VERBOSE,
        [CLV_LOG_DEBUG]   = AV_LOG_DEBUG,
    };

    av_log(opaque, level >= 0 && level < FF_ARRAY_ELEMS(levels) ? levels[level] : AV_LOG_DEBUG,
           "%s\n", message);
}

int ff_clarivid_failure(AVFilterContext *ctx, int status)
{
    ClarividContext *s = ctx->priv;
    char sentence[2048];

    clv_last_error(s->clv, sentence, sizeof(sentence));
    av_log(ctx, AV_LOG_ERROR, "%s\n", sentence);

    switch (status) {
    case CLV_ERR_INVALID_ARGUMENT: return AVERROR(EINVAL);
    case CLV_ERR_NOT_FOUND:        return AVERROR(ENOENT);
    case CLV_ERR_INVALID_MODEL:    return AVERROR_INVALIDDATA;
    case CLV_ERR_UNSUPPORTED:      return AVERROR(ENOSYS);
    case CLV_ERR_IO:               return AVERROR(EIO);
    case CLV_ERR_NO_MEMORY:        return AVERROR(ENOMEM);
    case CLV_ERR_INTERNAL:         return AVERROR_BUG;
    default:                       return AVERROR_EXTERNAL;
    }
}

av_cold int ff_clarivid_init(AVFilterContext *ctx)
{
    ClarividContext *s = ctx->priv;

    /* Before 6.0 the option that all filters have goes before ours of its name. */
    if (!s->threads && ctx->nb_threads) {
        int ret = av_opt_set_int(s, "threads", ctx->nb_threads, 0);
        if (ret < 0)
            return ret;
    }

    s->hold_back = 1;
    s->clv = clv_context_create(log_callback, ctx);

    return s->clv ? 0 : AVERROR(ENOMEM);
}

av_cold void ff_clarivid_uninit(AVFilterContext *ctx)
{
    ClarividContext *s = ctx->priv;

    clv_model_close(&s->model);
    clv_context_destroy(&s->clv);
    av_buffer_unref(&s->device_ref);
}

av_cold int ff_clarivid_open_model(AVFilterContext *ctx, const char *option, const char *name, const char *task,
                                   clv_model **model, clv_model_info *info)
{
    ClarividContext *s = ctx->priv;
    int ret;

    if (!name || !*name) {
        av_log(ctx, AV_LOG_ERROR, "no model: set %s= to the name of a bundle, or to the path of a "
               "bundle or .onnx file\n", option);
        return AVERROR(EINVAL);
    }

    ret = clv_model_open(s->clv, name, model);
    if (ret < 0)
        return ff_clarivid_failure(ctx, ret);
    clv_model_get_info(*model, info);

    if (*info->task && strcmp(info->task, task)) {
        av_log(ctx, AV_LOG_ERROR, "model %s is for the task '%s', but %s runs models for '%s'\n",
               info->name, info->task, strcmp(option, "model") ? option : "this filter", task);
        return AVERROR(EINVAL);
    }

    return 0;
}

av_cold int ff_clarivid_find_model(AVFilterContext *ctx, const char *const *names, int nb_names, const char **found)
{
    ClarividContext *s = ctx->priv;

    *found = NULL;
    for (int i = 0; i < nb_names && !*found; i++) {
        clv_model *model;
        int ret = clv_model_open(s->clv, names[i], &model);

        if (ret < 0 && ret != CLV_ERR_NOT_FOUND)
            return ff_clarivid_failure(ctx, ret);
        if (ret >= 0) {
            *found = names[i];
            clv_model_close(&model);
        }
    }

    return 0;
}

static clv_pixel_format get_pixel_format(enum AVPixelFormat format)
{
    switch (format) {
    case AV_PIX_FMT_NV12:      return CLV_PIXEL_NV12;
    case AV_PIX_FMT_YUV420P10: return CLV_PIXEL_YUV420P10;
    case AV_PIX_FMT_P010:      return CLV_PIXEL_P010;
    default:                   return CLV_PIXEL_YUV420P;
    }
}

/* What is unspecified is given as what the library takes it for, so that a
 * first frame that specifies it needs no other session. */

static clv_range get_range(enum AVPixelFormat format, enum AVColorRange range)
{
    return format == AV_PIX_FMT_YUVJ420P || range == AVCOL_RANGE_JPEG ? CLV_RANGE_FULL : CLV_RANGE_LIMITED;
}

static clv_matrix get_matrix(enum AVColorSpace space)
{
    switch (space) {
    case AVCOL_SPC_BT709:      return CLV_MATRIX_BT709;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:  return CLV_MATRIX_BT601;
    case AVCOL_SPC_BT2020_NCL: return CLV_MATRIX_BT2020_NCL;
    default:                   return CLV_MATRIX_UNSPECIFIED;
    }
}

static clv_chroma_siting get_siting(enum AVChromaLocation location)
{
    switch (location) {
    case AVCHROMA_LOC_CENTER:  return CLV_SITING_CENTRE;
    case AVCHROMA_LOC_TOPLEFT: return CLV_SITING_TOP_LEFT;
    default:                   return CLV_SITING_LEFT;
    }
}

clv_format ff_clarivid_format(const AVFilterLink *inlink, const AVFrame *frame, int colour)
{
    enum AVColorRange range = LINK_COLOR_RANGE(inlink);
    enum AVColorSpace space = LINK_COLORSPACE(inlink);
    const int in_cuda = inlink->format == AV_PIX_FMT_CUDA;
    const AVHWFramesContext *frames = in_cuda ? (const AVHWFramesContext *)LINK_HW_FRAMES(inlink)->data : NULL;
    clv_format format = {
        .width        = inlink->w,
        .height       = inlink->h,
        .pixel_format = get_pixel_format(in_cuda ? frames->sw_format : inlink->format),
        .memory       = in_cuda ? CLV_MEMORY_CUDA : CLV_MEMORY_HOST,
    };

    if (frame && frame->color_range != AVCOL_RANGE_UNSPECIFIED)
        range = frame->color_range;
    if (frame && frame->colorspace != AVCOL_SPC_UNSPECIFIED)
        space = frame->colorspace;

    format.range = get_range(inlink->format, range);
    if (colour) {
        format.matrix = get_matrix(space);
        format.siting = get_siting(frame ? frame->chroma_location : AVCHROMA_LOC_UNSPECIFIED);
    }

    return format;
}

int ff_clarivid_is_same_format(const clv_format *a, const clv_format *b)
{
    return a->width        == b->width        &&
           a->height       == b->height       &&
           a->pixel_format == b->pixel_format &&
           a->memory       == b->memory       &&
           a->range        == b->range        &&
           a->matrix       == b->matrix       &&
           a->siting       == b->siting;
}

void ff_clarivid_warn_matrix(AVFilterContext *ctx, const clv_format *format, enum AVColorSpace space)
{
    if (space != AVCOL_SPC_UNSPECIFIED && format->matrix == CLV_MATRIX_UNSPECIFIED)
        av_log(ctx, AV_LOG_WARNING, "the matrix %s is not known to nets on RGB: taking BT.%s for it\n",
               av_color_space_name(space), format->height >= 720 ? "709" : "601");
}

int ff_clarivid_check_frame(AVFilterContext *ctx, const AVFilterLink *inlink, const AVFrame *frame)
{
    if (frame->width != inlink->w || frame->height != inlink->h || frame->format != inlink->format) {
        av_log(ctx, AV_LOG_ERROR, "a frame of %dx%d %s came over a link that was set up for %dx%d %s: "
               "put a scale filter before this one, or rebuild the graph\n",
               frame->width, frame->height, av_get_pix_fmt_name(frame->format),
               inlink->w, inlink->h, av_get_pix_fmt_name(inlink->format));
        return AVERROR(EINVAL);
    }

    return ff_clarivid_cuda_check_frame(ctx, inlink, frame);
}

void ff_clarivid_warn_interlaced(AVFilterContext *ctx, const AVFrame *frame)
{
    ClarividContext *s = ctx->priv;

    if (FRAME_IS_INTERLACED(frame) && !s->warned_interlaced) {
        s->warned_interlaced = 1;
        av_log(ctx, AV_LOG_WARNING, "the input is marked as interlaced, and nets see whole frames: deinterlace "
               "it first (bwdif), or clear a wrong mark with setfield=prog\n");
    }
}

clv_picture ff_clarivid_picture(const AVFrame *frame)
{
    clv_picture picture;

    for (int i = 0; i < FF_ARRAY_ELEMS(picture.data); i++) {
        picture.data[i]   = frame->data[i];
        picture.stride[i] = frame->linesize[i];
    }

    return picture;
}
