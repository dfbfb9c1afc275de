// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/hole.h"

#include <algorithm>
#include <cstring>

namespace clv::mesh {
namespace {

constexpr uint8_t kHoleFrom = 128;

/// Row of a mask -> 0 or 1 for each of `width` samples.
void read_mask_row(const uint8_t *mask, int mask_width, int width, uint8_t *to) {
    if (mask_width == width) {
        for (int x = 0; x < width; x++)
            to[x] = mask[x] >= kHoleFrom;
        return;
    }
    for (int x = 0; x < width; x++) // the centre of x, in the mask
        to[x] = mask[(2 * int64_t{x} + 1) * mask_width / (2 * int64_t{width})] >= kHoleFrom;
}

} // namespace

Hole::Hole(const Shape &shape)
    : luma(static_cast<size_t>(shape.width) * static_cast<size_t>(shape.height)),
      scratch_(std::max(luma.size(), 3 * shape.blocks())) {}

void dilate(uint8_t *bytes, int width, int height, int radius, Box &box, uint8_t *scratch) {
    if (box.empty() || radius <= 0)
        return;
    const Box to = box.grown(radius, width, height);
    // Along rows: from run to run.
    for (int y = box.y0; y < box.y1; y++) {
        const uint8_t *from = bytes + static_cast<size_t>(y) * width;
        uint8_t *row = scratch + static_cast<size_t>(y) * width;
        std::memset(row + to.x0, 0, static_cast<size_t>(to.width()));
        for (int x = box.x0; x < box.x1;) {
            const void *found = std::memchr(from + x, 1, static_cast<size_t>(box.x1 - x));
            if (!found)
                break;
            x = static_cast<int>(static_cast<const uint8_t *>(found) - from);
            found = std::memchr(from + x, 0, static_cast<size_t>(box.x1 - x));
            const int end = found ? static_cast<int>(static_cast<const uint8_t *>(found) - from) : box.x1;
            const int first = std::max(x - radius, 0);
            std::memset(row + first, 1, static_cast<size_t>(std::min(end + radius, width) - first));
            x = end;
        }
    }
    // Along columns, all of them at once: how many more rows each stays on, downwards, then upwards.
    std::vector<uint16_t> left(static_cast<size_t>(to.width()), 0);
    const auto start = static_cast<uint16_t>(radius + 1);
    const auto step = [&](int y, bool again) {
        const uint8_t *from = scratch + static_cast<size_t>(y) * width + to.x0;
        uint8_t *out = bytes + static_cast<size_t>(y) * width + to.x0;
        const bool inside = y >= box.y0 && y < box.y1;
        for (int x = 0; x < to.width(); x++) {
            const uint16_t less = left[x] ? static_cast<uint16_t>(left[x] - 1) : uint16_t{0};
            left[x] = inside && from[x] ? start : less;
            out[x] = static_cast<uint8_t>((left[x] > 0) | (again ? out[x] : 0));
        }
    };
    for (int y = to.y0; y < to.y1; y++)
        step(y, false);
    std::fill(left.begin(), left.end(), uint16_t{0});
    for (int y = to.y1 - 1; y >= to.y0; y--)
        step(y, true);
    box = to;
}

void Hole::read(const clv_mask *mask, int dilate_by, int skirt, Frame &frame) {
    const Shape &shape = frame.shape();
    const int width = shape.width;
    const int height = shape.height;
    const int columns = shape.block_columns();
    box = {};
    region = {};
    samples = 0;
    std::fill(luma.begin(), luma.end(), uint8_t{0});
    for (int y = 0; mask && y < height; y++) {
        uint8_t *row = &luma[static_cast<size_t>(y) * width];
        const int64_t from = (2 * int64_t{y} + 1) * mask->height / (2 * int64_t{height});
        read_mask_row(mask->data + from * mask->stride, mask->width, width, row);
        const auto *first = static_cast<const uint8_t *>(std::memchr(row, 1, static_cast<size_t>(width)));
        if (!first)
            continue;
        int last = width - 1;
        while (!row[last])
            last--;
        box.include(static_cast<int>(first - row), y);
        box.include(last, y);
    }
    dilate(luma.data(), width, height, dilate_by, box, scratch_.data());

    // Blocks, in the scratch space: the hole, then hole and skirt.
    uint8_t *blocks = scratch_.data() + shape.blocks();
    std::memset(blocks, 0, shape.blocks());
    for (int y = box.y0; y < box.y1; y++) {
        const uint8_t *row = &luma[static_cast<size_t>(y) * width];
        uint8_t *to = blocks + static_cast<size_t>(y / 2) * columns;
        for (int x = box.x0; x < box.x1; x++) {
            to[x / 2] |= row[x];
            samples += row[x];
        }
    }
    if (!box.empty())
        region = {box.x0 / 2, box.y0 / 2, (box.x1 + 1) / 2, (box.y1 + 1) / 2};
    const Box holes = region;
    for (int y = 0; y < shape.block_rows(); y++)
        std::fill_n(frame.origins(y), columns, Origin::seen);
    uint8_t *around = blocks - shape.blocks();
    std::memcpy(around, blocks, shape.blocks());
    dilate(around, columns, shape.block_rows(), skirt, region, blocks + shape.blocks());
    for (int y = region.y0; y < region.y1; y++) {
        Origin *to = frame.origins(y);
        const size_t at = static_cast<size_t>(y) * columns;
        const bool inside = y >= holes.y0 && y < holes.y1;
        for (int x = region.x0; x < region.x1; x++)
            if (inside && blocks[at + x])
                to[x] = Origin::unknown;
            else if (around[at + x])
                to[x] = Origin::skirt;
    }
}

void distance_inside(const uint8_t *hole, int width, int height, const Box &box, int limit, uint8_t *distance,
                     std::vector<uint8_t> &scratch) {
    // Each sample counts how often the hole can be shrunk before it is gone. Rows of the scratch space have a
    // sample more on both sides: the hole's when that lies beyond the picture, else not.
    const int columns = box.width();
    const int rows = box.height();
    const size_t stride = static_cast<size_t>(columns) + 2;
    scratch.assign(2 * stride * (static_cast<size_t>(rows) + 2), 0);
    uint8_t *now = scratch.data();
    uint8_t *narrow = now + stride * (static_cast<size_t>(rows) + 2); // least of three along rows
    const auto row_of = [&](uint8_t *plane, int y) {
        return plane + (static_cast<size_t>(y) + 1) * stride + 1;
    };
    for (int y = 0; y < rows; y++) {
        std::memcpy(row_of(now, y), hole + static_cast<size_t>(box.y0 + y) * width + box.x0,
                    static_cast<size_t>(columns));
        std::memcpy(distance + static_cast<size_t>(y) * columns, row_of(now, y),
                    static_cast<size_t>(columns));
    }
    for (int step = 1; step < limit; step++) {
        for (int y = 0; y < rows; y++) {
            uint8_t *from = row_of(now, y);
            if (box.x0 == 0)
                from[-1] = from[0];
            if (box.x1 == width)
                from[columns] = from[columns - 1];
            uint8_t *to = row_of(narrow, y);
            for (int x = 0; x < columns; x++)
                to[x] = static_cast<uint8_t>(from[x - 1] & from[x] & from[x + 1]);
        }
        if (box.y0 == 0)
            std::memcpy(row_of(narrow, -1), row_of(narrow, 0), static_cast<size_t>(columns));
        if (box.y1 == height)
            std::memcpy(row_of(narrow, rows), row_of(narrow, rows - 1), static_cast<size_t>(columns));
        for (int y = 0; y < rows; y++) {
            const uint8_t *above = row_of(narrow, y - 1);
            const uint8_t *here = row_of(narrow, y);
            const uint8_t *below = row_of(narrow, y + 1);
            uint8_t *to = row_of(now, y);
            uint8_t *sum = distance + static_cast<size_t>(y) * columns;
            for (int x = 0; x < columns; x++) {
                to[x] = static_cast<uint8_t>(above[x] & here[x] & below[x]);
                sum[x] = static_cast<uint8_t>(sum[x] + to[x]);
            }
        }
    }
}

} // namespace clv::mesh
