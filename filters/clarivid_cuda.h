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
 * Frames in CUDA memory: the device of an input, a frames context for the
 * output, and frames out of it. For frames in host memory the functions do what
 * a filter does without them, so that filters need not ask where frames lie.
 *
 * Everything is enqueued on the stream of the frames' device and nobody waits
 * for it. So an input frame may be freed as soon as the library has enqueued
 * what reads it, and an output frame may go on before it is written:
 *
 *  - A buffer of a frames context goes back into its pool. Whoever takes it out
 *    next writes it by work on the same stream, which runs after ours: uploads
 *    (hwcontext_cuda.c), other filters, and decoders too. NVDEC's own surfaces
 *    are no exception: nvdec.c and cuviddec.c copy each picture on that stream
 *    into a buffer of a frames context and unmap the surface at once; with
 *    -hwaccel_flags unsafe_output nvdec.c hands out the mapped surface itself,
 *    but what is mapped is an output of the post-processor, whose next use of it
 *    is in the order of the same stream (CUVIDPROCPARAMS.output_stream). The
 *    decoder's reference pictures are not what is mapped.
 *  - A reader of our output waits for nothing either when it works on the stream;
 *    nvenc.c has NVENC wait for it (nvEncSetIOCudaStreams) and keeps the frame
 *    until the bitstream is there; a download synchronises with it.
 */

#ifndef AVFILTER_CLARIVID_CUDA_H
#define AVFILTER_CLARIVID_CUDA_H

#include "clarivid_common.h"

/**
 * Take up the device of an input's frames. The first call of a config_props.
 * Keeps a reference to it until ff_clarivid_uninit().
 */
int ff_clarivid_cuda_config_input(AVFilterContext *ctx, AVFilterLink *inlink);

/**
 * Give the output a frames context of its own, of the size that is set, and of
 * the input's sw_format. The last call of a config_props.
 *
 * @param share the output's frames are those of the input: it has their context
 */
int ff_clarivid_cuda_config_output(AVFilterContext *ctx, AVFilterLink *outlink, int share);

/** Refuse a frame of another device or sw_format than the link was set up for. */
int ff_clarivid_cuda_check_frame(AVFilterContext *ctx, const AVFilterLink *inlink, const AVFrame *frame);

/** Refuse an input that lies on another device than the first one, or in CUDA memory when that does not. */
int ff_clarivid_cuda_check_second(AVFilterContext *ctx, AVFilterLink *inlink, const char *name);

/** A frame for the output, with the properties of `in`. */
int ff_clarivid_cuda_get_frame(AVFilterLink *outlink, const AVFrame *in, AVFrame **out);

/** Let a frame through that is not worked on; takes ownership of it. */
int ff_clarivid_cuda_pass_frame(AVFilterLink *outlink, AVFrame *frame);

/** Say what was done with the device. */
void ff_clarivid_cuda_log_stats(AVFilterContext *ctx, const clv_device_stats *stats);

#endif /* AVFILTER_CLARIVID_CUDA_H */
