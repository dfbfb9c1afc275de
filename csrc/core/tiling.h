// SPDX-License-Identifier: BSD-2-Clause
// Whether and how a net is run in tiles: what its card or its graph asks of them, and what the host wants.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/backend.h"
#include "core/model.h"
#include "core/tiles.h"

namespace clv {

using Log = std::function<void(clv_log_level, const std::string &)>;

/// What tiles of one net for one picture must respect; lengths are positions of the net's input tensor.
class TileRules {
public:
    /// Throws Error(CLV_ERR_UNSUPPORTED) when neither `wish` nor the bundle nor its graph tells the overlap.
    TileRules(const Bundle &bundle, const TensorShape &input, const TileWish &wish);

    /// For tile=WxH. Warns by `log` (may be empty) of seams. Throws Error(CLV_ERR_INVALID_ARGUMENT) when such
    /// a tile is too small.
    TilePlan fixed(const Log &log) const;
    /// Tiles no larger than `most`; nothing when such tiles are too small.
    std::optional<TilePlan> within(const TensorShape &most) const;
    /// Two tiles where there is one of the size of `tile`, whose longer side is cut; nothing when they would
    /// be too small.
    std::optional<TilePlan> halved(const TensorShape &tile) const;
    /// "6 tiles of 512x512 samples that overlap by 14", for the log.
    std::string text(const TilePlan &plan) const;
    /// The layer that looks at the whole picture at once, so that tiles have seams; "" when there is none.
    const std::string &whole() const { return whole_; }

private:
    TensorShape fitting(const TensorShape &most) const;
    bool large_enough(const TensorShape &tile) const;

    const std::string model_;
    const TensorShape input_;
    const TileWish wish_;
    const int samples_; ///< luma samples of a position, along each axis
    int64_t alignment_ = 1;
    int64_t overlap_ = 0;
    int64_t seen_ = -1; ///< what the net sees to each side; -1: not known
    int64_t least_width_ = 1;
    int64_t least_height_ = 1;
    std::string whole_; ///< the layer that looks at the whole picture
};

/// For tiles that nobody asked for: they must be exact. Throws Error(`status`) when they would not be, or
/// when their overlap is not known: `why` they are needed is the beginning of the sentence, `instead` what
/// else can be done, such as "take smaller pictures".
TileRules exact_tile_rules(const Bundle &bundle, const TensorShape &input, const TileWish &wish,
                           clv_status status, const std::string &why, const std::string &instead);

} // namespace clv
