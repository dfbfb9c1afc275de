// SPDX-License-Identifier: BSD-2-Clause
// All that samples need to know of the memory: a byte for each block of hole and skirt.
//
//     bit  7  6      5     4 .. 0
//          0  skirt  hole  slot + 1, 0 for none
//
// Outside of the box every block is seen and refers to nothing: 0.
#pragma once

#include <cstdint>
#include <vector>

#include "mesh/store.h"

namespace clv::mesh {

inline constexpr int kSlots = 20; ///< pictures that may be referred to

/// Made by the memory whenever it has changed, read by PictureOps.
class Blocks {
public:
    static constexpr uint8_t kSlotBits = 31;
    static constexpr uint8_t kHole = 32;
    static constexpr uint8_t kSkirt = 64;
    static_assert(kSlots < kSlotBits);

    static int slot(uint8_t block) { return (block & kSlotBits) - 1; }
    /// Belongs to the hole, or to the skirt and is remembered: what goes into pictures that are kept.
    static bool drawn(uint8_t block) {
        return (block & kHole) || ((block & kSkirt) && (block & kSlotBits) != 0);
    }
    /// Seen now, and remembered: tells how the light differs.
    static bool comparable(uint8_t block) { return (block & kSkirt) && (block & kSlotBits) != 0; }
    /// In the hole, and nothing is remembered.
    static bool unknown(uint8_t block) { return (block & (kHole | kSlotBits)) == kHole; }

    /// Room for `box`; contents are for the caller to write, all of them.
    void resize(const Box &box) {
        box_ = box;
        version_++;
        bytes_.resize(box.empty() ? 0 : static_cast<size_t>(box.width()) * static_cast<size_t>(box.height()));
    }
    const Box &box() const { return box_; }
    /// Rises with each resize(): whoever keeps a copy knows by it whether that is old.
    int64_t version() const { return version_; }
    size_t bytes() const { return bytes_.size(); }
    /// Of columns from box().x0 on.
    uint8_t *row(int row) {
        return bytes_.data() + static_cast<size_t>(row - box_.y0) * static_cast<size_t>(box_.width());
    }
    const uint8_t *row(int row) const { return const_cast<Blocks *>(this)->row(row); }
    uint8_t at(int column, int row) const {
        return column >= box_.x0 && column < box_.x1 && row >= box_.y0 && row < box_.y1
                   ? this->row(row)[column - box_.x0]
                   : uint8_t{0};
    }
    /// That the unknown blocks lie in.
    Box unknown_box() const {
        Box box;
        for (int y = box_.y0; y < box_.y1; y++)
            for (int x = box_.x0; x < box_.x1; x++)
                if (unknown(row(y)[x - box_.x0]))
                    box.include(x, y);
        return box;
    }

private:
    Box box_;
    int64_t version_ = 0;
    std::vector<uint8_t> bytes_;
};

} // namespace clv::mesh
