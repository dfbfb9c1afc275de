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
 * What all filters of libclarivid share: the options that say what runs the
 * net, opening models, describing frames to the library, logging and errors.
 *
 * A filter embeds a ClarividContext as the first member of its private
 * context. Its options are those of its name in clarivid_options.h.
 */

#ifndef AVFILTER_CLARIVID_COMMON_H
#define AVFILTER_CLARIVID_COMMON_H

#include <clarivid/clarivid.h>

#include "libavutil/buffer.h"
#include "libavutil/frame.h"
#include "libavutil/opt.h"

#include "clarivid_options.h"
#include "compat.h"

typedef struct ClarividContext {
    const AVClass *class;

    /* options */
    char *model_name;
    char *backend;
    char *device;
    int precision;              ///< enum clv_precision
    int threads;

    clv_context *clv;
    clv_model *model;           ///< NULL when the filter runs none
    clv_model_info model_info;

    AVBufferRef *device_ref;    ///< of the input's frames; NULL: they are in host memory
    clv_cuda_device cuda;       ///< its context and stream

    int hold_back;              ///< frames may stay inside while the graph rests
    int warned_interlaced;
} ClarividContext;

/**
 * The pixel formats that libclarivid takes, in the order of preference; ends with AV_PIX_FMT_NONE.
 * What lies in CUDA memory has one of the others for its sw_format (clarivid_cuda.h).
 */
extern const enum AVPixelFormat ff_clarivid_pix_fmts[];

/** Create the library's context; it logs in the filter's name. */
int ff_clarivid_init(AVFilterContext *ctx);

/** Close the model and the library's context: what was made of them must be gone. */
void ff_clarivid_uninit(AVFilterContext *ctx);

/** Log the sentence of the library's last failure and return it as an AVERROR. */
int ff_clarivid_failure(AVFilterContext *ctx, int status);

/**
 * Open a model.
 *
 * @param option the option that names it, for the error
 * @param task   the task that the model's card must name, if it has one
 */
int ff_clarivid_open_model(AVFilterContext *ctx, const char *option, const char *name, const char *task,
                           clv_model **model, clv_model_info *info);

/** Look for the first of several models that is there. @param found set to its name; NULL: none is */
int ff_clarivid_find_model(AVFilterContext *ctx, const char *const *names, int nb_names, const char **found);

/**
 * Describe an input's pictures to the library.
 *
 * @param frame  NULL when the link is being configured
 * @param colour whether a net knows the matrix and the siting of chroma; those
 *               on YUV 4:2:0 itself do not, and a change of it is none to them
 */
clv_format ff_clarivid_format(const AVFilterLink *inlink, const AVFrame *frame, int colour);

int ff_clarivid_is_same_format(const clv_format *a, const clv_format *b);

/** Say once when a net does not know the matrix of the pictures and what it takes for it. */
void ff_clarivid_warn_matrix(AVFilterContext *ctx, const clv_format *format, enum AVColorSpace space);

/** Say once that a frame is marked as interlaced. */
void ff_clarivid_warn_interlaced(AVFilterContext *ctx, const AVFrame *frame);

/** Refuse a frame that is not what the link was set up for. */
int ff_clarivid_check_frame(AVFilterContext *ctx, const AVFilterLink *inlink, const AVFrame *frame);

/** The planes of a frame. */
clv_picture ff_clarivid_picture(const AVFrame *frame);

#endif /* AVFILTER_CLARIVID_COMMON_H */
