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
 * Where the masks of mesh_inpaint come from: frames of its second input, boxes
 * that hold for all frames, and boxes of each frame.
 */

#ifndef AVFILTER_CLARIVID_MASKS_H
#define AVFILTER_CLARIVID_MASKS_H

#include "clarivid_common.h"
#include "framesync.h"

typedef struct ClarividMasks {
    clv_boxes *boxes[2];        ///< of an option and of a file; NULL: none
    uint8_t *drawn;             ///< of the size of the pictures, tightly packed; NULL: no boxes
    int width, height;
    int64_t seen;               ///< boxes that lay in a picture so far
} ClarividMasks;

/**
 * Read the boxes.
 *
 * @param rect x|y|w|h, several with ',' between them; NULL: none
 * @param path a file of the boxes of each frame; NULL: none
 */
int ff_clarivid_masks_init(AVFilterContext *ctx, ClarividMasks *masks, const char *rect, const char *path);

/** Make room for pictures of this size, and say when no box of rect lies in them. */
int ff_clarivid_masks_config(AVFilterContext *ctx, ClarividMasks *masks, const char *rect, int width, int height);

/**
 * The mask of a frame.
 *
 * @param inlink, frame the second input and what it shows, grey or in CUDA memory; NULL: boxes make the mask
 * @param number        of the frame, from 0
 * @param view          where the mask is described
 * @param mask          set to view, or to NULL when nothing is to vanish
 */
int ff_clarivid_masks_get(AVFilterContext *ctx, ClarividMasks *masks, const AVFilterLink *inlink,
                          const AVFrame *frame, int64_t number, clv_mask *view, const clv_mask **mask);

/**
 * A frame of the first input waits for the next mask, whose time says which one
 * is valid: go on with the one that holds now.
 */
int ff_clarivid_masks_go_on(FFFrameSync *fs);

/** Say when no box of the file has lain in a frame. */
void ff_clarivid_masks_finish(AVFilterContext *ctx, const ClarividMasks *masks, const char *path, int64_t frames);

void ff_clarivid_masks_uninit(ClarividMasks *masks);

#endif /* AVFILTER_CLARIVID_MASKS_H */
