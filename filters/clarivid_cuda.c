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

#include "libavutil/hwcontext.h"
#include "libavutil/pixdesc.h"

#include "clarivid_cuda.h"

#if CONFIG_CUDA
#include "libavutil/hwcontext_cuda_internal.h"

/* All of ff_clarivid_pix_fmts that hwcontext_cuda.c of any release has. */
static const enum AVPixelFormat sw_formats[] = {
    AV_PIX_FMT_NV12,
    AV_PIX_FMT_P010,
    AV_PIX_FMT_YUV420P,
    AV_PIX_FMT_YUV420P10,
};

static int is_sw_format(enum AVPixelFormat format)
{
    for (int i = 0; i < FF_ARRAY_ELEMS(sw_formats); i++)
        if (sw_formats[i] == format)
            return 1;

    return 0;
}

static AVHWFramesContext *get_frames(const AVFilterLink *link)
{
    AVBufferRef *ref = LINK_HW_FRAMES(link);

    return ref ? (AVHWFramesContext *)ref->data : NULL;
}

int ff_clarivid_cuda_config_input(AVFilterContext *ctx, AVFilterLink *inlink)
{
    ClarividContext *s = ctx->priv;
    AVHWFramesContext *frames;
    AVCUDADeviceContext *device;

    if (inlink->format != AV_PIX_FMT_CUDA)
        return 0;

    frames = get_frames(inlink);
    if (!frames) {
        av_log(ctx, AV_LOG_ERROR, "the input is in CUDA memory, but the filter before this one does not say of "
               "which device: it gives no hw_frames_ctx\n");
        return AVERROR(EINVAL);
    }
    if (!is_sw_format(frames->sw_format)) {
        av_log(ctx, AV_LOG_ERROR, "the input is %s in CUDA memory, and this filter takes nv12, p010le and yuv420p "
               "there: put scale_cuda=format=nv12 before it, or format=nv12 before hwupload_cuda\n",
               av_get_pix_fmt_name(frames->sw_format));
        return AVERROR(ENOSYS);
    }

    /* hwcontext_cuda.c rounds the height of chroma down; a decoder's frames are of an even size. */
    if (frames->height & 1 && inlink->h == frames->height)
        av_log(ctx, AV_LOG_WARNING, "FFmpeg uploads no last row of chroma of an odd height (%d), so the lower border "
               "is undefined: pad before hwupload, pad=iw:ih+1, and crop after hwdownload\n", inlink->h);

    av_buffer_unref(&s->device_ref);
    s->device_ref = av_buffer_ref(frames->device_ref);
    if (!s->device_ref)
        return AVERROR(ENOMEM);
    device          = frames->device_ctx->hwctx;
    s->cuda.context = device->cuda_ctx;
    s->cuda.stream  = device->stream;

    return 0;
}

int ff_clarivid_cuda_config_output(AVFilterContext *ctx, AVFilterLink *outlink, int share)
{
    AVFilterLink *inlink = ctx->inputs[0];
    ClarividContext *s = ctx->priv;
    AVHWFramesContext *frames;
    AVBufferRef *ref;
    int ret;

    if (!s->device_ref)
        return 0;

    ref = share ? av_buffer_ref(LINK_HW_FRAMES(inlink)) : av_hwframe_ctx_alloc(s->device_ref);
    if (!ref)
        return AVERROR(ENOMEM);

    if (!share) {
        frames            = (AVHWFramesContext *)ref->data;
        frames->format    = AV_PIX_FMT_CUDA;
        frames->sw_format = get_frames(inlink)->sw_format;
        /* The planes of chroma end with a whole row. */
        frames->width     = FFALIGN(outlink->w, 2);
        frames->height    = FFALIGN(outlink->h, 2);
        /* The pool grows as it is used; what is asked for is there from the start. */
        if (ctx->extra_hw_frames >= 0)
            frames->initial_pool_size = 2 + ctx->extra_hw_frames;

        ret = av_hwframe_ctx_init(ref);
        if (ret < 0) {
            av_log(ctx, AV_LOG_ERROR, "the device cannot hold %d frames of %dx%d %s from the start: lower "
                   "extra_hw_frames, the size, or what else runs on it\n", frames->initial_pool_size,
                   outlink->w, outlink->h, av_get_pix_fmt_name(frames->sw_format));
            av_buffer_unref(&ref);
            return ret;
        }
    }

    av_buffer_unref(&LINK_HW_FRAMES(outlink));
    LINK_HW_FRAMES(outlink) = ref;

    return 0;
}

int ff_clarivid_cuda_check_frame(AVFilterContext *ctx, const AVFilterLink *inlink, const AVFrame *frame)
{
    const AVHWFramesContext *wanted = get_frames(inlink);
    const AVHWFramesContext *frames;
    const AVCUDADeviceContext *device;
    ClarividContext *s = ctx->priv;

    if (frame->format != AV_PIX_FMT_CUDA)
        return 0;

    frames = frame->hw_frames_ctx ? (const AVHWFramesContext *)frame->hw_frames_ctx->data : NULL;
    if (!frames) {
        av_log(ctx, AV_LOG_ERROR, "a frame in CUDA memory does not say of which device: it has no hw_frames_ctx\n");
        return AVERROR(EINVAL);
    }
    if (frames == wanted)
        return 0;

    /* Another pool of the same device is as good. */
    if (frames->sw_format != wanted->sw_format) {
        av_log(ctx, AV_LOG_ERROR, "a frame of %s in CUDA memory came over a link that was set up for %s: "
               "rebuild the graph\n", av_get_pix_fmt_name(frames->sw_format), av_get_pix_fmt_name(wanted->sw_format));
        return AVERROR(EINVAL);
    }
    device = frames->device_ctx->hwctx;
    if (device->cuda_ctx != s->cuda.context || device->stream != s->cuda.stream) {
        av_log(ctx, AV_LOG_ERROR, "a frame is of another CUDA context or stream than those before it: "
               "rebuild the graph\n");
        return AVERROR(EINVAL);
    }

    return 0;
}

int ff_clarivid_cuda_check_second(AVFilterContext *ctx, AVFilterLink *inlink, const char *name)
{
    const AVHWFramesContext *frames = get_frames(inlink);
    const AVCUDADeviceContext *device;
    ClarividContext *s = ctx->priv;

    if (inlink->format != AV_PIX_FMT_CUDA)
        return 0;

    if (!s->device_ref) {
        av_log(ctx, AV_LOG_ERROR, "the %s is in CUDA memory, and the pictures are not: "
               "put hwdownload,format=nv12 before the %s, or hwupload_cuda before the pictures\n", name, name);
        return AVERROR(EINVAL);
    }
    if (!frames || av_pix_fmt_desc_get(frames->sw_format)->comp[0].depth != 8 ||
        av_pix_fmt_desc_get(frames->sw_format)->comp[0].step  != 1) {
        av_log(ctx, AV_LOG_ERROR, "the %s is %s in CUDA memory: it has to be nv12 or yuv420p there\n",
               name, frames ? av_get_pix_fmt_name(frames->sw_format) : "of an unknown format");
        return AVERROR(ENOSYS);
    }
    device = frames->device_ctx->hwctx;
    if (device->cuda_ctx != s->cuda.context || device->stream != s->cuda.stream) {
        av_log(ctx, AV_LOG_ERROR, "the %s is of another CUDA context or stream than the pictures: "
               "upload both with hwupload and -filter_hw_device; each hwupload_cuda makes a context of its own\n",
               name);
        return AVERROR(EINVAL);
    }

    return 0;
}
#else
int ff_clarivid_cuda_config_input(AVFilterContext *ctx, AVFilterLink *inlink)
{
    return 0;
}

int ff_clarivid_cuda_config_output(AVFilterContext *ctx, AVFilterLink *outlink, int share)
{
    return 0;
}

int ff_clarivid_cuda_check_frame(AVFilterContext *ctx, const AVFilterLink *inlink, const AVFrame *frame)
{
    return 0;
}

int ff_clarivid_cuda_check_second(AVFilterContext *ctx, AVFilterLink *inlink, const char *name)
{
    return 0;
}
#endif

int ff_clarivid_cuda_get_frame(AVFilterLink *outlink, const AVFrame *in, AVFrame **out)
{
    AVFrame *frame;
    int ret;

    if (outlink->format == AV_PIX_FMT_CUDA) {
        /* Not through ff_get_video_buffer(), which may ask filters that come after. */
        frame = av_frame_alloc();
        if (!frame)
            return AVERROR(ENOMEM);
        ret = av_hwframe_get_buffer(LINK_HW_FRAMES(outlink), frame, 0);
        if (ret < 0) {
            av_log(outlink->src, AV_LOG_ERROR, "the device has no memory for another frame of %dx%d: lower the size, "
                   "or the frames that are held (lookahead, an encoder's), or what else runs on it\n",
                   outlink->w, outlink->h);
            av_frame_free(&frame);
            return ret;
        }
        frame->width  = outlink->w;
        frame->height = outlink->h;
    } else {
        frame = ff_get_video_buffer(outlink, outlink->w, outlink->h);
        if (!frame)
            return AVERROR(ENOMEM);
    }

    ret = av_frame_copy_props(frame, in);
    if (ret < 0) {
        av_frame_free(&frame);
        return ret;
    }

    *out = frame;
    return 0;
}

int ff_clarivid_cuda_pass_frame(AVFilterLink *outlink, AVFrame *frame)
{
    AVFrame *copy = NULL;
    int ret;

    /* A filter that comes after may take frames of the link's context only, as hwdownload does. */
    if (frame->format == AV_PIX_FMT_CUDA && frame->hw_frames_ctx->data != LINK_HW_FRAMES(outlink)->data) {
        ret = ff_clarivid_cuda_get_frame(outlink, frame, &copy);
        if (ret >= 0)
            ret = av_hwframe_transfer_data(copy, frame, 0); /* enqueued */
        av_frame_free(&frame);
        if (ret < 0) {
            av_frame_free(&copy);
            return ret;
        }
        frame = copy;
    }

    return ff_filter_frame(outlink, frame);
}

void ff_clarivid_cuda_log_stats(AVFilterContext *ctx, const clv_device_stats *stats)
{
    const ClarividContext *s = ctx->priv;

    if (!s->device_ref)
        return;

    av_log(ctx, AV_LOG_VERBOSE, "device: %"PRIu64" copies to the host (%"PRIu64" bytes), %"PRIu64" synchronisations "
           "with it; %"PRIu64" copies to the device (%.1f MiB); %.1f MiB of its memory held\n",
           stats->copies_to_host, stats->bytes_to_host, stats->synchronisations, stats->copies_to_device,
           stats->bytes_to_device / 1048576.0, stats->device_bytes / 1048576.0);
}
