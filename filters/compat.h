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
 * What differs between the releases of FFmpeg that the filters compile with.
 * The filters themselves hold no version checks: each difference has one name
 * here, spelled as in the newest release.
 */

#ifndef AVFILTER_COMPAT_H
#define AVFILTER_COMPAT_H

#include "config.h"

#include "libavutil/frame.h"
#include "libavutil/version.h"
#include "libavfilter/version.h"

#include "avfilter.h"
#include "filters.h"
#if LIBAVFILTER_VERSION_MAJOR < 10
#include "internal.h"
#endif
#include "video.h"

/* FFmpeg 8.0: what AVFilter shows to applications is a member p of FFFilter. */
#if LIBAVFILTER_VERSION_MAJOR >= 11
#define FILTER_PUBLIC(field) .p.field
#else
#define FFFilter AVFilter
#define FILTER_PUBLIC(field) .field
#endif

/* FFmpeg 7.0: colour space and range are negotiated on links. */
#if LIBAVFILTER_VERSION_MAJOR >= 10
#define LINK_COLORSPACE(link)  ((link)->colorspace)
#define LINK_COLOR_RANGE(link) ((link)->color_range)
#else
#define LINK_COLORSPACE(link)  AVCOL_SPC_UNSPECIFIED
#define LINK_COLOR_RANGE(link) AVCOL_RANGE_UNSPECIFIED
#endif

/* FFmpeg 6.1: what a frame is lies in its flags. */
#ifdef AV_FRAME_FLAG_INTERLACED
#define FRAME_IS_INTERLACED(frame) (!!((frame)->flags & AV_FRAME_FLAG_INTERLACED))
#else
#define FRAME_IS_INTERLACED(frame) ((frame)->interlaced_frame)
#endif

/* FFmpeg 6.1: rectangles that an encoder should look at first. 7.1: an
 * enhancement layer that belongs to the decoded picture. */
#define HAVE_SIDE_DATA_VIDEO_HINT (LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 15, 100))
#define HAVE_SIDE_DATA_LCEVC      (LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(59, 37, 100))

/* FFmpeg 7.1: formats are negotiated in arrays beside the links, and what only
 * filters may see of a link is a struct of its own. */
#ifdef FILTER_QUERY_FUNC2
#define QUERY_FORMATS_PARAMS \
    const AVFilterContext *ctx, AVFilterFormatsConfig **cfg_in, AVFilterFormatsConfig **cfg_out
#define QUERY_IN_FORMATS(n)  (&cfg_in[n]->formats)
#define QUERY_OUT_FORMATS(n) (&cfg_out[n]->formats)
#define LINK_HW_FRAMES(link) (ff_filter_link((AVFilterLink *)(link))->hw_frames_ctx)
#else
#define FILTER_QUERY_FUNC2(func) FILTER_QUERY_FUNC(func)
#define QUERY_FORMATS_PARAMS AVFilterContext *ctx
#define QUERY_IN_FORMATS(n)  (&ctx->inputs[n]->outcfg.formats)
#define QUERY_OUT_FORMATS(n) (&ctx->outputs[n]->incfg.formats)
#define LINK_HW_FRAMES(link) (((AVFilterLink *)(link))->hw_frames_ctx)
#endif

#endif /* AVFILTER_COMPAT_H */
