/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file
 * clarivid: neural video filters for hosts that own frames (FFmpeg filters, the Python module, other
 * programs).
 *
 * The library takes planes, strides, a pixel format and a colour description; it knows no AVFrame, no
 * container and no codec. One call sequence serves every host:
 *
 *     clv_context_create -> clv_model_open -> clv_session_create -> { clv_session_submit, clv_session_receive
 * }*
 *     -> clv_session_destroy -> clv_model_close -> clv_context_destroy
 *
 * Conventions that hold for every function:
 *  - Functions that can fail return 0 (CLV_OK) or a negative clv_status; the sentence that says what failed,
 * with which value, and what to do about it is kept in the context: clv_last_error().
 *  - After a failure every output argument is untouched, unless the function says otherwise.
 *  - No global state: any number of contexts, models and sessions live side by side in one process.
 *  - Threads: a clv_context and a clv_model may be used from several threads at once. A clv_session belongs
 * to one thread at a time; different sessions run in parallel.
 *  - Nothing is ever printed. Messages go to the context's log callback, which may be called from any thread.
 *  - Strings are UTF-8. No C++ exception crosses this interface.
 */
#ifndef CLARIVID_CLARIVID_H
#define CLARIVID_CLARIVID_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && defined(CLV_BUILDING_LIBRARY)
#define CLV_API __attribute__((visibility("default")))
#else
#define CLV_API
#endif

/** Version of this header. The ABI is compatible within one MAJOR (while MAJOR is 0: within one MINOR). */
#define CLV_VERSION_MAJOR 0
#define CLV_VERSION_MINOR 1
#define CLV_VERSION_PATCH 0
#define CLV_VERSION_INT ((CLV_VERSION_MAJOR << 16) | (CLV_VERSION_MINOR << 8) | CLV_VERSION_PATCH)

/** Version of the library that was loaded, as CLV_VERSION_INT. Never fails; safe from any thread. */
CLV_API uint32_t clv_version(void);

/** Version of the library as text, "0.1.0". Static storage. */
CLV_API const char *clv_version_string(void);

/** Results. 0 is success; everything below is negative. */
typedef enum clv_status {
    CLV_OK = 0,
    CLV_ERR_INVALID_ARGUMENT = -1, /**< an argument or an option has a value that makes no sense */
    CLV_ERR_NOT_FOUND = -2,        /**< no such model, file or backend */
    CLV_ERR_INVALID_MODEL = -3,    /**< truncated, not ONNX, digest differs, card is wrong */
    CLV_ERR_UNSUPPORTED = -4,      /**< sane, but this model, backend or device cannot do it */
    CLV_ERR_BACKEND = -5,          /**< a backend or its runtime could not be loaded or started */
    CLV_ERR_INFERENCE = -6,        /**< the runtime failed on one picture; the session stays usable */
    CLV_ERR_IO = -7,               /**< the operating system failed to read a file */
    CLV_ERR_NO_MEMORY = -8,        /**< memory ran out */
    CLV_ERR_INTERNAL = -9,         /**< a bug of clarivid; please report the sentence */
    CLV_AGAIN = -100,              /**< not an error: nothing is ready yet, or every slot is taken */
    CLV_EMPTY = -101               /**< not an error: nothing is in flight */
} clv_status;

/** Name of a status, such as "CLV_ERR_NOT_FOUND"; "unknown" for other numbers. Static storage. */
CLV_API const char *clv_status_name(int status);

/* ------------------------------------------------------------------------------------------------ context
 * ---- */

typedef enum clv_log_level {
    CLV_LOG_ERROR = 0,
    CLV_LOG_WARNING = 1,
    CLV_LOG_INFO = 2, /**< what was chosen and why: once per session */
    CLV_LOG_VERBOSE = 3,
    CLV_LOG_DEBUG = 4
} clv_log_level;

/**
 * Takes one message, without a line feed at its end. `message` is valid during the call only. Called from any
 * thread, one call at a time for each context; must not call back into the context.
 */
typedef void (*clv_log_callback)(void *opaque, clv_log_level level, const char *message);

/** Holds the log callback and the last error. */
typedef struct clv_context clv_context;

/**
 * @param callback gets the messages; NULL for silence
 * @param opaque   handed to the callback
 * @return a context that the caller owns, or NULL when memory ran out
 */
CLV_API clv_context *clv_context_create(clv_log_callback callback, void *opaque);

/** Destroys *context and sets it to NULL. Models and sessions made from it must be gone. NULL is allowed. */
CLV_API void clv_context_destroy(clv_context **context);

/**
 * Copies the sentence of the last failure in this context, always NUL-terminated, cut to `size`; "" when
 * nothing failed. With several threads on one context, the last failure of any of them.
 * @return the length of the whole sentence in bytes, without NUL (as snprintf)
 */
CLV_API size_t clv_last_error(const clv_context *context, char *buffer, size_t size);

/* ------------------------------------------------------------------------------------------------- models
 * ---- */

/** What a net takes and gives. Values are samples normalised as the layout says; tensors are NCHW. */
typedef enum clv_layout {
    CLV_LAYOUT_YUV420_S2D = 1,     /**< [1,6,H/2,W/2]: 2x2 luma, U, V; out 6*s*s channels (docs/models.md) */
    CLV_LAYOUT_Y = 2,              /**< [1,1,H,W]: luma in 0..1; chroma is scaled by a resampler */
    CLV_LAYOUT_RGB = 3,            /**< [1,3,H,W]: R'G'B' in 0..1 */
    CLV_LAYOUT_YUV420_S2D_MASK = 4 /**< [1,7,H/2,W/2]: YUV420_S2D with the hole zeroed, and the hole (0 or 1)
                                        of each 2x2 block; out 6 channels; for inpainting only */
} clv_layout;

/** A model bundle (model.onnx, card.json, ...): immutable, reference-counted by the sessions that use it. */
typedef struct clv_model clv_model;

typedef struct clv_model_info {
    const char *name; /**< owned by the model */
    const char *path; /**< the folder or the .onnx file; owned by the model */
    const char *task; /**< "sr", "lowrank", "inpaint", "segment"; "" when the file does not say */
    clv_layout layout;
    int scale;       /**< output size / input size: 1..4; 0 when only the runtime can tell */
    int multiple_of; /**< width and height are padded to a multiple of this, in luma samples */
    int min_width;   /**< smallest picture, in luma samples */
    int min_height;
    int has_card; /**< 1 when card.json was found and every digest in it was checked */
} clv_model_info;

/**
 * Opens a bundle and checks the SHA-256 digests in its card.
 * @param name a bundle's name ("game_x2"), looked up in CLARIVID_MODEL_PATH (folders, ':' between them), then
 *             in ../share/clarivid/models beside the library (../../share/clarivid/models where only that is
 *             there); or a path to a bundle's folder or to an .onnx file. An .onnx file without a card must
 *             have one input of 1, 3, 6 or 7 channels, which gives the layout.
 * @return CLV_OK and *model, which the caller closes; CLV_ERR_NOT_FOUND (the sentence lists where it looked),
 *         CLV_ERR_INVALID_MODEL, CLV_ERR_UNSUPPORTED, CLV_ERR_IO, CLV_ERR_NO_MEMORY
 */
CLV_API int clv_model_open(clv_context *context, const char *name, clv_model **model);

/** Closes *model and sets it to NULL. Sessions made from it go on working. NULL is allowed. */
CLV_API void clv_model_close(clv_model **model);

/** Fills *info; its strings live as long as the model. */
CLV_API void clv_model_get_info(const clv_model *model, clv_model_info *info);

/** 1 when the model takes clv_session_params.strength, else 0. */
CLV_API int clv_model_has_strength(const clv_model *model);

/** 1 when the model takes clv_session_params.sharpness above 0, else 0. */
CLV_API int clv_model_has_sharpness(const clv_model *model);

/* ----------------------------------------------------------------------------------------------- pictures
 * ---- */

typedef enum clv_pixel_format {
    CLV_PIXEL_YUV420P = 1,   /**< 8 bit, planes Y, U, V */
    CLV_PIXEL_NV12 = 2,      /**< 8 bit, planes Y, UV interleaved */
    CLV_PIXEL_YUV420P10 = 3, /**< 10 bit in the low bits of little-endian 16 bit, planes Y, U, V */
    CLV_PIXEL_P010 = 4       /**< 10 bit in the high bits of little-endian 16 bit, planes Y, UV interleaved */
} clv_pixel_format;

typedef enum clv_memory {
    CLV_MEMORY_HOST = 0,
    CLV_MEMORY_CUDA = 1 /**< device memory of one CUDA context; the params name it (clv_cuda_device) */
} clv_memory;

typedef enum clv_range {
    CLV_RANGE_UNSPECIFIED = 0, /**< taken as limited */
    CLV_RANGE_LIMITED = 1,
    CLV_RANGE_FULL = 2
} clv_range;

/** Luma and chroma from R'G'B'; matters to layout rgb only (ITU-R BT.601-7, BT.709-6, BT.2020-2). */
typedef enum clv_matrix {
    CLV_MATRIX_UNSPECIFIED = 0, /**< BT.709 from 720 lines on, BT.601 below */
    CLV_MATRIX_BT601 = 1,
    CLV_MATRIX_BT709 = 2,
    CLV_MATRIX_BT2020_NCL = 3
} clv_matrix;

/** Where chroma samples sit (ITU-T H.273, 8.7). */
typedef enum clv_chroma_siting {
    CLV_SITING_UNSPECIFIED = 0, /**< taken as left */
    CLV_SITING_LEFT = 1,
    CLV_SITING_CENTRE = 2,
    CLV_SITING_TOP_LEFT = 3
} clv_chroma_siting;

/** What pictures look like. Zero is a sane value for every field but the first three. */
typedef struct clv_format {
    int width;  /**< luma samples, 1..32768; odd is allowed, chroma then has (width + 1) / 2 columns */
    int height; /**< luma samples, 1..32768 */
    clv_pixel_format pixel_format;
    clv_memory memory;
    clv_range range;
    clv_matrix matrix;
    clv_chroma_siting siting;
} clv_format;

/**
 * A view of one picture's planes; owns nothing. Strides are in bytes. In host memory they may be negative
 * (bottom-up); any alignment works, 64 bytes is fastest. In CUDA memory `data` are device pointers (a
 * CUdeviceptr as a pointer) that the host must not follow, strides are positive, and 16-bit samples lie at
 * even addresses; 16 bytes is fastest. Planes beyond the format's are ignored.
 */
typedef struct clv_picture {
    void *data[4];
    ptrdiff_t stride[4];
} clv_picture;

/* ------------------------------------------------------------------------------------------- CUDA memory
 * ---- */

/**
 * Where pictures in CLV_MEMORY_CUDA live and in what order they are worked on, as the handles of NVIDIA's
 * driver API: in FFmpeg AVCUDADeviceContext.cuda_ctx and .stream; from the runtime API, the device's primary
 * context and a cudaStream_t.
 *
 *  - Ownership: the caller's. Both handles must outlive the session or inpainter that was made with them; the
 *    struct itself is read during the call only.
 *  - Order: everything is enqueued on `stream`, nothing on another one. Planes may be written by what was
 *    enqueued on it before, and are read and written for what is enqueued on it after. The host is not made
 *    to wait, and no picture goes through its memory, but where a function says so (clv_device_stats counts).
 *  - Threads: `context` is pushed and popped inside each call; it need not be current, and what is current
 *    stays so. Sessions on one stream may belong to different threads; their work is in the stream's order.
 */
typedef struct clv_cuda_device {
    void *context; /**< CUcontext; not NULL */
    void *stream;  /**< CUstream; NULL is the default stream of the context */
} clv_cuda_device;

/**
 * What the pictures of a session or an inpainter made the host and a device do; creating it does not count.
 * For sessions all but `device_bytes` stay 0: that is tested. All are 0 for pictures in host memory.
 */
typedef struct clv_device_stats {
    uint64_t copies_to_host;
    uint64_t bytes_to_host;
    uint64_t copies_to_device; /**< masks and tables of inpainting */
    uint64_t bytes_to_device;
    uint64_t synchronisations; /**< times that a thread of the host waited for the device */
    uint64_t device_bytes;     /**< device memory held now: weights, activations, tensors; no pictures of the
                                    caller's */
} clv_device_stats;

/* ----------------------------------------------------------------------------------------------- sessions
 * ---- */

typedef enum clv_precision {
    CLV_PRECISION_AUTO =
        0, /**< the fastest that this processor has and that passed the bundle's parity gate */
    CLV_PRECISION_FP32 = 1, /**< the reference's pixels */
    CLV_PRECISION_FP16 = 2,
    CLV_PRECISION_BF16 = 3,
    CLV_PRECISION_INT8 = 4
} clv_precision;

typedef enum clv_dither {
    CLV_DITHER_NONE = 0,   /**< round to nearest */
    CLV_DITHER_ORDERED = 1 /**< 8x8 ordered dither, the same for every picture */
} clv_dither;

typedef struct clv_session_params {
    uint32_t struct_size; /**< sizeof(clv_session_params): lets an old host run with a newer library */
    const char *backend;  /**< "auto", "openvino", "cpu", "cuda", "tensorrt", ...; NULL is "auto" */
    const char *device;   /**< the backend's name of a device; NULL or "" for its default */
    clv_precision precision;
    int threads;   /**< CPU threads, 1..1024; 0 for all cores that the process may use */
    int in_flight; /**< pictures worked on at once, 1..64 */
    clv_dither dither;
    /**
     * How much of the net's change is applied, 0..1: 0 gives the input's samples, 1 the net's. For models
     * with a strength (clv_model_has_strength()); others take 1 only, else CLV_ERR_UNSUPPORTED.
     */
    double strength;
    /**
     * The device whose memory pictures are in: needed when format.memory is CLV_MEMORY_CUDA, not looked at
     * for CLV_MEMORY_HOST. Read during clv_session_create() only; its handles must outlive the session.
     */
    const clv_cuda_device *cuda;
    /**
     * How pictures are cut into tiles that the net is run on one by one: "auto" (as NULL) only when a picture
     * is larger than a TensorRT engine takes or than memory allows; "none" never; "WxH" always, with tiles of
     * that many luma samples of the input, or a little less where the net needs a multiple. Each sample of
     * the output is taken from one tile, and is what the net gives for the whole picture. A net that looks at
     * the whole picture at once has seams: "auto" refuses it, "WxH" warns.
     */
    const char *tile;
    int overlap; /**< least distance of what is taken from a tile to the tile's inner edges, in luma samples
                    of the input; -1: what the net sees to each side, from its card or its graph. Less than
                      that gives seams */
    /**
     * Between the two sets of weights of a bundle, 0..1: 0 the first, closest to the original picture by
     * PSNR; 1 the second, trained to look sharp; between them weights are mixed, (1 - sharpness) of the first
     * and sharpness of the second, when the session is created. Above 0 for models with two sets
     * (clv_model_has_sharpness()) only, else CLV_ERR_UNSUPPORTED.
     */
    double sharpness;
} clv_session_params;

/** Every field's default. */
#define CLV_SESSION_PARAMS_DEFAULTS                                                                          \
    {                                                                                                        \
        sizeof(clv_session_params), NULL, NULL, CLV_PRECISION_AUTO, 0, 1, CLV_DITHER_NONE, 1.0, NULL, NULL,  \
            -1, 0.0                                                                                          \
    }

/** A model made ready for pictures of one format on one backend. */
typedef struct clv_session clv_session;

typedef struct clv_session_info {
    clv_format output; /**< what the output pictures look like: scale times the input's size */
    int scale;
    const char *backend;     /**< the one that runs, such as "openvino"; owned by the session */
    const char *runtime;     /**< the backend's runtime with its version; owned by the session */
    clv_precision precision; /**< never CLV_PRECISION_AUTO */
    int threads;
    int in_flight;
    uint64_t tensor_bytes; /**< host memory: input and output tensors of all slots, without the runtime's own;
                                CUDA memory: all device memory that the session holds */
} clv_session_info;

/**
 * Compiles `model` for pictures of `format`: this is the slow call (tens of milliseconds to seconds).
 * backend="auto" takes what fits the net and the pictures' memory and says at CLV_LOG_INFO what it took and
 * why: in host memory "cpu", our own kernels, for a bundle whose architecture they know, else "openvino"; in
 * CUDA memory "tensorrt" when there is an engine for this net, size and GPU, else "cuda", our own kernels,
 * for a bundle whose architecture they know, else it is an error that says so. A named backend that cannot
 * run is an error with the reason, never another backend.
 * @param params NULL for the defaults. Fields beyond struct_size, which an older host does not know, have
 * theirs. CUDA memory needs params->cuda.
 * @return CLV_OK and *session, which the caller destroys; CLV_ERR_INVALID_ARGUMENT, CLV_ERR_UNSUPPORTED
 * (picture too small, precision not on this processor, backend for other memory, ...), CLV_ERR_BACKEND (no
 * NVIDIA driver, ...), CLV_ERR_INVALID_MODEL, CLV_ERR_NO_MEMORY: of the host or of the device, which then
 * goes on with what it had before
 */
CLV_API int clv_session_create(clv_context *context, clv_model *model, const clv_format *format,
                               const clv_session_params *params, clv_session **session);

/**
 * Waits for what is in flight, on the device too, destroys *session and sets it to NULL. NULL is allowed.
 */
CLV_API void clv_session_destroy(clv_session **session);

/** Fills *info; its strings live as long as the session. */
CLV_API void clv_session_get_info(const clv_session *session, clv_session_info *info);

/**
 * Starts work on one picture and returns without waiting for the net.
 * Host memory: `input` is read before this returns; `output` is written up to the matching
 * clv_session_receive(): the caller keeps its planes alive and untouched until then.
 * CUDA memory: all work on the picture is enqueued on the device's stream before this returns. `input` is
 * read and `output` written in the order of the stream: the caller keeps the planes of both until the stream
 * has passed (memory that is given back in the order of the stream, as FFmpeg's pools and cuMemFreeAsync do,
 * may be given back at once). `input` and `output` must not overlap.
 * @param opaque handed back by clv_session_receive()
 * @return CLV_OK; CLV_AGAIN when in_flight pictures are under way (receive one first; nothing was read);
 *         CLV_ERR_INVALID_ARGUMENT; CLV_ERR_INFERENCE, after which this picture is not in flight
 */
CLV_API int clv_session_submit(clv_session *session, const clv_picture *input, const clv_picture *output,
                               void *opaque);

/**
 * Ends work on the oldest picture in flight: pictures come back in the order of clv_session_submit().
 * CUDA memory: returns at once, never CLV_AGAIN. The output planes are written in the order of the stream:
 * what is enqueued on it from now on sees them; the host must wait for the stream before it looks. A failure
 * that the device reports later is the sentence of the call that meets it.
 * @param wait   0: return CLV_AGAIN when the oldest is not ready; else wait for it
 * @param opaque set to the picture's on CLV_OK and on CLV_ERR_INFERENCE; may be NULL
 * @return CLV_OK: the output planes are written; CLV_AGAIN; CLV_EMPTY; CLV_ERR_INFERENCE: the picture failed
 * and is no longer in flight, its output planes hold nothing of use, the session goes on
 */
CLV_API int clv_session_receive(clv_session *session, int wait, void **opaque);

/** Number of pictures in flight: submitted and not received. */
CLV_API int clv_session_pending(const clv_session *session);

/** Fills *stats; all 0 for pictures in host memory. Does not wait for the device. From any thread. */
CLV_API void clv_session_get_device_stats(const clv_session *session, clv_device_stats *stats);

/* ---------------------------------------------------------------------------------------------- inpainting
 * ---- */

/**
 * A mask: which samples of a picture are to vanish. 8 bit, one plane, 128 and above is the hole. A mask of
 * another size than the picture is stretched over it (nearest sample). Owns nothing; the stride is in bytes
 * and, in host memory, may be negative.
 */
typedef struct clv_mask {
    const uint8_t *data;
    ptrdiff_t stride;
    int width;         /**< 1..32768 */
    int height;        /**< 1..32768 */
    clv_memory memory; /**< CLV_MEMORY_CUDA: of the inpainter's device, written in its stream's order; only
                            for pictures that are there too */
} clv_mask;

/** What an inpainter draws instead of the result: for people who tune it. */
typedef enum clv_inpaint_show {
    CLV_SHOW_RESULT = 0,
    CLV_SHOW_MASK = 1,   /**< the input with the dilated hole tinted */
    CLV_SHOW_MESH = 2,   /**< the result with the solved grid */
    CLV_SHOW_TRACKS = 3, /**< the result with the features' motion; outliers in another colour */
    CLV_SHOW_AGE = 4     /**< the result with the hole coloured by where it comes from: age, or painted */
} clv_inpaint_show;

typedef struct clv_inpaint_params {
    uint32_t struct_size; /**< sizeof(clv_inpaint_params) */
    const char *backend;  /**< as in clv_session_params; for the nets */
    const char *device;
    clv_precision precision;
    int threads;      /**< CPU threads of nets and of everything else, 1..1024; 0 for all usable cores */
    int mesh_columns; /**< cells of the grid, 1..32; 1x1 is one global homography */
    int mesh_rows;    /**< 1..18 */
    int lookahead;    /**< pictures that are waited for because they may reveal background, 0..64 */
    int dilate;       /**< luma samples that the hole grows by on every side, 0..64 */
    int feather;      /**< width of the blend at the hole's inner border in luma samples, 0..64 */
    clv_inpaint_show show;
    const clv_cuda_device *cuda; /**< as in clv_session_params */
} clv_inpaint_params;

/** Every field's default. */
#define CLV_INPAINT_PARAMS_DEFAULTS                                                                          \
    { sizeof(clv_inpaint_params), NULL, NULL, CLV_PRECISION_AUTO, 0, 16, 9, 0, 4, 4, CLV_SHOW_RESULT, NULL }

/**
 * Makes what a mask covers vanish from the pictures of one video, in order: remembers the background, carries
 * it along by a mesh of local homographies, and has a net paint what was never seen.
 * One thread at a time; different inpainters run in parallel. Memory does not grow with the video's length.
 */
typedef struct clv_inpainter clv_inpainter;

/** What it has done; times are sums in milliseconds of wall clock. */
typedef struct clv_inpaint_stats {
    uint64_t pictures;     /**< received so far */
    uint64_t cuts;         /**< scene cuts, at which the memory was emptied */
    uint64_t paintings;    /**< runs of the net, or of the diffusion that stands in for it */
    uint64_t memory_bytes; /**< held for pictures, maps and masks now */
    double track_ms;       /**< luma, features, tracking */
    double solve_ms;       /**< the mesh */
    double fill_ms;        /**< memory, warp, light, blend */
    double paint_ms;       /**< painting */
    /* of the last picture received: */
    int features;         /**< tracked */
    int inliers;          /**< of these, those that the mesh agrees with */
    double residual;      /**< root mean square of the inliers' reprojection error, luma samples */
    double cost_features; /**< the solver's energy: reprojection */
    double cost_shape;    /**< ... deformation */
    double cost_time;     /**< ... temporal prior */
    double hole;          /**< share of the picture that is hole, dilated, 0..1 */
    double remembered;    /**< share of the hole that was filled from pictures, 0..1; the rest is painted */
} clv_inpaint_stats;

/**
 * With CUDA memory pictures stay on the device, but not all work is there, and clv_device_stats counts what
 * passes: for each picture a reduced luma is read back, in which motion is tracked (the host waits for it),
 * and a mask that is on the device; when something is painted, the excerpt that the net sees, unless the net
 * runs on the device too (backend=auto and cuda, for architectures that clarivid's CUDA kernels know; other
 * backends run it on the host); with a segmenter, each whole picture.
 * @param net       a model for the task "inpaint", or NULL: what was never seen is then diffused from around
 * @param segmenter a model for the task "segment" that makes masks, or NULL: every submit brings its mask
 * @param params    NULL for the defaults. Fields beyond struct_size have theirs.
 * @return CLV_OK and *inpainter, which the caller destroys; errors as of clv_session_create()
 */
CLV_API int clv_inpainter_create(clv_context *context, clv_model *net, clv_model *segmenter,
                                 const clv_format *format, const clv_inpaint_params *params,
                                 clv_inpainter **inpainter);

/** Destroys *inpainter and sets it to NULL. Pictures not yet received are dropped. NULL is allowed. */
CLV_API void clv_inpainter_destroy(clv_inpainter **inpainter);

/**
 * Hands over the next picture. `input` and `mask` are read before this returns; `output` is written by the
 * matching clv_inpainter_receive(): the caller keeps its planes alive until then. `output` may be `input`.
 * In CUDA memory both are read and written in the order of the stream, as with clv_session_submit().
 * @param mask   NULL: nothing is to vanish from this picture (it is still learnt from); with a segmenter,
 *               NULL has the mask made from the picture, and a mask is added to it
 * @param opaque handed back by clv_inpainter_receive()
 * @return CLV_OK; CLV_AGAIN when lookahead + 1 pictures wait (receive one first; nothing was read);
 *         CLV_ERR_INVALID_ARGUMENT; CLV_ERR_INFERENCE when the segmenter failed
 */
CLV_API int clv_inpainter_submit(clv_inpainter *inpainter, const clv_picture *input, const clv_mask *mask,
                                 const clv_picture *output, void *opaque);

/**
 * Finishes the oldest picture once `lookahead` later ones are there.
 * @param flush  1: do not wait for later ones, none will come before this one is received
 * @param opaque set to the picture's on CLV_OK and CLV_ERR_INFERENCE; may be NULL
 * @return CLV_OK: the output planes are written; CLV_AGAIN: submit more, or flush; CLV_EMPTY;
 *         CLV_ERR_INFERENCE: the net failed, the picture is no longer in flight, its planes hold nothing of
 * use
 */
CLV_API int clv_inpainter_receive(clv_inpainter *inpainter, int flush, void **opaque);

/** Number of pictures submitted and not received. */
CLV_API int clv_inpainter_pending(const clv_inpainter *inpainter);

/** Fills *stats. */
CLV_API void clv_inpainter_get_stats(const clv_inpainter *inpainter, clv_inpaint_stats *stats);

/** Fills *stats; all 0 for pictures in host memory. Does not wait for the device. */
CLV_API void clv_inpainter_get_device_stats(const clv_inpainter *inpainter, clv_device_stats *stats);

/**
 * Forgets everything but the nets, as if just created: for the next video of the same format. Pictures not
 * yet received are dropped; statistics begin anew.
 */
CLV_API int clv_inpainter_reset(clv_inpainter *inpainter);

/**
 * Has the net alone (the diffusion, without a net) paint the hole of one picture, in place: no memory, no
 * dilation, no feather, and no change to what is remembered. For comparisons.
 * @return CLV_OK; CLV_ERR_INVALID_ARGUMENT; CLV_ERR_INFERENCE, after which the picture is as it was
 */
CLV_API int clv_inpainter_paint(clv_inpainter *inpainter, const clv_picture *picture, const clv_mask *mask);

/** Boxes that are to vanish: constant, or for each picture from a file. Immutable. */
typedef struct clv_boxes clv_boxes;

/**
 * @param text "x:y:w:h[,x:y:w:h...]" for every picture, or the path of a sidecar file: one line a picture
 * with its boxes "frame x y w h", several lines for several boxes; '#' begins a comment. A picture without a
 * line has no box.
 * @param is_file 1: `text` is a path
 * @return CLV_OK and *boxes; CLV_ERR_INVALID_ARGUMENT: the sentence names what is wrong, and the line in a
 *         file (an empty box, a negative size, text that is no number, frames out of order);
 * CLV_ERR_NOT_FOUND
 */
CLV_API int clv_boxes_create(clv_context *context, const char *text, int is_file, clv_boxes **boxes);

/** Destroys *boxes and sets it to NULL. NULL is allowed. */
CLV_API void clv_boxes_destroy(clv_boxes **boxes);

/**
 * Draws the boxes of picture number `frame` (from 0) as hole (255) into `mask` (its data are written), on top
 * of what is there. Boxes are cut at the picture's border.
 * @return how many boxes touched the picture; those outside it are not counted
 */
CLV_API int clv_boxes_draw(const clv_boxes *boxes, int64_t frame, uint8_t *mask, ptrdiff_t stride, int width,
                           int height);

/* ------------------------------------------------------------------------------------------------- colour
 * ---- */

/**
 * Pictures <-> R'G'B' in host memory, by the conversion that nets of the layout rgb get: range, matrix and
 * chroma siting of the format are honoured, primaries and transfer curve are not touched.
 * One thread at a time; different converters run in parallel.
 */
typedef struct clv_rgb_converter clv_rgb_converter;

/**
 * @param format of the pictures, in CLV_MEMORY_HOST
 * @param dither of the codes that clv_rgb_to_picture() writes
 * @return CLV_OK and *converter, which the caller destroys; CLV_ERR_INVALID_ARGUMENT, CLV_ERR_UNSUPPORTED
 *         (CUDA memory), CLV_ERR_NO_MEMORY
 */
CLV_API int clv_rgb_converter_create(clv_context *context, const clv_format *format, clv_dither dither,
                                     clv_rgb_converter **converter);

/** Destroys *converter and sets it to NULL. The context must still be there. NULL is allowed. */
CLV_API void clv_rgb_converter_destroy(clv_rgb_converter **converter);

/**
 * @param rgb gets 3 planes R, G, B of height x width values, without gaps: 0..1 for legal colours. Codes
 *            beyond the legal range give values beyond 0..1, which are kept.
 * @return CLV_OK; CLV_ERR_INVALID_ARGUMENT: nothing is written
 */
CLV_API int clv_rgb_from_picture(clv_rgb_converter *converter, const clv_picture *picture, float *rgb);

/**
 * The reverse. NaN counts as 0, values are limited to -1..2 and codes to what the depth holds.
 * @return CLV_OK; CLV_ERR_INVALID_ARGUMENT: nothing is written
 */
CLV_API int clv_rgb_to_picture(clv_rgb_converter *converter, const float *rgb, const clv_picture *picture);

/* ----------------------------------------------------------------------------------------------- backends
 * ---- */

/**
 * Loads a backend and asks its runtime who it is: for a `doctor` command or a start-up check.
 * @param buffer gets the runtime's name and version, cut to `size`; may be NULL with size 0
 * @return CLV_OK; CLV_ERR_NOT_FOUND when there is no such backend; CLV_ERR_BACKEND when it cannot be loaded
 */
CLV_API int clv_backend_probe(clv_context *context, const char *name, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* CLARIVID_CLARIVID_H */
