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
 * What the filters that run a net of libclarivid share: options, one session
 * for a link's pictures, the frames in flight, logging and errors.
 *
 * A filter embeds a ClarividContext as the first member of its private
 * context, lists CLARIVID_OPTIONS() among its options, and uses the functions
 * below as its callbacks or from them. A filter whose models have a strength
 * lists CLARIVID_OPTION_STRENGTH too.
 */

#ifndef AVFILTER_CLARIVID_COMMON_H
#define AVFILTER_CLARIVID_COMMON_H

#include <clarivid/clarivid.h>

#include "libavutil/frame.h"
#include "libavutil/opt.h"

#include "compat.h"

typedef struct ClarividContext {
    const AVClass *class;

    /* options */
    char *model_name;
    char *backend;
    char *device;
    int precision;              ///< enum clv_precision
    int threads;
    int async;
    int dither;                 ///< enum clv_dither
    double strength;            ///< how much of the net's change is applied; 0: frames are passed on as they are

    clv_context *clv;
    clv_model *model;
    clv_model_info model_info;
    clv_session *session;
    clv_session_info session_info;
    clv_format format;          ///< what the session was created for
    double session_strength;    ///< and with

    int hold_back;              ///< frames may stay in flight while the graph rests
    int eof;                    ///< the input has ended
    int eof_status;
    int64_t eof_pts;
    int warned_interlaced;
} ClarividContext;

#define CLARIVID_OFFSET(x) offsetof(ClarividContext, x)
#define CLARIVID_FLAGS (AV_OPT_FLAG_FILTERING_PARAM | AV_OPT_FLAG_VIDEO_PARAM)
#define CLARIVID_CONST(name, help, value, set) \
    { name, help, 0, AV_OPT_TYPE_CONST, { .i64 = value }, 0, 0, CLARIVID_FLAGS, .unit = set }

/** @param default_model NULL when the user has to name one */
#define CLARIVID_OPTIONS(default_model) \
    { "model", "name of a model bundle (see 'clarivid models list'), or path of a bundle or .onnx file", \
        CLARIVID_OFFSET(model_name), AV_OPT_TYPE_STRING, { .str = default_model }, 0, 0, CLARIVID_FLAGS }, \
    { "backend", "what runs the model: auto, openvino, cpu, dummy, or another that is installed", \
        CLARIVID_OFFSET(backend), AV_OPT_TYPE_STRING, { .str = "auto" }, 0, 0, CLARIVID_FLAGS }, \
    { "device", "the backend's name of a device; empty for its default", \
        CLARIVID_OFFSET(device), AV_OPT_TYPE_STRING, { .str = "" }, 0, 0, CLARIVID_FLAGS }, \
    { "precision", "arithmetic of the net", \
        CLARIVID_OFFSET(precision), AV_OPT_TYPE_INT, { .i64 = CLV_PRECISION_AUTO }, \
        CLV_PRECISION_AUTO, CLV_PRECISION_INT8, CLARIVID_FLAGS, .unit = "precision" }, \
        CLARIVID_CONST("auto", "the fastest here that passed the model's parity gate", CLV_PRECISION_AUTO, "precision"), \
        CLARIVID_CONST("fp32", "the reference's pixels", CLV_PRECISION_FP32, "precision"), \
        CLARIVID_CONST("fp16", "16 bit floating point", CLV_PRECISION_FP16, "precision"), \
        CLARIVID_CONST("bf16", "16 bit floating point with 8 bits of exponent, as some CPUs have it", CLV_PRECISION_BF16, "precision"), \
        CLARIVID_CONST("int8", "8 bit integers, for models that were quantised", CLV_PRECISION_INT8, "precision"), \
    { "threads", "CPU threads; 0 for all cores that the process may use", \
        CLARIVID_OFFSET(threads), AV_OPT_TYPE_INT, { .i64 = 0 }, 0, 1024, CLARIVID_FLAGS }, \
    { "async", "frames worked on at once; above 1, async-1 frames stay inside until the end or the command 'drain'", \
        CLARIVID_OFFSET(async), AV_OPT_TYPE_INT, { .i64 = 1 }, 1, 64, CLARIVID_FLAGS }, \
    { "dither", "how results are rounded to code values", \
        CLARIVID_OFFSET(dither), AV_OPT_TYPE_INT, { .i64 = CLV_DITHER_NONE }, \
        CLV_DITHER_NONE, CLV_DITHER_ORDERED, CLARIVID_FLAGS, .unit = "dither" }, \
        CLARIVID_CONST("none", "to the nearest", CLV_DITHER_NONE, "dither"), \
        CLARIVID_CONST("ordered", "with an 8x8 pattern", CLV_DITHER_ORDERED, "dither")

/** It can be changed by the command of its name while frames flow. */
#define CLARIVID_OPTION_STRENGTH \
    { "strength", "how much of the net's change is applied; 0 passes frames on untouched", \
        CLARIVID_OFFSET(strength), AV_OPT_TYPE_DOUBLE, { .dbl = 1 }, 0, 1, \
        CLARIVID_FLAGS | AV_OPT_FLAG_RUNTIME_PARAM }

/** The pixel formats that libclarivid takes, in the order of preference; ends with AV_PIX_FMT_NONE. */
extern const enum AVPixelFormat ff_clarivid_pix_fmts[];

/**
 * Open the model that the options name.
 *
 * @param task the task that the model's card must name, if it has one
 */
int ff_clarivid_init(AVFilterContext *ctx, const char *task);

/**
 * Create a session for the input's pictures and set the size of the output:
 * the config_props of the output pad.
 */
int ff_clarivid_config_output(AVFilterLink *outlink);

/** The activate callback. */
int ff_clarivid_activate(AVFilterContext *ctx);

/** The process_command callback: "drain", and options that may change. */
int ff_clarivid_process_command(AVFilterContext *ctx, const char *cmd, const char *arg,
                                char *res, int res_len, int flags);

/** The uninit callback. */
void ff_clarivid_uninit(AVFilterContext *ctx);

#endif /* AVFILTER_CLARIVID_COMMON_H */
