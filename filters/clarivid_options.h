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
 * The filters' options. This file is made by 'python -m clarivid.options_files --write'
 * from python/clarivid/options.py: change them there.
 */

#ifndef AVFILTER_CLARIVID_OPTIONS_H
#define AVFILTER_CLARIVID_OPTIONS_H

#include <stddef.h>

#include "libavutil/opt.h"

#define CLARIVID_FLAGS (AV_OPT_FLAG_FILTERING_PARAM | AV_OPT_FLAG_VIDEO_PARAM)
#define CLARIVID_CONST(name, help, value, set) \
    { name, help, 0, AV_OPT_TYPE_CONST, { .i64 = value }, 0, 0, CLARIVID_FLAGS, .unit = set }

#define CLARIVID_MAX_LOOKAHEAD 64

#define CLARIVID_DNN_SR_OPTIONS \
    { "model", "name of a model bundle (see 'clarivid models list'), or path of a bundle or .onnx file", \
        offsetof(ClarividSessionContext, common.model_name), AV_OPT_TYPE_STRING, { .str = NULL }, \
        0, 0, CLARIVID_FLAGS }, \
    { "backend", "what runs the model: auto, openvino, cpu, cuda, dummy, or another that is installed", \
        offsetof(ClarividSessionContext, common.backend), AV_OPT_TYPE_STRING, { .str = "auto" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "device", "the backend's name of a device; empty for its default", \
        offsetof(ClarividSessionContext, common.device), AV_OPT_TYPE_STRING, { .str = "" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "precision", "arithmetic of the net", \
        offsetof(ClarividSessionContext, common.precision), AV_OPT_TYPE_INT, { .i64 = CLV_PRECISION_AUTO }, \
        CLV_PRECISION_AUTO, CLV_PRECISION_INT8, CLARIVID_FLAGS, .unit = "precision" }, \
        CLARIVID_CONST("auto", "the fastest here that passed the model's parity gate", CLV_PRECISION_AUTO, "precision"), \
        CLARIVID_CONST("fp32", "the reference's pixels", CLV_PRECISION_FP32, "precision"), \
        CLARIVID_CONST("fp16", "16 bit floating point", CLV_PRECISION_FP16, "precision"), \
        CLARIVID_CONST("bf16", "16 bit floating point with 8 bits of exponent, as some CPUs have it", CLV_PRECISION_BF16, "precision"), \
        CLARIVID_CONST("int8", "8 bit integers, for models that were quantised", CLV_PRECISION_INT8, "precision"), \
    { "threads", "CPU threads; 0 for all cores that the process may use", \
        offsetof(ClarividSessionContext, common.threads), AV_OPT_TYPE_INT, { .i64 = 0 }, \
        0, 1024, CLARIVID_FLAGS }, \
    { "async", "frames worked on at once; above 1, async-1 frames stay inside until the end or the command 'drain'", \
        offsetof(ClarividSessionContext, async), AV_OPT_TYPE_INT, { .i64 = 1 }, \
        1, 64, CLARIVID_FLAGS }, \
    { "dither", "how results are rounded to code values", \
        offsetof(ClarividSessionContext, dither), AV_OPT_TYPE_INT, { .i64 = CLV_DITHER_NONE }, \
        CLV_DITHER_NONE, CLV_DITHER_ORDERED, CLARIVID_FLAGS, .unit = "dither" }, \
        CLARIVID_CONST("none", "to the nearest", CLV_DITHER_NONE, "dither"), \
        CLARIVID_CONST("ordered", "with an 8x8 pattern", CLV_DITHER_ORDERED, "dither"), \
    { "tile", "cut pictures into tiles: auto (when they are too large for an engine or for memory), none, or WxH", \
        offsetof(ClarividSessionContext, tile), AV_OPT_TYPE_STRING, { .str = "auto" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "overlap", "samples of the input that tiles have to spare at inner edges; -1 for what the net needs", \
        offsetof(ClarividSessionContext, overlap), AV_OPT_TYPE_INT, { .i64 = -1 }, \
        -1, 32768, CLARIVID_FLAGS }, \
    { "sharpness", "between a model's two sets of weights: 0 is closest to the original, 1 looks sharpest", \
        offsetof(ClarividSessionContext, sharpness), AV_OPT_TYPE_DOUBLE, { .dbl = 0.0 }, \
        0, 1, CLARIVID_FLAGS }, \
    { NULL }

#define CLARIVID_LOWRANK_PRE_OPTIONS \
    { "model", "name of a model bundle (see 'clarivid models list'), or path of a bundle or .onnx file", \
        offsetof(ClarividSessionContext, common.model_name), AV_OPT_TYPE_STRING, { .str = "lowrank_v1" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "backend", "what runs the model: auto, openvino, cpu, cuda, dummy, or another that is installed", \
        offsetof(ClarividSessionContext, common.backend), AV_OPT_TYPE_STRING, { .str = "auto" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "device", "the backend's name of a device; empty for its default", \
        offsetof(ClarividSessionContext, common.device), AV_OPT_TYPE_STRING, { .str = "" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "precision", "arithmetic of the net", \
        offsetof(ClarividSessionContext, common.precision), AV_OPT_TYPE_INT, { .i64 = CLV_PRECISION_AUTO }, \
        CLV_PRECISION_AUTO, CLV_PRECISION_INT8, CLARIVID_FLAGS, .unit = "precision" }, \
        CLARIVID_CONST("auto", "the fastest here that passed the model's parity gate", CLV_PRECISION_AUTO, "precision"), \
        CLARIVID_CONST("fp32", "the reference's pixels", CLV_PRECISION_FP32, "precision"), \
        CLARIVID_CONST("fp16", "16 bit floating point", CLV_PRECISION_FP16, "precision"), \
        CLARIVID_CONST("bf16", "16 bit floating point with 8 bits of exponent, as some CPUs have it", CLV_PRECISION_BF16, "precision"), \
        CLARIVID_CONST("int8", "8 bit integers, for models that were quantised", CLV_PRECISION_INT8, "precision"), \
    { "threads", "CPU threads; 0 for all cores that the process may use", \
        offsetof(ClarividSessionContext, common.threads), AV_OPT_TYPE_INT, { .i64 = 0 }, \
        0, 1024, CLARIVID_FLAGS }, \
    { "async", "frames worked on at once; above 1, async-1 frames stay inside until the end or the command 'drain'", \
        offsetof(ClarividSessionContext, async), AV_OPT_TYPE_INT, { .i64 = 1 }, \
        1, 64, CLARIVID_FLAGS }, \
    { "dither", "how results are rounded to code values", \
        offsetof(ClarividSessionContext, dither), AV_OPT_TYPE_INT, { .i64 = CLV_DITHER_NONE }, \
        CLV_DITHER_NONE, CLV_DITHER_ORDERED, CLARIVID_FLAGS, .unit = "dither" }, \
        CLARIVID_CONST("none", "to the nearest", CLV_DITHER_NONE, "dither"), \
        CLARIVID_CONST("ordered", "with an 8x8 pattern", CLV_DITHER_ORDERED, "dither"), \
    { "tile", "cut pictures into tiles: auto (when they are too large for an engine or for memory), none, or WxH", \
        offsetof(ClarividSessionContext, tile), AV_OPT_TYPE_STRING, { .str = "auto" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "overlap", "samples of the input that tiles have to spare at inner edges; -1 for what the net needs", \
        offsetof(ClarividSessionContext, overlap), AV_OPT_TYPE_INT, { .i64 = -1 }, \
        -1, 32768, CLARIVID_FLAGS }, \
    { "strength", "how much of the net's change is applied; 0 passes frames on untouched", \
        offsetof(ClarividSessionContext, strength), AV_OPT_TYPE_DOUBLE, { .dbl = 1.0 }, \
        0, 1, CLARIVID_FLAGS | AV_OPT_FLAG_RUNTIME_PARAM }, \
    { NULL }

#define CLARIVID_MESH_INPAINT_OPTIONS \
    { "model", "name of a model bundle (see 'clarivid models list'), or path of a bundle or .onnx file; auto: the shipped one; none: diffuse from around", \
        offsetof(MeshInpaintContext, common.model_name), AV_OPT_TYPE_STRING, { .str = "auto" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "backend", "what runs the model: auto, openvino, cpu, cuda, dummy, or another that is installed", \
        offsetof(MeshInpaintContext, common.backend), AV_OPT_TYPE_STRING, { .str = "auto" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "device", "the backend's name of a device; empty for its default", \
        offsetof(MeshInpaintContext, common.device), AV_OPT_TYPE_STRING, { .str = "" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "precision", "arithmetic of the net", \
        offsetof(MeshInpaintContext, common.precision), AV_OPT_TYPE_INT, { .i64 = CLV_PRECISION_AUTO }, \
        CLV_PRECISION_AUTO, CLV_PRECISION_INT8, CLARIVID_FLAGS, .unit = "precision" }, \
        CLARIVID_CONST("auto", "the fastest here that passed the model's parity gate", CLV_PRECISION_AUTO, "precision"), \
        CLARIVID_CONST("fp32", "the reference's pixels", CLV_PRECISION_FP32, "precision"), \
        CLARIVID_CONST("fp16", "16 bit floating point", CLV_PRECISION_FP16, "precision"), \
        CLARIVID_CONST("bf16", "16 bit floating point with 8 bits of exponent, as some CPUs have it", CLV_PRECISION_BF16, "precision"), \
        CLARIVID_CONST("int8", "8 bit integers, for models that were quantised", CLV_PRECISION_INT8, "precision"), \
    { "threads", "CPU threads; 0 for all cores that the process may use", \
        offsetof(MeshInpaintContext, common.threads), AV_OPT_TYPE_INT, { .i64 = 0 }, \
        0, 1024, CLARIVID_FLAGS }, \
    { "rect", "boxes that vanish from every frame: x|y|w|h, several with ',' between them; no second input then", \
        offsetof(MeshInpaintContext, rect), AV_OPT_TYPE_STRING, { .str = NULL }, \
        0, 0, CLARIVID_FLAGS }, \
    { "boxes", "file of the boxes of each frame, in lines 'frame x y w h'; no second input then", \
        offsetof(MeshInpaintContext, boxes_path), AV_OPT_TYPE_STRING, { .str = NULL }, \
        0, 0, CLARIVID_FLAGS }, \
    { "segment", "model bundle that finds what is to vanish in each frame; no second input then", \
        offsetof(MeshInpaintContext, segment), AV_OPT_TYPE_STRING, { .str = NULL }, \
        0, 0, CLARIVID_FLAGS }, \
    { "mesh", "cells of the grid that carries the background along, 1x1 to 32x18; 1x1 is one homography", \
        offsetof(MeshInpaintContext, mesh_w), AV_OPT_TYPE_IMAGE_SIZE, { .str = "16x9" }, \
        0, 0, CLARIVID_FLAGS }, \
    { "lookahead", "frames that are waited for because they may show what is hidden now; they stay inside until the end or the command 'drain'", \
        offsetof(MeshInpaintContext, lookahead), AV_OPT_TYPE_INT, { .i64 = 0 }, \
        0, 64, CLARIVID_FLAGS }, \
    { "dilate", "luma samples that a mask grows by on every side", \
        offsetof(MeshInpaintContext, dilate), AV_OPT_TYPE_INT, { .i64 = 4 }, \
        0, 64, CLARIVID_FLAGS }, \
    { "feather", "luma samples over which the border inside the hole is blended", \
        offsetof(MeshInpaintContext, feather), AV_OPT_TYPE_INT, { .i64 = 4 }, \
        0, 64, CLARIVID_FLAGS }, \
    { "show", "what is drawn: the result, or how it comes about", \
        offsetof(MeshInpaintContext, show), AV_OPT_TYPE_INT, { .i64 = CLV_SHOW_RESULT }, \
        CLV_SHOW_RESULT, CLV_SHOW_AGE, CLARIVID_FLAGS, .unit = "show" }, \
        CLARIVID_CONST("result", "the picture without what is masked", CLV_SHOW_RESULT, "show"), \
        CLARIVID_CONST("mask", "the input, with the grown mask tinted", CLV_SHOW_MASK, "show"), \
        CLARIVID_CONST("mesh", "the result under the solved grid", CLV_SHOW_MESH, "show"), \
        CLARIVID_CONST("tracks", "the result with the features and where they moved", CLV_SHOW_TRACKS, "show"), \
        CLARIVID_CONST("age", "the result, coloured by how old each sample is, or whether it was painted", CLV_SHOW_AGE, "show"), \
    { NULL }

#endif /* AVFILTER_CLARIVID_OPTIONS_H */
