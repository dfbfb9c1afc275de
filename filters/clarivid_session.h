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
 * context, and uses the functions below as its callbacks or from them.
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
    double sharpness;           ///< between the model's two sets of weights
    double strength;            ///< how much of the net's change is applied; 0: frames are passed on as they are

    clv_session *session;
    clv_session_info session_info;
    clv_format format;          ///< what the session was created for
    double session_strength;    ///< and with

    int eof;                    ///< the input has ended
    int eof_status;
    int64_t eof_pts;
} ClarividSessionContext;

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
