// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>

namespace clv::mesh {
namespace {

constexpr int kFresh = 4;   ///< pictures within which one is as good as another: fewer slots
constexpr int kLinger = 8;  ///< pictures that what was covered is remembered for once it is visible
constexpr int kReserve = 4; ///< slots kept free for the next picture
constexpr int kRows = 8;    ///< rows of blocks that a thread takes at once
/// Later pictures that are looked at; between the far ones there is little to choose.
constexpr std::array kSchedule{1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 44, 64};

/// The block that a point of luma lies in.
int block_of(float luma) {
    return floor_of(luma * 0.5F + 0.25F);
}

} // namespace

Memory::Memory(const Shape &shape, PictureOps &ops, FramePool &pool, pixels::ThreadPool &threads)
    : shape_(shape), columns_(shape.block_columns()), rows_(shape.block_rows()), ops_(ops), pool_(pool),
      threads_(threads), slots_(kSlots), map_(shape.blocks()), before_(shape.blocks()), back_(shape) {
    for (Slot &slot : slots_)
        slot.field = back_;
}

void Memory::clear() {
    for (Slot &slot : slots_)
        slot.frame.reset();
    std::fill(map_.begin(), map_.end(), Reference{});
    region_ = hole_ = {};
    now_.reset();
    previous_.reset();
    unknown_ = painted_ = remembered_ = blocks_ = 0;
}

int Memory::free_slot() const {
    for (int i = 0; i < kSlots; i++)
        if (!slots_[static_cast<size_t>(i)].frame)
            return i;
    return -1;
}

int Memory::free_slots() const {
    return kSlots - slots_used();
}

int Memory::slots_used() const {
    return static_cast<int>(
        std::count_if(slots_.begin(), slots_.end(), [](const Slot &slot) { return slot.frame != nullptr; }));
}

int Memory::generations() const {
    int most = 0;
    for (const Slot &slot : slots_)
        if (slot.frame)
            most = std::max(most, slot.generation);
    return most;
}

size_t Memory::bytes() const {
    return (map_.size() + before_.size()) * sizeof(Reference) + (slots_.size() + 1) * back_.bytes();
}

void Memory::place(int slot, const FramePtr &frame, const Field &field, int generation) {
    Slot &to = slots_[static_cast<size_t>(slot)];
    to.frame = frame;
    to.field = field;
    ops_.reset_light(slot);
    to.generation = generation;
    to.time = frame->time;
    to.uses = 0;
}

Origin Memory::origin_at(const Slot &slot, const Point &centre) const {
    const Point from = centre + slot.field.at(centre);
    const int column = block_of(from.x());
    const int row = block_of(from.y());
    if (column < 0 || row < 0 || column >= columns_ || row >= rows_)
        return Origin::unknown;
    return slot.frame->origins(row)[column];
}

void Memory::advance(const FramePtr &now, const Box &region, const Field &back) {
    previous_ = std::move(now_);
    now_ = now;
    hole_ = region;
    back_ = back;
    map_.swap(before_);
    region_before_ = region_;
    if (!previous_) {
        std::fill(map_.begin(), map_.end(), Reference{});
        region_ = region;
        count();
        return;
    }
    const bool moved = !back.is_identity();
    if (moved)
        threads_.parallel_for(0, kSlots, 1, [&](int first, int last) {
            for (int i = first; i < last; i++)
                if (Slot &slot = slots_[static_cast<size_t>(i)]; slot.frame)
                    slot.field = slot.field.after(back);
        });

    // Slots that count as fresh, the latest first; the previous picture at the end, so that it is only kept
    // if something needs it.
    std::vector<int> recent;
    int previous_slot = -1;
    for (int i = 0; i < kSlots; i++) {
        const Slot &slot = slots_[static_cast<size_t>(i)];
        if (slot.frame == previous_)
            previous_slot = i;
        else if (slot.frame && std::abs(now->time - slot.time) <= kFresh)
            recent.push_back(i);
    }
    std::sort(recent.begin(), recent.end(), [&](int a, int b) {
        return slots_[static_cast<size_t>(a)].time > slots_[static_cast<size_t>(b)].time;
    });
    if (previous_slot < 0 && (previous_slot = free_slot()) >= 0)
        place(previous_slot, previous_, back, 0);
    if (previous_slot >= 0)
        recent.push_back(previous_slot);

    float furthest = 0;
    if (moved)
        for (int row = 0; row < back.rows(); row++)
            for (int column = 0; column < back.columns(); column++)
                furthest = std::max(furthest, back.at(Point(static_cast<float>(column * Field::kStep),
                                                            static_cast<float>(row * Field::kStep)))
                                                  .cwiseAbs()
                                                  .maxCoeff());
    const int reach_by =
        static_cast<int>(std::min(furthest * 0.5F, static_cast<float>(columns_ + rows_))) + (moved ? 2 : 0);
    const Box reach = region.united(region_before_.grown(reach_by, columns_, rows_));
    // What lay there two pictures ago.
    for (int row = 0; row < rows_; row++)
        std::fill_n(&map_[static_cast<size_t>(row) * columns_], columns_, Reference{});
    region_ = reach;
    threads_.parallel_for(reach.y0, reach.y1, kRows, [&](int first, int last) {
        Lines lines(static_cast<size_t>(columns_));
        for (int row = first; row < last; row++)
            advance_row(row, reach, back, recent, lines);
    });
    count();
}

Reference Memory::fresh(const Point &centre, Origin least, const std::vector<int> &recent) const {
    for (const int i : recent) {
        const Slot &slot = slots_[static_cast<size_t>(i)];
        const Origin origin = origin_at(slot, centre);
        if (origin >= least)
            return {static_cast<int8_t>(i), origin, 0, 0, static_cast<int32_t>(slot.time)};
    }
    return {};
}

Reference Memory::find(const Point &centre) const {
    Reference best;
    int64_t nearest = std::numeric_limits<int64_t>::max();
    for (int i = 0; i < kSlots; i++) {
        const Slot &slot = slots_[static_cast<size_t>(i)];
        if (!slot.frame)
            continue;
        const int64_t distance = std::abs(now_->time - slot.time);
        if (distance < nearest && origin_at(slot, centre) == Origin::seen) {
            nearest = distance;
            best = {static_cast<int8_t>(i), Origin::seen, 0, 0, static_cast<int32_t>(slot.time)};
        }
    }
    return best;
}

void Memory::origins_along(const Slot &slot, int row, int first, int last, Lines &lines) const {
    slot.field.row(centre_of(first, row).x(), centre_of(first, row).y(), 2, last - first,
                   lines.dx.data() + first, lines.dy.data() + first);
    for (int column = first; column < last; column++) {
        const auto at = static_cast<size_t>(column);
        const Point centre = centre_of(column, row);
        const int x = block_of(centre.x() + lines.dx[at]);
        const int y = block_of(centre.y() + lines.dy[at]);
        const bool inside = x >= 0 && y >= 0 && x < columns_ && y < rows_;
        lines.origin[at] = inside ? slot.frame->origins(y)[x] : Origin::unknown;
    }
}

void Memory::inherit(int row, const Box &reach, const Field &back, Lines &lines) const {
    back.row(centre_of(reach.x0, row).x(), centre_of(reach.x0, row).y(), 2, reach.width(),
             lines.dx.data() + reach.x0, lines.dy.data() + reach.x0);
    for (int column = reach.x0; column < reach.x1; column++) {
        const auto at = static_cast<size_t>(column);
        const Point centre = centre_of(column, row);
        const int x = block_of(centre.x() + lines.dx[at]);
        const int y = block_of(centre.y() + lines.dy[at]);
        const bool inside = x >= 0 && y >= 0 && x < columns_ && y < rows_;
        lines.reference[at] = inside ? before_[static_cast<size_t>(y) * columns_ + x] : Reference{};
        lines.there[at] = inside ? previous_->origins(y)[x] : Origin::unknown;
    }
    // The slot may have it in a hole by now: labels move by whole blocks, fields do not.
    for (int column = reach.x0; column < reach.x1;) {
        const int first = column++;
        const int8_t slot = lines.reference[static_cast<size_t>(first)].slot;
        while (column < reach.x1 && lines.reference[static_cast<size_t>(column)].slot == slot)
            column++;
        if (slot < 0)
            continue;
        origins_along(slots_[static_cast<size_t>(slot)], row, first, column, lines);
        for (int i = first; i < column; i++)
            if (lines.origin[static_cast<size_t>(i)] == Origin::unknown)
                lines.reference[static_cast<size_t>(i)] = {};
    }
}

void Memory::advance_row(int row, const Box &reach, const Field &back, const std::vector<int> &recent,
                         Lines &lines) {
    inherit(row, reach, back, lines);
    const Origin *here = now_->origins(row);
    for (int column = reach.x0; column < reach.x1; column++) {
        Reference reference = lines.reference[static_cast<size_t>(column)];
        const Origin there = lines.there[static_cast<size_t>(column)];
        if (here[column] == Origin::seen) { // a mask that flickers must not make the object background
            if (reference.origin == Origin::seen && reference.visible < kLinger) {
                reference.visible++;
                entry(column, row) = reference;
            }
            continue;
        }
        const bool lingers = reference.origin == Origin::seen && reference.visible > 0;
        reference.visible = 0;
        if (there == Origin::seen && !lingers) {
            if (const Reference better = fresh(centre_of(column, row), Origin::seen, recent);
                better.slot >= 0)
                reference = better;
        } else if (there == Origin::skirt && reference.origin < Origin::skirt) {
            if (const Reference better = fresh(centre_of(column, row), Origin::skirt, recent);
                better.slot >= 0)
                reference = better;
        }
        if (reference.slot < 0)
            reference = find(centre_of(column, row));
        entry(column, row) = reference;
    }
}

void Memory::count() {
    for (Slot &slot : slots_)
        slot.uses = 0;
    unknown_ = painted_ = remembered_ = blocks_ = 0;
    Box used;
    for (int row = region_.y0; row < region_.y1; row++) {
        const Origin *here = now_->origins(row);
        for (int column = region_.x0; column < region_.x1; column++) {
            const Reference &reference = at(column, row);
            if (here[column] == Origin::unknown) {
                blocks_++;
                remembered_ += reference.origin > Origin::painted;
            }
            if (reference.slot >= 0) {
                slots_[static_cast<size_t>(reference.slot)].uses++;
                painted_ += reference.origin == Origin::painted;
            } else {
                unknown_ += here[column] == Origin::unknown;
                if (here[column] == Origin::seen)
                    continue;
            }
            used.include(column, row);
        }
    }
    region_ = used;
    for (Slot &slot : slots_)
        if (slot.uses == 0)
            slot.frame.reset();
}

bool Memory::look(const Field &way, const FramePtr &frame, int slot) {
    std::atomic<bool> open{false};
    threads_.parallel_for(hole_.y0, hole_.y1, kRows, [&](int first, int last) {
        for (int row = first; row < last; row++)
            for (int column = hole_.x0; column < hole_.x1; column++) {
                Reference &reference = entry(column, row);
                if (now_->origins(row)[column] == Origin::seen || reference.origin > Origin::painted)
                    continue;
                const Point centre = centre_of(column, row);
                const Point to = centre + way.at(centre);
                const int x = block_of(to.x());
                const int y = block_of(to.y());
                if (x >= 0 && y >= 0 && x < columns_ && y < rows_ && frame->origins(y)[x] == Origin::seen)
                    reference = {static_cast<int8_t>(slot), Origin::seen, 0, 0,
                                 static_cast<int32_t>(frame->time)};
                else
                    open = true;
            }
    });
    return open;
}

void Memory::look_ahead(std::span<const Ahead> later) {
    if (later.empty() || unknown_ + painted_ == 0)
        return;
    Field way(shape_);
    for (size_t k = 1; k <= later.size(); k++) {
        const Ahead &ahead = later[k - 1];
        way = ahead.forward->after(way);
        if (k < later.size() &&
            std::find(kSchedule.begin(), kSchedule.end(), static_cast<int>(k)) == kSchedule.end())
            continue;
        int slot = -1;
        for (int i = 0; i < kSlots; i++)
            if (slots_[static_cast<size_t>(i)].frame == ahead.frame)
                slot = i;
        if (slot < 0) {
            if (free_slots() < kReserve)
                break;
            slot = free_slot();
            place(slot, ahead.frame, way, 0);
        }
        if (!look(way, ahead.frame, slot))
            break;
    }
    count();
}

void Memory::tidy() {
    std::vector<LightTask> tasks;
    for (int i = 0; i < kSlots; i++) {
        const Slot &slot = slots_[static_cast<size_t>(i)];
        if (!slot.frame)
            continue;
        // Each slot's turn comes at every other picture: light changes slowly, or all at once, which the
        // step from the picture before tells.
        const bool turn = slot.time == now_->time - 1 || (now_->time + i) % 2 == 0 || slot.time >= now_->time;
        tasks.push_back({i, {slot.frame.get(), &slot.field}, turn});
    }
    ops_.match_lights(*now_, previous_.get(), back_, tasks);
}

void Memory::describe() {
    drawn_.resize(hole_);
    for (int row = hole_.y0; row < hole_.y1; row++) {
        const Origin *here = now_->origins(row);
        uint8_t *to = drawn_.row(row);
        for (int column = hole_.x0; column < hole_.x1; column++, to++) {
            const uint8_t kind = here[column] == Origin::unknown ? Blocks::kHole : Blocks::kSkirt;
            *to = here[column] == Origin::seen
                      ? uint8_t{0}
                      : static_cast<uint8_t>(kind | static_cast<uint8_t>(at(column, row).slot + 1));
        }
    }
}

void Memory::draw(Frame &canvas) {
    describe();
    std::array<Source, kSlots> sources;
    for (size_t i = 0; i < kSlots; i++)
        sources[i] = {slots_[i].frame.get(), &slots_[i].field};
    ops_.draw(drawn_, sources, canvas);
}

void Memory::overlay(const Frame &canvas, Frame &picture) const {
    ops_.overlay(drawn_, canvas, picture);
}

void Memory::adopt(const FramePtr &picture) {
    const int slot = free_slot();
    if (slot < 0)
        return;
    picture->time = now_->time;
    place(slot, picture, Field(shape_), 0);
    for (int row = hole_.y0; row < hole_.y1; row++) {
        const Origin *here = now_->origins(row);
        Origin *to = picture->origins(row);
        for (int column = hole_.x0; column < hole_.x1; column++) {
            if (here[column] == Origin::seen)
                continue;
            Reference &reference = entry(column, row);
            if (reference.slot < 0)
                reference = {static_cast<int8_t>(slot),
                             here[column] == Origin::unknown ? Origin::painted : Origin::skirt, 0, 0,
                             static_cast<int32_t>(now_->time)};
            to[column] = reference.origin;
        }
    }
    count();
}

void Memory::gather(const Frame &canvas) {
    std::vector<int> chosen;
    for (int generation = 0; generation <= generations(); generation++) {
        std::vector<int> of;
        for (int i = 0; i < kSlots; i++)
            if (const Slot &slot = slots_[static_cast<size_t>(i)];
                slot.frame && slot.generation == generation)
                of.push_back(i);
        if (of.size() > chosen.size())
            chosen = std::move(of);
    }
    if (chosen.size() < 2)
        return;
    std::sort(chosen.begin(), chosen.end(), [&](int a, int b) {
        return slots_[static_cast<size_t>(a)].time < slots_[static_cast<size_t>(b)].time;
    });
    chosen.resize(std::max<size_t>(chosen.size() / 2, 2));
    const int generation = slots_[static_cast<size_t>(chosen[0])].generation + 1;

    const FramePtr picture = pool_.take();
    ops_.copy(*now_, *picture);
    for (int row = hole_.y0; row < hole_.y1; row++) {
        const Origin *here = now_->origins(row);
        for (int column = hole_.x0; column < hole_.x1; column++)
            if (here[column] != Origin::seen && at(column, row).slot >= 0)
                picture->origins(row)[column] = at(column, row).origin;
    }
    overlay(canvas, *picture);
    ops_.pad(*picture);
    uint32_t gone = 0; // a bit a slot
    for (const int i : chosen) {
        gone |= 1U << i;
        slots_[static_cast<size_t>(i)].frame.reset();
    }
    const int slot = free_slot();
    place(slot, picture, Field(shape_), generation);
    for (int row = region_.y0; row < region_.y1; row++) {
        const Origin *here = now_->origins(row);
        for (int column = region_.x0; column < region_.x1; column++) {
            Reference &reference = entry(column, row);
            if (reference.slot < 0 || !(gone >> reference.slot & 1))
                continue;
            // What is visible now was not drawn.
            if (here[column] == Origin::seen)
                reference = {};
            else
                reference.slot = static_cast<int8_t>(slot);
        }
    }
    count();
}

void Memory::make_room(const Frame &canvas) {
    while (free_slots() < kReserve) {
        const int before = slots_used();
        gather(canvas);
        if (slots_used() >= before)
            break;
    }
}

} // namespace clv::mesh
