// SPDX-License-Identifier: BSD-2-Clause
// What the inpainter's kernels take: plain structs, filled in by cuda_ops.cpp. Positions and sizes are in
// samples or, where a name says so, in blocks (one chroma sample and the 2x2 of luma that belong to it) and
// cells of the membrane. Every kernel exists for samples of one byte (name ends in _8) and of two (_16),
// unless it does not touch samples.
#pragma once

#include <cstdint>

namespace clv::mesh::cuda {

inline constexpr int kMaxSlots = 20;
inline constexpr int kFitBytes = 2048; ///< of shared memory, before the points of clv_mesh_lights
inline constexpr int kMaxLevels = 20;  ///< of a pyramid; 2^19 samples are more than a picture is wide

/// Where the planes of a frame are in its memory; the same for all frames (mesh/store.h).
struct Layout {
    int width[3];
    int height[3];
    int stride[3];
    int offset[3]; ///< of sample (0, 0)
};

/// The caller's planes, or a frame's: samples `step` apart, codes `shift` bits up.
struct Outside {
    uint8_t *data[3];
    int64_t stride[3]; ///< bytes
    int step[3];
    int shift;
};

/// Half-open.
struct Area {
    int x0, y0, x1, y1;
};

/// A byte a block; see mesh/blocks.h.
struct BlockMap {
    const uint8_t *bytes;
    Area box;
};

struct Way {
    float x, y;
};

/// The nodes of a field that an area needs; positions are held to those of the whole field.
struct Nodes {
    const Way *nodes;
    int first_column, first_row, stride;
};

struct LightValue {
    float gain, offset;
};

// ---------------------------------------------------------------------------------------------
// mesh_frames.cu

/// Grid: chunks of 8 samples of a padded row, padded rows, planes.
struct ImportParams { // clv_mesh_import
    Outside from;
    void *to;
    Layout layout;
};

/// Grid: chunks of 8 samples, rows, planes.
struct ExportParams { // clv_mesh_export
    const void *from;
    Layout layout;
    Outside to;
};

/// Grid: reduced samples.
struct ReduceParams { // clv_mesh_reduce
    const uint8_t *from;
    int64_t stride; ///< bytes
    int reduction;
    float scale;
    int width, height; ///< of the reduced luma
    uint8_t *to;
};

/// Grid: words of 32 samples a warp, rows.
struct MaskParams { // clv_mesh_mask, no samples of pictures
    const uint8_t *from;
    int64_t stride;
    int width, height, words; ///< words: of a row
    uint32_t *to;
};

/// Grid: padded samples, padded rows, planes; what lies inside is left alone.
struct PadParams { // clv_mesh_pad
    void *frame;
    Layout layout;
};

/// Grid: samples of the blocks' box, planes.
struct OverlayParams { // clv_mesh_overlay
    const void *from;
    void *to;
    Layout layout;
    BlockMap blocks;
};

// -----------------------------------------------------------------------------------------------
// mesh_warp.cu

struct SlotSource {
    const void *frame;
    const Way *nodes;
};

/// Grid: samples of the blocks' box, planes.
struct DrawParams { // clv_mesh_draw
    SlotSource slots[kMaxSlots];
    uint32_t fresh;           ///< bit of each slot whose light is none
    const float *weights;     ///< 64 phases, 8 of them each
    const LightValue *lights; ///< three of each slot
    Nodes nodes;              ///< of each slot's, but for `nodes`
    int field_columns, field_rows;
    float maximum;
    BlockMap blocks;
    void *canvas;
    Layout layout;
};

/// A place where a frame of then is compared with now.
struct LightPoint {
    Way way;              ///< luma samples, from now to then
    uint16_t column, row; ///< block
};

/// What one slot is compared at.
struct LightJob {
    const void *past;
    uint32_t first, count; ///< points; no points: the light goes the way of `step`
    int32_t slot;
    int32_t fresh; ///< its light is none so far
};

/// Blocks: jobs x planes. Shared memory: kFitBytes, and 12 for each of `most` points.
struct LightParams { // clv_mesh_lights
    const LightJob *jobs;
    const LightPoint *points;
    LightJob step; ///< from the picture before; count 0: none
    const void *now;
    const float *weights;
    Layout layout;
    float unit; ///< a code of 8 bit
    int most;
    LightValue *lights;
};

// -----------------------------------------------------------------------------------------------
// mesh_fill.cu

struct Level {
    int width, height;
    uint32_t offset; ///< of its first value, in elements
};

/// Pyramids of the three planes in two arrays.
struct Pyramids {
    float *values;
    float *weights;
    Level levels[3][kMaxLevels];
    int count[3];
    int wide[3]; ///< levels from here on are for one block of threads
};

/// Grid: cells of `cells`. Writes the finest level.
struct CellParams { // clv_mesh_cells
    BlockMap blocks;
    Area cells;
    const void *canvas;
    const void *now;
    Layout layout;
    float unit;
    Pyramids pyramids;
};

/// Grid: cells of `cells`, planes.
struct MixParams { // clv_mesh_mix, no samples
    Pyramids pyramids;
    Area cells;
    Area last;
    int warm;
    int columns, rows; ///< cells of a picture
    Nodes back;
    int field_columns, field_rows;
    const float *before;
    float *surface;
};

/// Grid: samples of level `level` + 1, planes.
struct PullParams { // clv_mesh_pull, no samples
    Pyramids pyramids;
    int level;
};

/// One block for each plane: from level wide[] up to the top and down again.
struct TopParams { // clv_mesh_top, no samples
    Pyramids pyramids;
    float otherwise;
};

/// Grid: samples of level `level`, planes.
struct PushParams { // clv_mesh_push, no samples
    Pyramids pyramids;
    int level;
};

/// Grid: samples of the finest level, planes. Area in blocks.
struct DiffuseParams { // clv_mesh_diffuse_in, clv_mesh_diffuse_out
    BlockMap blocks;
    Area area;
    const void *now;
    void *canvas;
    Layout layout;
    Pyramids pyramids;
};

/// Grid: samples of the finest level, planes. The excerpt's upper left corner is at an even sample.
struct PaintParams { // clv_mesh_paint_in, clv_mesh_paint_out
    uint8_t *data[3];
    int64_t stride[3]; ///< bytes
    int width, height; ///< of luma
    const uint8_t *hole;
    int hole_stride;
    float maximum;
    Pyramids pyramids;
};

/// Grid: samples of the hole's box. A bit a sample of the hole, rows of whole words.
struct DepthParams { // clv_mesh_depth, no samples
    const uint32_t *bits;
    int words;
    Area box;
    int width, height; ///< of the picture
    int limit;
    uint8_t *depth; ///< steps to the outside along the row
};

/// Grid: blocks that the hole's box touches.
struct BlendParams { // clv_mesh_blend
    const void *now;
    const void *canvas;
    Layout layout;
    const uint8_t *depth;
    Area box;
    int limit;
    float step;
    const float *surface;
    int columns, rows; ///< cells of a picture
    float maximum;
    Outside to;
};

} // namespace clv::mesh::cuda
