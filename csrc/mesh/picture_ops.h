// SPDX-License-Identifier: BSD-2-Clause
// What the inpainter does with samples, wherever they are: in host memory (host_ops.h) or in that of a device
// (csrc/mesh/cuda). All bookkeeping (origins, references, fields, holes, the tracker) is the caller's, on the
// host; what passes through here is one byte a block, nodes of fields, and bits of holes.
//
// The order of calls for each picture, which tells an implementation what it may put off:
//
//     import -> host_mask, reduced_luma          a picture comes in; the only place that waits for a device
//     match_lights -> draw -> update_membrane    what is remembered, in the light of now
//     [copy, overlay, paint, pad, draw]          when something is painted
//     [diffuse]                                  when little is unknown
//     [copy, overlay, pad]                       when slots are gathered
//     compose                                    the result, into the caller's planes
//
// One thread at a time. Whatever an argument refers to is read before a call returns, but for samples of the
// device and the caller's planes there, which are used in the order of its stream.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "clarivid/clarivid.h"
#include "mesh/blocks.h"
#include "mesh/hole.h"
#include "mesh/painter.h"
#include "mesh/store.h"
#include "mesh/warp.h"
#include "pixels/pixels.h"

namespace clv::mesh {

inline constexpr int kDiffuseAround = 8; ///< blocks around the unknown ones that diffuse() looks at

/// Where what a slot remembers comes from. Without a frame nothing refers to the slot.
struct Source {
    const Frame *frame = nullptr;
    const Field *field = nullptr; ///< takes points of now to the frame
};

/// How the light of a slot is found.
struct LightTask {
    int slot = 0;
    Source source;
    bool match = false; ///< compare the slot's frame with now; else, and where too little is seen in both,
                        ///< its light is the one before, changed as from the previous picture to now
};

/// The result of a picture.
struct Composition {
    const Frame &now;
    const Frame &canvas;
    const Hole &hole;
    int feather = 0;                       ///< samples over which the fill comes in
    bool fill = true;                      ///< false: the picture as it was
    std::function<void(Frame &)> annotate; ///< may be empty; draws into a frame in host memory
};

class PictureOps {
public:
    virtual ~PictureOps() = default;

    /// A frame whose samples lie where this works; contents are whatever was there. Throws
    /// Error(CLV_ERR_NO_MEMORY).
    virtual std::unique_ptr<Frame> make_frame() = 0;
    /// What paints from now on; null for smooth colours. Outlives this object, or its last call.
    virtual void use(Painter *painter) = 0;
    /// What paints from now on, without a detour over the host; goes before the other one. Throws where
    /// frames are in host memory.
    virtual void use_on_device(DevicePainter *painter) = 0;

    /// The caller's planes -> frame, padded.
    virtual void import(const pixels::ConstPicture &picture, const clv_mask *mask, Frame &frame) = 0;
    /// The mask last given to import(), in host memory; null when it was. Valid until the next import().
    virtual const clv_mask *host_mask() = 0;
    /// The luma of the picture last given to import(), reduced as reduce_luma() does it; rows without gaps.
    virtual void reduced_luma(const pixels::ConstPicture &picture, uint8_t *to) = 0;

    /// Samples and origins.
    virtual void copy(const Frame &from, Frame &to) = 0;
    virtual void pad(Frame &frame) = 0;

    /// Forgets the light of a slot: it holds another frame from now on.
    virtual void reset_light(int slot) = 0;
    /// Lights of all slots that tasks name, of which there may be none; `previous` may be null, `back` takes
    /// points of now to it. The first call for each picture that is filled, and draw() comes next.
    virtual void match_lights(const Frame &now, const Frame *previous, const Field &back,
                              std::span<const LightTask> tasks) = 0;
    /// Draws the blocks that refer to a slot, in the light of now; leaves all others alone.
    virtual void draw(const Blocks &blocks, std::span<const Source, kSlots> slots, Frame &canvas) = 0;
    /// Copies the blocks of `canvas` that are Blocks::drawn().
    virtual void overlay(const Blocks &blocks, const Frame &canvas, Frame &picture) = 0;
    /// Fills the unknown blocks of `canvas` smoothly from around; that is now's samples outside of the hole.
    virtual void diffuse(const Blocks &blocks, const Frame &now, Frame &canvas) = 0;
    /// Has the painter paint samples [box.x0, box.x1) x [box.y0, box.y1) of luma, and the chroma that belongs
    /// to them, where `hole` (box.width() bytes a row, 0 or 255) is set. The box begins at even samples.
    /// Throws what the painter throws.
    virtual void paint(Frame &picture, const Box &box, const uint8_t *hole) = 0;

    /// The membrane is zero, and there is none before it.
    virtual void reset_membrane() = 0;
    /// Membrane::update().
    virtual void update_membrane(const Blocks &blocks, const Frame &canvas, const Frame &now,
                                 const Field &back) = 0;
    virtual void compose(const Composition &composition, const pixels::Picture &output) = 0;

    /// Held besides frames, in host memory and on a device.
    virtual size_t bytes() const = 0;
};

} // namespace clv::mesh
