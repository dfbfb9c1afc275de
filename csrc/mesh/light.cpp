// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/light.h"

#include <algorithm>
#include <cmath>

namespace clv::mesh {
namespace {

constexpr int kSamples = 600;        ///< of the picture that its light is told from, about
constexpr float kDeadZone = 0.4F;    ///< change in codes of 8 bit that is none
constexpr double kSignificant = 4;   ///< errors of the fit that a change must exceed
constexpr float kFlat = 1.0F;        ///< spread in codes of 8 bit that determines no gain
constexpr float kSkirtScale = 10.0F; ///< difference in codes of 8 bit at which it begins not to be light
constexpr float kSkirtLimit = 32.0F; ///< ... and beyond which it is certainly something else
constexpr float kPast = 0.5F;        ///< share of the membrane before

struct Pair {
    float past;
    float now;
};

struct Moments {
    double mean_past = 0;
    double mean_now = 0;
    double spread_past = 0;
    double spread_now = 0;
};

Moments moments(const std::vector<Pair> &pairs) {
    Moments m;
    const auto n = static_cast<double>(pairs.size());
    for (const Pair &pair : pairs) {
        m.mean_past += pair.past;
        m.mean_now += pair.now;
    }
    m.mean_past /= n;
    m.mean_now /= n;
    for (const Pair &pair : pairs) {
        m.spread_past += (pair.past - m.mean_past) * (pair.past - m.mean_past);
        m.spread_now += (pair.now - m.mean_now) * (pair.now - m.mean_now);
    }
    m.spread_past = std::sqrt(m.spread_past / n);
    m.spread_now = std::sqrt(m.spread_now / n);
    return m;
}

Light fit(const std::vector<Pair> &pairs, float unit) {
    const Moments m = moments(pairs);
    Light light;
    if (m.spread_past > kFlat * unit)
        light.gain = static_cast<float>(std::clamp(m.spread_now / m.spread_past, 0.1, 10.0));
    light.offset = static_cast<float>(m.mean_now - light.gain * m.mean_past);
    return light;
}

/// Fits, leaves out what does not fit, fits again.
Light robust_fit(std::vector<Pair> &pairs, float unit) {
    std::vector<float> errors;
    // Medians first: a moving thing that no mask covers must not pull the light.
    errors.reserve(pairs.size());
    for (const Pair &pair : pairs)
        errors.push_back(pair.now - pair.past);
    const auto middle = errors.begin() + static_cast<ptrdiff_t>(errors.size() / 2);
    std::nth_element(errors.begin(), middle, errors.end());
    Light light{1, *middle};
    double error = 0; // of the fit, standard deviation
    for (int round = 0; round < 3 && pairs.size() >= kEnoughPlaces; round++) {
        errors.clear();
        for (const Pair &pair : pairs)
            errors.push_back(std::abs(pair.now - (light.gain * pair.past + light.offset)));
        std::vector<float> sorted = errors;
        const auto at = sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2);
        std::nth_element(sorted.begin(), at, sorted.end());
        const float limit = 4 * *at + 2 * unit;
        std::vector<Pair> kept;
        kept.reserve(pairs.size());
        for (size_t i = 0; i < pairs.size(); i++)
            if (errors[i] <= limit)
                kept.push_back(pairs[i]);
        if (kept.size() < kEnoughPlaces)
            break;
        light = fit(kept, unit);
        error = 0;
        for (const Pair &pair : kept) {
            const double left = pair.now - (light.gain * pair.past + light.offset);
            error += left * left;
        }
        error = std::sqrt(error) / static_cast<double>(kept.size());
    }
    const double dead_zone = std::max<double>(kDeadZone * unit, kSignificant * error);
    const Moments m = moments(pairs);
    for (const double at : {m.mean_past - 2 * m.spread_past, m.mean_past + 2 * m.spread_past})
        if (std::abs(light.gain * at + light.offset - at) > dead_zone)
            return light;
    return {};
}

int lattice_of(const Shape &shape) {
    return std::max(1, static_cast<int>(std::sqrt(static_cast<double>(shape.blocks()) / kSamples)));
}

template <typename Sample>
void collect(const Frame &past, const Frame &now, const std::vector<LightPlace> &places,
             std::array<std::vector<Pair>, 3> &pairs) {
    for (size_t i = 0; i < 3; i++) {
        const auto plane = static_cast<int>(i);
        const float share = plane == 0 ? 1 : 0.5F;
        pairs[i].reserve(places.size());
        for (const LightPlace &place : places) {
            const int x = plane == 0 ? 2 * place.column : place.column;
            const int y = plane == 0 ? 2 * place.row : place.row;
            pairs[i].push_back({sample_at<Sample>(past, plane, x, y, place.way * share),
                                static_cast<float>(now.row<Sample>(plane, y)[x])});
        }
    }
}

/// Sum of now - canvas over a block of luma.
template <typename Sample>
float luma_difference(const Frame &canvas, const Frame &now, int column, int row) {
    const Shape &shape = now.shape();
    float sum = 0;
    int count = 0;
    for (int y = 2 * row; y < std::min(2 * row + 2, shape.height); y++)
        for (int x = 2 * column; x < std::min(2 * column + 2, shape.width); x++, count++)
            sum += static_cast<float>(now.row<Sample>(0, y)[x]) -
                   static_cast<float>(canvas.row<Sample>(0, y)[x]);
    return sum / static_cast<float>(count);
}

template <typename Sample>
std::array<float, 3> differences(const Frame &canvas, const Frame &now, int column, int row) {
    std::array<float, 3> result{luma_difference<Sample>(canvas, now, column, row)};
    for (int plane = 1; plane < 3; plane++)
        result[static_cast<size_t>(plane)] = static_cast<float>(now.row<Sample>(plane, row)[column]) -
                                             static_cast<float>(canvas.row<Sample>(plane, row)[column]);
    return result;
}

} // namespace

Lights chained(const Lights &first, const Lights &second) {
    Lights result;
    for (size_t plane = 0; plane < 3; plane++)
        result[plane] = {first[plane].gain * second[plane].gain,
                         first[plane].offset * second[plane].gain + second[plane].offset};
    return result;
}

void find_light_places(const Frame &past, const Field &field, const Frame &now,
                       std::vector<LightPlace> &places) {
    const Shape &shape = now.shape();
    const int lattice = lattice_of(shape);
    places.clear();
    for (int row = lattice / 2; row < shape.block_rows(); row += lattice) {
        const Origin *here = now.origins(row);
        for (int column = lattice / 2; column < shape.block_columns(); column += lattice) {
            if (here[column] != Origin::seen)
                continue;
            const Point at(2 * static_cast<float>(column) + 0.5F, 2 * static_cast<float>(row) + 0.5F);
            const Point way = field.at(at);
            const Point from = at + way;
            const int x = floor_of(from.x() * 0.5F + 0.25F);
            const int y = floor_of(from.y() * 0.5F + 0.25F);
            if (x >= 0 && y >= 0 && x < shape.block_columns() && y < shape.block_rows() &&
                past.origins(y)[x] == Origin::seen)
                places.push_back({way, column, row});
        }
    }
}

size_t most_light_places(const Shape &shape) {
    const int lattice = lattice_of(shape);
    const auto along = [lattice](int size) { return static_cast<size_t>((size + lattice - 1) / lattice); };
    return along(shape.block_columns()) * along(shape.block_rows());
}

bool match_lights(const Frame &past, const Field &field, const Frame &now, Lights &lights) {
    const Shape &shape = now.shape();
    std::vector<LightPlace> places;
    places.reserve(most_light_places(shape));
    find_light_places(past, field, now, places);
    if (places.size() < kEnoughPlaces)
        return false;
    std::array<std::vector<Pair>, 3> pairs;
    if (shape.wide())
        collect<uint16_t>(past, now, places, pairs);
    else
        collect<uint8_t>(past, now, places, pairs);
    for (size_t plane = 0; plane < 3; plane++)
        lights[plane] = robust_fit(pairs[plane], shape.unit());
    return true;
}

Membrane::Membrane(const Shape &shape)
    : shape_(shape), columns_((shape.block_columns() + kCell - 1) / kCell),
      rows_((shape.block_rows() + kCell - 1) / kCell) {
    const size_t cells = static_cast<size_t>(columns_) * static_cast<size_t>(rows_);
    for (auto *list : {&sums_, &weights_, &surface_, &before_})
        for (auto &plane : *list)
            plane.assign(cells, 0.F);
}

void Membrane::reset() {
    warm_ = false;
    for (auto &plane : surface_)
        std::fill(plane.begin(), plane.end(), 0.F);
}

void Membrane::update(const Blocks &blocks, const Frame &canvas, const Frame &now, const Field &back) {
    for (auto *list : {&sums_, &weights_})
        for (auto &plane : *list)
            std::fill(plane.begin(), plane.end(), 0.F);
    const Box &box = blocks.box();
    for (int row = box.y0; row < box.y1; row++)
        for (int column = box.x0; column < box.x1; column++)
            if (Blocks::comparable(blocks.row(row)[column - box.x0]))
                add_block(canvas, now, column, row);
    spread(box, back);
}

void Membrane::add_block(const Frame &canvas, const Frame &now, int column, int row) {
    const auto difference = shape_.wide() ? differences<uint16_t>(canvas, now, column, row)
                                          : differences<uint8_t>(canvas, now, column, row);
    const size_t cell = static_cast<size_t>(row / kCell) * columns_ + column / kCell;
    for (size_t plane = 0; plane < 3; plane++) {
        const float size = std::abs(difference[plane]) / shape_.unit();
        if (size > kSkirtLimit)
            continue;
        const float ratio = size / kSkirtScale;
        const float weight = 1 / (1 + ratio * ratio);
        sums_[plane][cell] += weight * difference[plane];
        weights_[plane][cell] += weight;
    }
}

void Membrane::spread(const Box &region, const Field &back) {
    surface_.swap(before_);
    const Box last = cells_;
    cells_ = Box{region.x0 / kCell, region.y0 / kCell, (region.x1 + kCell - 1) / kCell,
                 (region.y1 + kCell - 1) / kCell}
                 .grown(1, columns_, rows_);
    for (auto &plane : surface_)
        std::fill(plane.begin(), plane.end(), 0.F);
    if (cells_.empty()) {
        warm_ = false;
        return;
    }
    const int width = cells_.width();
    constexpr float kFull = 0.5F * kCell * kCell; // a cell with half of its blocks counts fully
    for (size_t plane = 0; plane < 3; plane++) {
        pyramid_.resize(width, cells_.height());
        for (int y = cells_.y0; y < cells_.y1; y++)
            for (int x = cells_.x0; x < cells_.x1; x++) {
                const size_t cell = static_cast<size_t>(y) * columns_ + x;
                const size_t to = static_cast<size_t>(y - cells_.y0) * width + (x - cells_.x0);
                const float weight = weights_[plane][cell];
                pyramid_.values()[to] = weight > 0 ? sums_[plane][cell] / weight : 0;
                pyramid_.weights()[to] = std::min(weight / kFull, 1.F);
            }
        pyramid_.fill(0);
        for (int y = cells_.y0; y < cells_.y1; y++)
            for (int x = cells_.x0; x < cells_.x1; x++) {
                float value = pyramid_.values()[static_cast<size_t>(y - cells_.y0) * width + (x - cells_.x0)];
                if (warm_) {
                    constexpr float kSide = 2.F * kCell;
                    const Point at((static_cast<float>(x) + 0.5F) * kSide,
                                   (static_cast<float>(y) + 0.5F) * kSide);
                    const Point from = (at + back.at(at)) / kSide;
                    const int px = floor_of(from.x());
                    const int py = floor_of(from.y());
                    if (px >= last.x0 && px < last.x1 && py >= last.y0 && py < last.y1)
                        value += kPast * (before_[plane][static_cast<size_t>(py) * columns_ + px] - value);
                }
                surface_[plane][static_cast<size_t>(y) * columns_ + x] = value;
            }
    }
    warm_ = true;
}

void Membrane::row(int plane, int y, int first, int last, float *to) const {
    // Cell centres, in samples of the plane: (cell + 0.5) * side - 0.5.
    const int side = plane == 0 ? 2 * kCell : kCell;
    const float step = 1 / static_cast<float>(side);
    const float v = (static_cast<float>(y) + 0.5F) * step - 0.5F;
    const int row0 = std::clamp(static_cast<int>(std::floor(v)), 0, rows_ - 1);
    const int row1 = std::min(row0 + 1, rows_ - 1);
    const float t = std::clamp(v - static_cast<float>(row0), 0.F, 1.F);
    const float *upper = &surface_[static_cast<size_t>(plane)][static_cast<size_t>(row0) * columns_];
    const float *lower = &surface_[static_cast<size_t>(plane)][static_cast<size_t>(row1) * columns_];
    // From centre to centre.
    for (int x = first; x < last;) {
        const int cell = (x + side / 2) / side - 1; // the one whose centre is not right of x
        const int end = std::min(last, (cell + 1) * side + side / 2);
        const int column0 = std::clamp(cell, 0, columns_ - 1);
        const int column1 = std::clamp(cell + 1, 0, columns_ - 1);
        const float left = upper[column0] + t * (lower[column0] - upper[column0]);
        const float right = upper[column1] + t * (lower[column1] - upper[column1]);
        const float slope = (right - left) * step;
        const float offset = 0.5F - (static_cast<float>(cell) + 0.5F) * static_cast<float>(side);
        for (; x < end; x++)
            to[x - first] = left + slope * (static_cast<float>(x) + offset);
    }
}

} // namespace clv::mesh
