// SPDX-License-Identifier: BSD-2-Clause
#include "core/tiles.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "core/checks.h"
#include "core/error.h"

namespace clv {
namespace {

/// A number of 1 to kMaxSize that is all of `text`, else 0.
int size_from(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() && value >= 1 && value <= kMaxSize ? value
                                                                                                       : 0;
}

} // namespace

TileWish read_tile_wish(const char *tile, int overlap) {
    const std::string text = tile ? tile : "auto";
    if (overlap < -1 || overlap > kMaxSize)
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "overlap=" + std::to_string(overlap) + " is not in 0.." + std::to_string(kMaxSize) +
                        ": it is a number of samples, or -1 for what the net needs");
    TileWish wish;
    wish.overlap = overlap;
    if (text == "auto")
        wish.kind = TileWish::Kind::automatic;
    else if (text != "none") {
        const size_t by = text.find('x');
        wish.kind = TileWish::Kind::fixed;
        if (by != std::string::npos) {
            wish.width = size_from(std::string_view(text).substr(0, by));
            wish.height = size_from(std::string_view(text).substr(by + 1));
        }
        if (!wish.width || !wish.height)
            throw Error(CLV_ERR_INVALID_ARGUMENT, "tile=" + text +
                                                      " is not auto, none or WIDTHxHEIGHT in samples of the "
                                                      "input, each of 1.." +
                                                      std::to_string(kMaxSize) + ", such as tile=512x512");
    }
    return wish;
}

int64_t fitting_tile(int64_t length, int64_t wanted, int64_t alignment) {
    if (wanted >= length)
        return length;
    return length - (length - wanted + alignment - 1) / alignment * alignment;
}

std::vector<TileSpan> cut(int64_t length, int64_t tile, int64_t overlap, int64_t alignment) {
    if (tile >= length)
        return {{0, 0, length}};
    const int64_t step = (tile - 2 * overlap) / alignment * alignment;
    if (tile < 2 * overlap + alignment)
        throw Error(CLV_ERR_INVALID_ARGUMENT, "a tile of " + std::to_string(tile) +
                                                  " positions has no room between two overlaps of " +
                                                  std::to_string(overlap));
    std::vector<TileSpan> spans;
    for (int64_t start = 0;; start += step) {
        start = std::min(start, length - tile);
        // In the middle of what the two cover, which is at least `overlap` from the edge of either.
        const int64_t first = spans.empty() ? 0 : (start + spans.back().start + tile) / 2;
        if (!spans.empty())
            spans.back().last = first;
        spans.push_back({start, first, length});
        if (start == length - tile)
            return spans;
    }
}

TilePlan plan_tiles(const TensorShape &input, const TensorShape &tile, int64_t overlap, int64_t alignment) {
    return {input, tile, overlap, cut(input.height, tile.height, overlap, alignment),
            cut(input.width, tile.width, overlap, alignment)};
}

std::string TilePlan::text() const {
    return std::to_string(count()) + " tiles of " + std::to_string(tile.width) + "x" +
           std::to_string(tile.height) + " positions";
}

} // namespace clv
