// SPDX-License-Identifier: BSD-2-Clause
//
// One picture:
//
//   smooth, halve      pyramid of the reduced luma; where the hole is and how far it reaches
//   scouts             a few features all over the picture, through all levels: the global motion
//   the others         start where that puts them, through the two finest levels; who fails
//                      tries once more through all of them
//   backward           the patch around the new place is sought in the previous picture in the same way
//   tidy up            lost, crowded; patches that no longer fit are taken anew; corners in cells that lack
//   them
//
// Everything that is done to a feature depends on that feature and on the two pictures only, so the number of
// threads changes nothing.

#include "mesh/tracker.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <Eigen/LU>

#include "mesh/corners.h"
#include "mesh/difference.h"
#include "mesh/homography.h"
#include "mesh/luma.h"
#include "mesh/patch.h"
#include "mesh/pyramid.h"

namespace clv::mesh {
namespace {

constexpr int nominal_cells = 16 * 9;
constexpr int widest = 4096;      // reduced samples in a row; see pyramid.cpp
constexpr int scouts_wanted = 64; // features that find the global motion for the others
constexpr int least_scouts = 6;
constexpr int fine_levels = 2; // that suffice when the global motion is known
constexpr int most_per_cell = 8;
constexpr int features_per_piece = 16;
constexpr int rest = 12; // pictures that a cell without new corners is left alone for

constexpr float least_correlation = 0.6F; // of a feature that lives on
constexpr float good_correlation =
    0.92F; // above it a patch is good; below, when it has fallen by `fall`, too old
constexpr float fall = 0.06F;

enum class Fate : uint8_t { lost, followed };

struct Feature {
    Point at = Point::Zero();     ///< reduced samples of the newest picture
    Point before = Point::Zero(); ///< of the picture before it
    Point motion = Point::Zero(); ///< the last one
    uint32_t id = 0;
    int age = 0;
    int patch = 0;
    Distortion distortion{}; ///< since the patch was taken, up to the picture before the newest
    float at_first = -1;     ///< correlation of the first picture after the patch was taken
    float correlation = 0;
    float error = 0;
    Fate fate = Fate::lost;
    bool renew = false;
};

struct CellState {
    int count = 0;
    int wait = 0; ///< pictures
    std::array<int, most_per_cell + 2> features{};
    std::array<Corner, 2 * most_per_cell> corners{};
    int found = 0;
};

} // namespace

struct Tracker::State {
    State(int width, int height, const TrackerOptions &options, pixels::ThreadPool &threads);

    Tracks advance(const GrayView &luma, const GrayView &hole);
    void reset();

    // One picture, in this order.
    void block(const GrayView &hole);
    void follow();
    void scout();
    void keep(Tracks &tracks);
    void renew();
    void find();

    bool track(Feature &feature, const Point &guess, int levels);
    float backward(const Feature &feature, int levels, const Point &guess);
    Point by_global(const Point &at, bool inverse) const;
    Distortion distorted(const Point &at, bool inverse) const;
    bool inside(const Point &at) const;
    int cell_of(const Point &at) const;
    Cell cell_area(int index) const;
    bool crowded(const Point &at, float distance) const;
    void enter(int index);

    pixels::ThreadPool &pool;
    TrackerOptions options;
    Window window;
    int factor; ///< of reduction
    int width, height;
    bool possible;
    int columns, rows, per_cell;
    float distance; ///< between new corners

    std::array<Pyramid, 2> pyramids;
    int newest = 0;
    bool first = true;
    HolePyramid holes;
    std::vector<uint8_t> blocked, scratch;

    std::vector<Feature> features, kept;
    std::vector<CellState> cells;
    std::vector<int> free_patches;
    std::vector<Patch> patches;
    std::vector<int> scouts;
    PatchStore store;
    MotionFitter fitter;
    std::vector<Point> from, to;
    Eigen::Matrix3d global = Eigen::Matrix3d::Identity(); ///< from the previous picture to this one
    Eigen::Matrix3d global_inverse = Eigen::Matrix3d::Identity();
    bool global_known = false;
    uint32_t next_id = 0;

    Difference difference;
    std::vector<uint8_t> no_hole;

    Pyramid &now() { return pyramids[static_cast<std::size_t>(newest)]; }
    Pyramid &then() { return pyramids[static_cast<std::size_t>(1 - newest)]; }
};

namespace {

int columns_for(int width, int height) {
    // As many about square cells as 16x9 has, none above what the corner search can take.
    const double aspect = static_cast<double>(width) / std::max(height, 1);
    const int wanted = static_cast<int>(std::lround(std::sqrt(nominal_cells * aspect)));
    const int most = std::max(width / 16, 1);
    return std::max(std::clamp(wanted, 1, most), (width + most_cell - 1) / most_cell);
}

int rows_for(int columns, int height) {
    const int most = std::max(height / 16, 1);
    const int wanted = static_cast<int>(std::lround(static_cast<double>(nominal_cells) / columns));
    return std::max(std::clamp(wanted, 1, most), (height + most_cell - 1) / most_cell);
}

int features_for(int columns, int rows, int per_cell) {
    return columns * rows * (per_cell + 2);
}

} // namespace

Tracker::State::State(int full_width, int full_height, const TrackerOptions &wanted,
                      pixels::ThreadPool &threads)
    : pool(threads), options(wanted), window(wanted.window),
      factor(mesh::reduction_of(full_width, full_height)), width(reduced_size(full_width, factor)),
      height(reduced_size(full_height, factor)),
      possible(width <= widest && height <= widest && std::min(width, height) >= window.side + 2),
      columns(columns_for(width, height)), rows(rows_for(columns, height)),
      per_cell(std::clamp(wanted.per_cell, 1, most_per_cell)),
      distance(std::max(static_cast<float>(window.half),
                        0.5F * std::sqrt(static_cast<float>(width) * static_cast<float>(height) /
                                         static_cast<float>(columns * rows * per_cell)))),
      store(window, std::clamp(wanted.levels, 1, most_levels),
            possible ? features_for(columns, rows, per_cell) : 0),
      fitter(width, height), difference(width, height) {
    if (possible) {
        for (Pyramid &pyramid : pyramids)
            pyramid.resize(width, height, std::clamp(wanted.levels, 1, most_levels), window.side + 4);
        holes.resize(pyramids[0]);
        const auto most = static_cast<std::size_t>(features_for(columns, rows, per_cell));
        patches.resize(most);
        for (std::vector<Feature> *all : {&features, &kept})
            all->reserve(most);
        for (std::vector<int> *all : {&free_patches, &scouts})
            all->reserve(most);
        from.reserve(most);
        to.reserve(most);
        cells.resize(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows));
    }
    const auto size = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    for (std::vector<uint8_t> *plane : {&blocked, &scratch, &no_hole})
        plane->resize(size);
    reset();
}

void Tracker::State::reset() {
    features.clear();
    free_patches.clear();
    for (int i = static_cast<int>(patches.size()) - 1; i >= 0; i--)
        free_patches.push_back(i);
    for (CellState &cell : cells)
        cell = {};
    first = true;
    difference.reset();
    global_known = false;
}

// A window that reaches into the hole shows it.
void Tracker::State::block(const GrayView &hole) {
    if (holes.empty())
        std::fill(blocked.begin(), blocked.end(), uint8_t{0});
    else
        dilate(hole.data, hole.stride, width, height, window.half + 1, scratch.data(), blocked.data());
}

bool Tracker::State::inside(const Point &at) const {
    const auto margin = static_cast<float>(window.half) - 0.5F;
    return at.x() >= margin && at.y() >= margin && at.x() <= static_cast<float>(width - 1) - margin &&
           at.y() <= static_cast<float>(height - 1) - margin;
}

int Tracker::State::cell_of(const Point &at) const {
    const int x = std::clamp(static_cast<int>(at.x()) * columns / width, 0, columns - 1);
    const int y = std::clamp(static_cast<int>(at.y()) * rows / height, 0, rows - 1);
    return y * columns + x;
}

// The samples that cell_of() puts into a cell and that a window fits around.
Cell Tracker::State::cell_area(int index) const {
    const int column = index % columns, row = index / columns;
    const auto begin = [](int cell, int all, int size) { return (cell * size + all - 1) / all; };
    const int margin = window.half;
    return {std::max(begin(column, columns, width), margin), std::max(begin(row, rows, height), margin),
            std::min(begin(column + 1, columns, width), width - margin),
            std::min(begin(row + 1, rows, height), height - margin)};
}

Point Tracker::State::by_global(const Point &at, bool inverse) const {
    const Eigen::Matrix3d &m = inverse ? global_inverse : global;
    const Eigen::Vector3d moved = m * Eigen::Vector3d(at.x(), at.y(), 1);
    return (moved.head<2>() / moved.z()).cast<float>();
}

// How the global motion changes the neighbourhood of a place: its derivative, less the identity.
Distortion Tracker::State::distorted(const Point &at, bool inverse) const {
    if (!global_known)
        return {};
    const Eigen::Matrix3d &m = inverse ? global_inverse : global;
    const Eigen::Vector3d moved = m * Eigen::Vector3d(at.x(), at.y(), 1);
    const double w = 1 / moved.z(), u = moved.x() * w, v = moved.y() * w;
    return {static_cast<float>((m(0, 0) - u * m(2, 0)) * w - 1),
            static_cast<float>((m(0, 1) - u * m(2, 1)) * w), static_cast<float>((m(1, 0) - v * m(2, 0)) * w),
            static_cast<float>((m(1, 1) - v * m(2, 1)) * w - 1)};
}

// Coarse to fine from `guess`; false when the finest level fails.
bool Tracker::State::track(Feature &feature, const Point &guess, int levels) {
    const Patch &patch = patches[static_cast<std::size_t>(feature.patch)];
    Distortion distortion = distorted(feature.before, false);
    for (std::size_t i = 0; i < distortion.size(); i++)
        distortion[i] += feature.distortion[i];
    float x = guess.x(), y = guess.y();
    for (int level = std::min(levels, now().levels()) - 1; level >= 0; level--) {
        const PatchLevel &of = patch.level[level];
        if (!of.usable) {
            if (level == 0)
                return false;
            continue;
        }
        const Aligned aligned =
            align_patch(window, now()[level], level, of, store.at(feature.patch, level), distortion, x, y);
        if (level == 0) {
            feature.correlation = aligned.correlation;
            if (!aligned.found || aligned.correlation < least_correlation)
                return false;
        }
    }
    const Point at(x, y);
    if (!inside(at))
        return false;
    const auto column = static_cast<int>(std::lround(x)), row = static_cast<int>(std::lround(y));
    if (blocked[static_cast<std::size_t>(row * width + column)])
        return false;
    feature.at = at;
    return true;
}

// How far from where it was the feature comes when what is around it now is sought in the previous picture.
float Tracker::State::backward(const Feature &feature, int levels, const Point &guess) {
    // On the stack: 15 rows of 16 floats, three times.
    alignas(16) float samples[3 * 15 * 16];
    const Distortion distortion = distorted(feature.at, true);
    float x = guess.x(), y = guess.y();
    for (int level = std::min(levels, now().levels()) - 1; level >= 0; level--) {
        PatchLevel patch;
        take_patch(window, now()[level], holes, level, feature.at.x(), feature.at.y(), patch, samples);
        const Aligned aligned =
            patch.usable ? align_patch(window, then()[level], level, patch, samples, distortion, x, y)
                         : Aligned{};
        if (level == 0 && !aligned.found)
            return HUGE_VALF;
    }
    return (Point(x, y) - feature.before).norm();
}

// The global motion, from features all over the picture. The oldest of a cell come first in its list.
void Tracker::State::scout() {
    scouts.clear();
    global_known = false;
    const int all = static_cast<int>(cells.size());
    const int every = std::max((all + scouts_wanted - 1) / scouts_wanted, 1);
    int skipped = 0;
    for (const CellState &cell : cells) {
        if (!cell.count)
            continue;
        if (skipped++ % every == 0)
            scouts.push_back(cell.features[0]);
    }
    const int levels = now().levels();
    pool.parallel_for(0, static_cast<int>(scouts.size()), features_per_piece / 4, [&](int begin, int end) {
        for (int i = begin; i < end; i++) {
            Feature &feature = features[static_cast<std::size_t>(scouts[static_cast<std::size_t>(i)])];
            feature.fate = track(feature, feature.before, levels) ? Fate::followed : Fate::lost;
        }
    });
    from.clear();
    to.clear();
    for (const int index : scouts) {
        const Feature &feature = features[static_cast<std::size_t>(index)];
        if (feature.fate == Fate::lost)
            continue;
        from.push_back(feature.before);
        to.push_back(feature.at);
    }
    MotionLimits limits;
    limits.threshold = 2.0;
    limits.spread = 1.0;
    const MotionFit fit = fitter.fit(from, to, limits);
    global_known = fit.inliers >= least_scouts && 2 * fit.inliers >= static_cast<int>(from.size());
    if (global_known) {
        global = fit.matrix;
        global_inverse = global.inverse();
    }
}

void Tracker::State::follow() {
    for (Feature &feature : features) {
        feature.before = feature.at;
        feature.fate = Fate::lost;
    }
    scout();
    const int all = now().levels();
    const int few = global_known ? std::min(fine_levels, all) : all;
    pool.parallel_for(0, static_cast<int>(features.size()), features_per_piece, [&](int begin, int end) {
        for (int i = begin; i < end; i++) {
            Feature &feature = features[static_cast<std::size_t>(i)];
            const auto checked = [&](int levels) {
                const Point guess = global_known ? by_global(feature.at, true) : feature.before;
                feature.error = backward(feature, levels, guess);
                return feature.error <= options.backward_limit;
            };
            const auto attempt = [&](const Point &guess, int levels) {
                feature.at = feature.before;
                return track(feature, guess, levels) && checked(levels);
            };
            // Scouts were followed before the global motion was known.
            bool good = feature.fate == Fate::followed && track(feature, feature.at, 1) && checked(few);
            if (!good && global_known)
                good = attempt(by_global(feature.before, false), few);
            if (!good)
                good = attempt(feature.before + feature.motion, all);
            feature.fate = good ? Fate::followed : Fate::lost;
        }
    });
}

void Tracker::State::enter(int index) {
    CellState &cell = cells[static_cast<std::size_t>(cell_of(features[static_cast<std::size_t>(index)].at))];
    cell.features[static_cast<std::size_t>(cell.count++)] = index;
}

// Whether a feature of this cell or of one beside it is nearer than `distance`.
bool Tracker::State::crowded(const Point &at, float least) const {
    const int index = cell_of(at), column = index % columns, row = index / columns;
    for (int y = std::max(row - 1, 0); y <= std::min(row + 1, rows - 1); y++)
        for (int x = std::max(column - 1, 0); x <= std::min(column + 1, columns - 1); x++) {
            const CellState &cell = cells[static_cast<std::size_t>(y * columns + x)];
            for (int i = 0; i < cell.count; i++) {
                const Feature &other =
                    features[static_cast<std::size_t>(cell.features[static_cast<std::size_t>(i)])];
                if ((other.at - at).squaredNorm() < least * least)
                    return true;
            }
        }
    return false;
}

// Those that were followed and have room; older ones come first and win.
void Tracker::State::keep(Tracks &tracks) {
    kept.clear();
    std::swap(features, kept);
    for (CellState &cell : cells)
        cell.count = 0;
    const auto full = static_cast<float>(factor);
    const Point centre = Point::Constant(0.5F * (full - 1));
    const float nearest = 0.4F * distance;
    for (Feature &feature : kept) {
        if (feature.fate == Fate::lost) {
            tracks.lost++;
            free_patches.push_back(feature.patch);
            continue;
        }
        feature.age++;
        feature.motion = feature.at - feature.before;
        const Distortion more = distorted(feature.before, false);
        for (std::size_t i = 0; i < more.size(); i++)
            feature.distortion[i] += more[i];
        tracks.matches.push_back({feature.before * full + centre, feature.at * full + centre,
                                  feature.error * full, feature.age, feature.id});
        const CellState &cell = cells[static_cast<std::size_t>(cell_of(feature.at))];
        if (cell.count >= per_cell + 2 || crowded(feature.at, nearest)) {
            free_patches.push_back(feature.patch);
            continue;
        }
        feature.renew = feature.at_first >= 0 && feature.correlation < good_correlation &&
                        feature.correlation < feature.at_first - fall;
        if (feature.at_first < 0)
            feature.at_first = feature.correlation;
        features.push_back(feature);
        enter(static_cast<int>(features.size()) - 1);
    }
}

// Patches of new features, and of those that have changed too much since theirs were taken.
void Tracker::State::renew() {
    pool.parallel_for(0, static_cast<int>(features.size()), features_per_piece, [&](int begin, int end) {
        for (int i = begin; i < end; i++) {
            Feature &feature = features[static_cast<std::size_t>(i)];
            if (!feature.renew)
                continue;
            feature.renew = false;
            feature.at_first = -1;
            feature.distortion = {};
            Patch &patch = patches[static_cast<std::size_t>(feature.patch)];
            for (int level = 0; level < now().levels(); level++)
                take_patch(window, now()[level], holes, level, feature.at.x(), feature.at.y(),
                           patch.level[level], store.at(feature.patch, level));
            // What was a corner when it was found may be none now: it is lost in the next picture.
        }
    });
}

void Tracker::State::find() {
    const bool many = 2 * static_cast<int>(features.size()) < static_cast<int>(cells.size()) * per_cell;
    CornerSearch search;
    search.radius = std::min(window.half, most_corner_radius);
    search.distance = distance;
    pool.parallel_for(0, static_cast<int>(cells.size()), 2, [&](int begin, int end) {
        for (int i = begin; i < end; i++) {
            CellState &cell = cells[static_cast<std::size_t>(i)];
            cell.found = 0;
            if (cell.wait > 0)
                cell.wait--;
            if (many && cell.count == 0 && cell.wait < rest / 2)
                cell.wait = 0;
            if (cell.count >= per_cell || cell.wait > 0)
                continue;
            std::array<Point, 9 * (most_per_cell + 2)> taken;
            std::size_t count = 0;
            const int column = i % columns, row = i / columns;
            for (int y = std::max(row - 1, 0); y <= std::min(row + 1, rows - 1); y++)
                for (int x = std::max(column - 1, 0); x <= std::min(column + 1, columns - 1); x++) {
                    const CellState &other = cells[static_cast<std::size_t>(y * columns + x)];
                    for (int n = 0; n < other.count; n++)
                        taken[count++] =
                            features[static_cast<std::size_t>(other.features[static_cast<std::size_t>(n)])]
                                .at;
                }
            const auto wanted = static_cast<std::size_t>(2 * (per_cell - cell.count));
            cell.found = find_corners(now()[0], blocked.data(), cell_area(i), search,
                                      std::span<const Point>(taken.data(), count),
                                      std::span<Corner>(cell.corners.data(), wanted));
        }
    });
    // Neighbouring cells may have found the same corner: the first one has it.
    int index = 0;
    for (CellState &cell : cells) {
        index++;
        if (cell.count >= per_cell || cell.wait > 0)
            continue;
        for (int n = 0; n < cell.found && cell.count < per_cell && !free_patches.empty(); n++) {
            const Corner &corner = cell.corners[static_cast<std::size_t>(n)];
            const Point at(static_cast<float>(corner.x), static_cast<float>(corner.y));
            if (crowded(at, 0.8F * distance))
                continue;
            Feature feature;
            feature.at = feature.before = at;
            feature.id = next_id++;
            feature.patch = free_patches.back();
            feature.renew = true;
            free_patches.pop_back();
            features.push_back(feature);
            enter(static_cast<int>(features.size()) - 1);
        }
        if (cell.count < per_cell)
            cell.wait = rest / 2 + index % (rest / 2); // not all of them in the same picture
    }
}

Tracks Tracker::State::advance(const GrayView &luma, const GrayView &given) {
    Tracks tracks;
    const GrayView hole = given.data ? given : GrayView{no_hole.data(), width, width, height};
    difference.compare(luma, hole, tracks);
    if (!possible) {
        first = false;
        return tracks;
    }
    newest = 1 - newest;
    now().build(luma, pool);
    holes.build(hole);
    block(hole);
    if (!first) {
        tracks.matches.reserve(features.size());
        follow();
        keep(tracks);
    }
    find();
    renew();
    first = false;
    return tracks;
}

Tracker::Tracker(int width, int height, const TrackerOptions &options, pixels::ThreadPool &pool)
    : state_(std::make_unique<State>(width, height, options, pool)) {}

Tracker::~Tracker() = default;

Tracks Tracker::advance(const GrayView &luma, const GrayView &hole) {
    return state_->advance(luma, hole);
}

void Tracker::reset() {
    state_->reset();
}

int Tracker::reduced_width() const {
    return state_->width;
}

int Tracker::reduced_height() const {
    return state_->height;
}

int Tracker::reduction() const {
    return state_->factor;
}

} // namespace clv::mesh
