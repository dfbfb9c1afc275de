// SPDX-License-Identifier: BSD-2-Clause
// Cutting a picture into tiles, in positions of the net's input tensor: pure arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/backend.h"

namespace clv {

/// clv_session_params.tile and .overlap, read.
struct TileWish {
    enum class Kind { automatic, none, fixed };
    Kind kind = Kind::none;
    int width = 0;    ///< fixed: luma samples of the input
    int height = 0;   ///< likewise
    int overlap = -1; ///< luma samples of the input; -1: what the net needs
};

/// `tile` is "auto", "none" or "WxH"; null is "auto". Throws Error(CLV_ERR_INVALID_ARGUMENT).
TileWish read_tile_wish(const char *tile, int overlap);

/// One tile along one axis: it covers [start, start + the tile's length) of the input, and [first, last) of
/// the picture is taken from it.
struct TileSpan {
    int64_t start = 0;
    int64_t first = 0;
    int64_t last = 0;
    bool operator==(const TileSpan &) const = default;
};

/// Tiles along an axis of `length` positions. Every position is taken from exactly one tile, at least
/// `overlap` away from that tile's inner edges (those that are not the picture's); the last tile is shifted
/// inward. All starts are multiples of `alignment`, which asks for (length - tile) % alignment == 0. A tile
/// that is as long as the axis is the only one. Throws Error(CLV_ERR_INVALID_ARGUMENT) when tile < 2 *
/// overlap + alignment and tile < length.
std::vector<TileSpan> cut(int64_t length, int64_t tile, int64_t overlap, int64_t alignment);

/// The longest tile of at most `wanted` positions that cut() takes for an axis of `length` positions.
int64_t fitting_tile(int64_t length, int64_t wanted, int64_t alignment);

/// A whole picture of tiles, all of one shape.
struct TilePlan {
    TensorShape input; ///< of the whole picture
    TensorShape tile;  ///< of one tile, what the net is made for
    int64_t overlap = 0;
    std::vector<TileSpan> rows;
    std::vector<TileSpan> columns;

    size_t count() const { return rows.size() * columns.size(); }
    /// "6 tiles of 512x512 positions", for the log.
    std::string text() const;
};

/// `tile` has the channels of `input` and a size that fitting_tile() gave. Throws as cut().
TilePlan plan_tiles(const TensorShape &input, const TensorShape &tile, int64_t overlap, int64_t alignment);

} // namespace clv
