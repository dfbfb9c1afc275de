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
 * What the filters share that run a net on each frame by itself: one session
 * for a link's pictures, and the frames in flight.
 *
 * A filter embeds a ClarividSessionContext as the first member of its private
 * context, lists CLARIVID_SESSION_OPTIONS() among its options, and uses the
 * functions below as its callbacks or from them. A filter whose models have a
 * strength lists CLARIVID_OPTION_STRENGTH too.
 */

#ifndef AVFILTER_CLARIVID_SESSION_H
#define AVFILTER_CLARIVID_SESSION_H

#include "clarivid_common.h"

typedef struct ClarividSessionContext {
    ClarividContext common;

    /* options */
    int async;
    int dither;                 ///< enum clv_dither
    char *tile;
    int overlap;
    double strength;            ///< how much of the net's change is applied; 0: frames are passed on as they are

    clv_session *session;
    clv_session_info session_info;
    clv_format format;          ///< what the session was created for
    double session_strength;    ///< and with

    int eof;                    ///< the input has ended
    int eof_status;
    int64_t eof_pts;
} ClarividSessionContext;

#define CLARIVID_SESSION_OFFSET(x) offsetof(ClarividSessionContext, x)

/** @param default_model NULL when the user has to name one */
#define CLARIVID_SESSION_OPTIONS(default_model) \
    CLARIVID_OPTIONS(default_model, ""), \
    { "async", "frames worked on at once; above 1, async-1 frames stay inside until the end or the command 'drain'", \
        CLARIVID_SESSION_OFFSET(async), AV_OPT_TYPE_INT, { .i64 = 1 }, 1, 64, CLARIVID_FLAGS }, \
    { "dither", "how results are rounded to code values", \
        CLARIVID_SESSION_OFFSET(dither), AV_OPT_TYPE_INT, { .i64 = CLV_DITHER_NONE }, \
        CLV_DITHER_NONE, CLV_DITHER_ORDERED, CLARIVID_FLAGS, .unit = "dither" }, \
        CLARIVID_CONST("none", "to the nearest", CLV_DITHER_NONE, "dither"), \
        CLARIVID_CONST("ordered", "with an 8x8 pattern", CLV_DITHER_ORDERED, "dither"), \
    { "tile", "cut pictures into tiles: auto (when they are too large for an engine or for memory), none, or WxH", \
        CLARIVID_SESSION_OFFSET(tile), AV_OPT_TYPE_STRING, { .str = "auto" }, 0, 0, CLARIVID_FLAGS }, \
    { "overlap", "samples of the input that tiles have to spare at inner edges; -1 for what the net needs", \
        CLARIVID_SESSION_OFFSET(overlap), AV_OPT_TYPE_INT, { .i64 = -1 }, -1, 32768, CLARIVID_FLAGS }

/** It can be changed by the command of its name while frames flow. */
#define CLARIVID_OPTION_STRENGTH \
    { "strength", "how much of the net's change is applied; 0 passes frames on untouched", \
        CLARIVID_SESSION_OFFSET(strength), AV_OPT_TYPE_DOUBLE, { .dbl = 1 }, 0, 1, \
        CLARIVID_FLAGS | AV_OPT_FLAG_RUNTIME_PARAM }

/**
 * Open the model that the options name.
 *
 * @param task the task that the model's card must name, if it has one
 */
int ff_clarivid_session_init(AVFilterContext *ctx, const char *task);

/**
 * Create a session for the input's pictures and set the size of the output:
 * the config_props of the output pad.
 */
int ff_clarivid_session_config_output(AVFilterLink *outlink);

/** The activate callback. */
int ff_clarivid_session_activate(AVFilterContext *ctx);

/** The process_command callback: "drain", and options that may change. */
int ff_clarivid_session_process_command(AVFilterContext *ctx, const char *cmd, const char *arg,
                                        char *res, int res_len, int flags);

/** The uninit callback. */
void ff_clarivid_session_uninit(AVFilterContext *ctx);

#endif /* AVFILTER_CLARIVID_SESSION_H */
