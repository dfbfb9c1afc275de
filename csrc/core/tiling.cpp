// SPDX-License-Identifier: BSD-2-Clause
#include "core/tiling.h"

#include <algorithm>
#include <numeric>

#include "core/checks.h"
#include "core/error.h"
#include "core/receptive_field.h"

namespace clv {
namespace {

int samples_of_position(clv_layout layout) {
    return layout == CLV_LAYOUT_Y || layout == CLV_LAYOUT_RGB ? 1 : 2;
}

int64_t divided_up(int64_t value, int64_t by) {
    return (value + by - 1) / by;
}

} // namespace

TileRules::TileRules(const Bundle &bundle, const TensorShape &input, const TileWish &wish)
    : model_(bundle.name), input_(input), wish_(wish), samples_(samples_of_position(bundle.layout)) {
    const ReceptiveField field = receptive_field(bundle.onnx, "model " + bundle.path.string());
    whole_ = field.whole;
    alignment_ = std::lcm(field.alignment, divided_up(bundle.multiple_of, samples_));
    least_width_ = divided_up(bundle.min_width, samples_);
    least_height_ = divided_up(bundle.min_height, samples_);
    if (bundle.receptive_field > 0) // the card's is a width
        seen_ = divided_up(bundle.receptive_field, samples_) / 2;
    else if (field.unknown.empty())
        seen_ = field.radius;
    if (wish.overlap >= 0)
        overlap_ = divided_up(wish.overlap, samples_);
    else if (seen_ >= 0)
        overlap_ = seen_;
    else
        throw Error(CLV_ERR_UNSUPPORTED,
                    "how far model " + model_ +
                        " looks around a sample is not known: it has no receptive_field in a card, and " +
                        field.unknown +
                        " cannot be followed in its graph; give overlap=SAMPLES, as many as the net sees to "
                        "each side");
}

TensorShape TileRules::fitting(const TensorShape &most) const {
    return {input_.channels, fitting_tile(input_.height, most.height, alignment_),
            fitting_tile(input_.width, most.width, alignment_)};
}

bool TileRules::large_enough(const TensorShape &tile) const {
    const int64_t room = 2 * overlap_ + alignment_;
    return (tile.width >= input_.width || tile.width >= std::max(room, least_width_)) &&
           (tile.height >= input_.height || tile.height >= std::max(room, least_height_));
}

TilePlan TileRules::fixed(const Log &log) const {
    const TensorShape tile = fitting({input_.channels, wish_.height / samples_, wish_.width / samples_});
    const std::string asked = "tile=" + size_text(wish_.width, wish_.height);
    if (!large_enough(tile)) {
        const int64_t room = (2 * overlap_ + alignment_) * samples_;
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    asked + " is too small for model " + model_ + ": with an overlap of " +
                        std::to_string(overlap_ * samples_) + " samples a tile needs at least " +
                        std::to_string(std::max(room, least_width_ * samples_)) + "x" +
                        std::to_string(std::max(room, least_height_ * samples_)) + ", in multiples of " +
                        std::to_string(alignment_ * samples_));
    }
    TilePlan plan = plan_tiles(input_, tile, overlap_, alignment_);
    if (plan.count() == 1 || !log)
        return plan;
    if (!whole_.empty())
        log(CLV_LOG_WARNING, "model " + model_ + " looks at the whole picture at once (" + whole_ +
                                 "), and with " + asked +
                                 " at each tile by itself: tiles differ from each other, seams may show");
    if (seen_ > overlap_)
        log(CLV_LOG_WARNING, "overlap=" + std::to_string(wish_.overlap) + " is less than the " +
                                 std::to_string(seen_ * samples_) + " samples that model " + model_ +
                                 " sees to each side: seams may show");
    return plan;
}

std::optional<TilePlan> TileRules::within(const TensorShape &most) const {
    const TensorShape tile = fitting(most);
    if (tile.width < 1 || tile.height < 1 || !large_enough(tile))
        return std::nullopt;
    return plan_tiles(input_, tile, overlap_, alignment_);
}

std::optional<TilePlan> TileRules::halved(const TensorShape &tile) const {
    // Two tiles that overlap take the place of one.
    const auto half = [this](int64_t length) { return divided_up(length, 2) + overlap_ + alignment_ - 1; };
    TensorShape wide = tile, tall = tile;
    wide.height = half(tile.height);
    tall.width = half(tile.width);
    const bool first_columns = tile.width >= tile.height; // the other side may have room left
    for (const TensorShape &most : {first_columns ? tall : wide, first_columns ? wide : tall})
        if (auto plan = within(most); plan && plan->tile.width * plan->tile.height < tile.width * tile.height)
            return plan;
    return std::nullopt;
}

std::string TileRules::text(const TilePlan &plan) const {
    return std::to_string(plan.count()) + " tiles of " + std::to_string(plan.tile.width * samples_) + "x" +
           std::to_string(plan.tile.height * samples_) + " samples that overlap by " +
           std::to_string(plan.overlap * samples_);
}

TileRules exact_tile_rules(const Bundle &bundle, const TensorShape &input, const TileWish &wish,
                           clv_status status, const std::string &why, const std::string &instead) {
    const auto made = [&] {
        try {
            return TileRules(bundle, input, wish);
        } catch (const Error &error) {
            throw Error(status, why + "; tiles cannot be made: " + error.what() + ", or " + instead);
        }
    };
    TileRules rules = made();
    if (!rules.whole().empty())
        throw Error(status, why + "; tiles would have seams: model " + bundle.name +
                                " looks at the whole picture at once (" + rules.whole() + "); " + instead +
                                ", or give tile=WIDTHxHEIGHT to have tiles all the same");
    return rules;
}

} // namespace clv
