// SPDX-License-Identifier: BSD-2-Clause
// What lies behind the hole: references to pictures that saw it.
//
//     slots (whole pictures)            map (one reference a block of hole and skirt)
//     +---------+ +---------+           . . . . . . . . . .
//     |  t - 40 | |  t - 9  |  ...      . a a a b b . . . .    a: slot t - 40, b: slot t - 9
//     +---------+ +---------+           . a a a b b b . . .    where in the slot: its field says, which is
//          ^ field: t -> t - 40         . a a a a b b . . .    carried along from picture to picture
//
// Whatever the number of pictures in between, a sample is resampled once, from the picture that saw it. Slots
// are bounded: when they run out, what refers to the older ones of a generation is taken together into one
// new picture (a gathering), whose generation is one more; so the number of resamplings grows like the
// logarithm of time.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "mesh/blocks.h"
#include "mesh/picture_ops.h"
#include "mesh/store.h"
#include "mesh/warp.h"

namespace clv::mesh {

/// Where a block's background is.
struct Reference {
    int8_t slot = -1;
    Origin origin = Origin::unknown;
    uint8_t visible = 0; ///< pictures since the block was last in hole or skirt
    uint8_t reserved = 0;
    int32_t time = 0; ///< index of the picture that saw it
};

struct Slot {
    FramePtr frame; ///< null: free
    Field field;    ///< takes points of the picture shown now to the frame
    int generation = 0;
    int64_t time = 0;
    int uses = 0; ///< blocks that refer to it
};

/// A later picture, for looking ahead.
struct Ahead {
    FramePtr frame;
    const Field *forward; ///< takes points of the picture before it to it
};

class Memory {
public:
    /// All of them must outlive the memory.
    Memory(const Shape &shape, PictureOps &ops, FramePool &pool, pixels::ThreadPool &threads);

    /// After a cut.
    void clear();

    /// Carries the map from the previous picture on to `now`, whose hole and skirt are `region`. `back` takes
    /// points of `now` to the previous picture.
    void advance(const FramePtr &now, const Box &region, const Field &back);
    /// Looks for what is unknown or painted in later pictures, the next one first.
    void look_ahead(std::span<const Ahead> later);
    /// Lights of all slots; frees those that nothing refers to.
    void tidy();
    /// Draws what is remembered of hole and skirt into `canvas`; leaves unknown blocks alone.
    void draw(Frame &canvas);
    /// What draw() drew.
    const Blocks &drawn() const { return drawn_; }
    /// Puts what is drawn into a picture of now: all of the hole, and of the skirt what is remembered.
    void overlay(const Frame &canvas, Frame &picture) const;
    /// Makes `picture` a slot, in the coordinates and at the time of now, and has the blocks of hole and
    /// skirt that are unknown refer to it: as painted in the hole, as skirt around it.
    void adopt(const FramePtr &picture);
    /// Makes room for the next picture: gathers if it must. `canvas`: what draw() drew, and something
    /// plausible in the hole's other blocks.
    void make_room(const Frame &canvas);

    const Reference &at(int column, int row) const {
        return map_[static_cast<size_t>(row) * columns_ + column];
    }
    /// Of the map: hole, skirt, and what was in them not long ago.
    const Box &region() const { return region_; }
    const FramePtr &now() const { return now_; }
    int64_t unknown() const { return unknown_; }       ///< blocks of the hole
    int64_t remembered() const { return remembered_; } ///< blocks of the hole that pictures have shown
    int64_t blocks() const { return blocks_; }         ///< of the hole
    int slots_used() const;
    int generations() const;
    size_t bytes() const;

private:
    /// Room for a row of blocks.
    struct Lines {
        explicit Lines(size_t columns)
            : dx(columns), dy(columns), origin(columns), there(columns), reference(columns) {}
        std::vector<float> dx;
        std::vector<float> dy;
        std::vector<Origin> origin;       ///< in the slot
        std::vector<Origin> there;        ///< in the previous picture
        std::vector<Reference> reference; ///< that the previous picture had
    };

    int free_slot() const;
    int free_slots() const;
    void place(int slot, const FramePtr &frame, const Field &field, int generation);
    void origins_along(const Slot &slot, int row, int first, int last, Lines &lines) const;
    void inherit(int row, const Box &reach, const Field &back, Lines &lines) const;
    void advance_row(int row, const Box &reach, const Field &back, const std::vector<int> &recent,
                     Lines &lines);
    Reference fresh(const Point &centre, Origin least, const std::vector<int> &recent) const;
    Reference find(const Point &centre) const;
    bool look(const Field &way, const FramePtr &frame, int slot);
    Origin origin_at(const Slot &slot, const Point &centre) const;
    void count();
    void gather(const Frame &canvas);
    void describe();

    Reference &entry(int column, int row) { return map_[static_cast<size_t>(row) * columns_ + column]; }
    static Point centre_of(int column, int row) {
        return {2 * static_cast<float>(column) + 0.5F, 2 * static_cast<float>(row) + 0.5F};
    }

    Shape shape_;
    int columns_;
    int rows_;
    PictureOps &ops_;
    FramePool &pool_;
    pixels::ThreadPool &threads_;
    std::vector<Slot> slots_;
    Blocks drawn_;
    std::vector<Reference> map_;
    std::vector<Reference> before_;
    Box region_;
    Box region_before_;
    Box hole_; ///< hole and skirt of now
    FramePtr now_;
    FramePtr previous_;
    Field back_;
    int64_t unknown_ = 0;
    int64_t painted_ = 0; ///< of hole and skirt
    int64_t remembered_ = 0;
    int64_t blocks_ = 0;
};

} // namespace clv::mesh
