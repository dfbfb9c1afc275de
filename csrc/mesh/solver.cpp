// SPDX-License-Identifier: BSD-2-Clause
//
// Unknowns: what each vertex of the grid is displaced by, on top of the global homography H: x0 y0 x1 y1 ...
//
// Minimised, with p_i and q_i a feature's places, w_i the bilinear weights of p_i in its cell and s the
// scale:
//
//     sum_i rho(|H p_i + sum_k w_ik d_k - q_i| / s)                      rho of Geman and McClure
//   + shape * sum over the corners of cells |V1 - (V2 + u (V3 - V2) + v R90 (V3 - V2))|^2 / s^2
//   + time  * sum over vertices |d_k - predicted_k|^2 / s^2
//
// The second line is equation 3 of Liu, Gleicher, Jin and Agarwala, "Content-preserving warps for 3D video
// stabilization" (SIGGRAPH 2009), with V the moved vertices and u, v what they are in the grid that only H
// has moved, so that H alone costs nothing: of a cell's corners each is seen from its two neighbours,
//
//     V1 ------- .
//     |          |        R90 turns by a quarter; (V1, V2, V3) goes around the cell: four triangles a cell.
//     V2 ------- V3
//
// Cells couple only their own four corners, so the normal equations are a sum of 8x8 blocks whose places in
// the sparse matrix never change: they are looked up once, and its pattern is analysed once.

#include "mesh/solver.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include <Eigen/Geometry>
#include <Eigen/SparseCholesky>

#include "mesh/homography.h"
#include "mesh/luma.h"

namespace clv::mesh {
namespace {

using Block = Eigen::Matrix<double, 8, 8>;
using Vector8 = Eigen::Matrix<double, 8, 1>;

constexpr double nominal_lines = 720;
// Weights of the options' 1 against a feature's. The mesh is the softer the more parallax there is: where the
// global motion explains everything, bending could only follow the features' noise.
constexpr double stiff = 0.2;
constexpr double soft = 0.02;
constexpr double time_unit = 0.05;

constexpr int least_for_mesh = 12; // inliers; fewer give the global motion only
constexpr int least_for_trust = 4; // inliers
constexpr double share_for_trust = 0.3;
constexpr double still = 0.035;          // reduced samples; less motion than this is none
constexpr double moving_share = 0.2;     // of features that may move while the camera is taken to stand
constexpr double global_threshold = 2.0; // samples at 720 lines: of the global motion's inliers
constexpr double inlier_limit = 2.0;     // robust scales

// The cells whose median a feature is held against: 5x5 of about 16x9 cells, a sixth of the picture, or more
// where features are few or the picture ends. What moves by itself and is smaller than half of that is in the
// minority.
constexpr int bucket_reach = 2;
constexpr int least_buckets = 20;
constexpr int least_neighbours = 24;

// Where a feature lies in the grid.
struct InGrid {
    int cell = 0;
    std::array<double, 4> weight{}; // of the cell's corners: top left, top right, bottom left, bottom right
};

// What a feature's place is held against while the camera stands: see State::settle().
struct Memory {
    uint32_t id = 0;
    Point previous, current;         // as the last match had them
    Point for_previous, for_current; // what stands for that place when the next match goes on from it
};

} // namespace

struct Solver::State {
    State(Grid wanted, int full_width, int full_height, const SolverOptions &wanted_options);

    Solution solve(std::span<const Match> matches);
    void settle(std::span<const Match> matches);
    void remember(std::span<const Match> matches, bool standing);
    bool stands(const MotionFit &fit) const;
    void place();
    int agree();
    void shape_blocks(const Eigen::Matrix3d &homography);
    void predict();
    double prior_weight() const;
    bool minimise(double stiffness);
    void reweight(double robust_scale);
    bool bend(const MotionFit &fit);
    bool folded(const Eigen::Matrix3d &homography) const;
    void report(const MotionFit &fit, bool bent, Solution &solution);

    Eigen::Vector2d vertex(int index) const;
    std::array<int, 4> corners(int cell) const;
    Eigen::Vector2d displacement_at(const InGrid &at, const Eigen::VectorXd &d) const;

    Grid grid;
    int width, height;
    SolverOptions options;
    double unit;  ///< samples of this picture for one at 720 lines
    double scale; ///< of the robust error, samples
    MotionFitter fitter;

    // Of the matches, in their order.
    std::vector<Point> from, to;           ///< places in the current picture and where the mesh should lead
    std::vector<Eigen::Vector2d> residual; ///< to - H from
    std::vector<InGrid> where;
    std::vector<double> weight;
    std::vector<uint8_t> agrees; ///< with the features around it
    std::vector<int> bucket;

    // Of the buckets, into which features are sorted to find neighbours.
    int bucket_columns, bucket_rows;
    std::vector<int> bucket_begin, bucket_order;
    std::vector<Eigen::Vector2d> bucket_median;
    std::vector<double> median_scratch;
    double parallax = 0; ///< root mean square of the medians, samples

    Eigen::SparseMatrix<double> normal; ///< lower triangle
    Eigen::SimplicialLDLT<Eigen::SparseMatrix<double>, Eigen::Lower> ldlt;
    std::vector<std::array<int, 36>> slots; ///< of a cell's block's lower triangle in normal.valuePtr()
    std::vector<int> diagonal;              ///< slots
    std::vector<Block> shape, block;
    Eigen::VectorXd right, solved, last, predicted;
    double stiffness_used = 0;
    bool bent_before = false; ///< `last` is of the picture before
    Eigen::Matrix3d last_homography = Eigen::Matrix3d::Identity();

    std::vector<Memory> memory, newer_memory; ///< by id
};

Solver::State::State(Grid wanted, int full_width, int full_height, const SolverOptions &wanted_options)
    : grid(wanted), width(full_width), height(full_height), options(wanted_options),
      // Below a third of 720 lines the picture is tracked at its own size: nothing is measured finer.
      unit(std::max(std::min(full_width, full_height) / nominal_lines, 1.0 / 3)),
      scale(std::max(wanted_options.scale, 1e-3) * unit), fitter(full_width, full_height),
      bucket_columns(full_width >= full_height ? 16 : 9), bucket_rows(full_width >= full_height ? 9 : 16) {
    const auto cells = static_cast<std::size_t>(grid.columns * grid.rows);
    const int unknowns = 2 * grid.vertices();
    shape.resize(cells);
    block.resize(cells);
    slots.resize(cells);
    right.setZero(unknowns);
    solved.setZero(unknowns);
    last.setZero(unknowns);
    predicted.setZero(unknowns);

    std::vector<Eigen::Triplet<double>> entries;
    const auto each_entry = [&](int cell, auto use) {
        const std::array<int, 4> at = corners(cell);
        int entry = 0;
        for (int r = 0; r < 8; r++)
            for (int c = 0; c <= r; c++) {
                const int row = 2 * at[static_cast<std::size_t>(r / 2)] + r % 2;
                const int column = 2 * at[static_cast<std::size_t>(c / 2)] + c % 2;
                use(entry++, row, column);
            }
    };
    for (int cell = 0; cell < static_cast<int>(cells); cell++)
        each_entry(cell, [&](int, int row, int column) { entries.emplace_back(row, column, 1.0); });
    normal.resize(unknowns, unknowns);
    normal.setFromTriplets(entries.begin(), entries.end());
    normal.makeCompressed();
    const auto slot_of = [&](int row, int column) {
        const int *begin = normal.innerIndexPtr() + normal.outerIndexPtr()[column];
        const int *end = normal.innerIndexPtr() + normal.outerIndexPtr()[column + 1];
        return static_cast<int>(std::lower_bound(begin, end, row) - normal.innerIndexPtr());
    };
    for (int cell = 0; cell < static_cast<int>(cells); cell++)
        each_entry(cell, [&](int entry, int row, int column) {
            slots[static_cast<std::size_t>(cell)][static_cast<std::size_t>(entry)] = slot_of(row, column);
        });
    for (int i = 0; i < unknowns; i++)
        diagonal.push_back(slot_of(i, i));
    ldlt.analyzePattern(normal);
}

Eigen::Vector2d Solver::State::vertex(int index) const {
    const int column = index % (grid.columns + 1), row = index / (grid.columns + 1);
    return {static_cast<double>(column) * width / grid.columns - 0.5,
            static_cast<double>(row) * height / grid.rows - 0.5};
}

// Top left, top right, bottom left, bottom right: ascending.
std::array<int, 4> Solver::State::corners(int cell) const {
    const int column = cell % grid.columns, row = cell / grid.columns;
    const int first = row * (grid.columns + 1) + column;
    return {first, first + 1, first + grid.columns + 1, first + grid.columns + 2};
}

// While the camera stands the identity is returned, although features measure a few hundredths of a sample.
// So that slow motion does not vanish a bit at a time, each feature is then held against its place in the
// picture that the mesh last led to, not in the last picture: what was not shown adds up and is shown once it
// can be measured. Which of a match's places is the older one is seen from the match before it, as pairs may
// come swapped.
void Solver::State::settle(std::span<const Match> matches) {
    from.resize(matches.size());
    to.resize(matches.size());
    for (std::size_t i = 0; i < matches.size(); i++) {
        const Match &match = matches[i];
        from[i] = match.current;
        to[i] = match.previous;
        const auto found = std::lower_bound(memory.begin(), memory.end(), match.id,
                                            [](const Memory &known, uint32_t id) { return known.id < id; });
        if (found != memory.end() && found->id == match.id) {
            if (match.previous == found->current)
                to[i] = found->for_current;
            else if (match.current == found->previous)
                from[i] = found->for_previous;
        }
        if (!from[i].allFinite() || !to[i].allFinite()) { // nobody's inlier
            from[i].setZero();
            to[i].setConstant(1e6F);
        }
    }
}

void Solver::State::remember(std::span<const Match> matches, bool standing) {
    newer_memory.clear();
    for (std::size_t i = 0; i < matches.size(); i++) {
        const Match &match = matches[i];
        newer_memory.push_back({match.id, match.previous, match.current, standing ? from[i] : match.previous,
                                standing ? to[i] : match.current});
    }
    const auto by_id = [](const Memory &a, const Memory &b) { return a.id < b.id; };
    if (!std::is_sorted(newer_memory.begin(), newer_memory.end(), by_id))
        std::sort(newer_memory.begin(), newer_memory.end(), by_id);
    std::swap(memory, newer_memory);
}

// Whether the camera stands: the global motion is less than can be measured, and so is that of nearly all
// features (a camera that moves past something near leaves the far majority where it was).
bool Solver::State::stands(const MotionFit &fit) const {
    const double limit = still * reduction_of(width, height);
    std::size_t moving = 0, resting = 0;
    for (std::size_t i = 0; i < from.size(); i++) {
        const double square = static_cast<double>((to[i] - from[i]).squaredNorm());
        moving += square > 16 * limit * limit;
        resting += square < 4 * limit * limit;
    }
    if (fit.motion == Motion::identity)
        return 2 * resting >= from.size();
    const double allowed = std::clamp(3 * fit.spread, limit, 2 * limit);
    for (int row = 0; row <= 2; row++)
        for (int column = 0; column <= 2; column++) {
            const Eigen::Vector2d at(0.5 * column * (width - 1), 0.5 * row * (height - 1));
            const Eigen::Vector3d moved = fit.matrix * at.homogeneous();
            if ((moved.head<2>() / moved.z() - at).squaredNorm() > allowed * allowed)
                return false;
        }
    return static_cast<double>(moving) <= moving_share * static_cast<double>(from.size());
}

void Solver::State::place() {
    const auto split = [](double at, int cells, int size, int &cell) {
        const double scaled = (at + 0.5) * cells / size;
        cell = static_cast<int>(std::clamp(std::floor(scaled), 0.0, cells - 1.0));
        return std::clamp(scaled - cell, 0.0, 1.0);
    };
    where.resize(from.size());
    for (std::size_t i = 0; i < from.size(); i++) {
        int column = 0, row = 0;
        const double x = split(static_cast<double>(from[i].x()), grid.columns, width, column);
        const double y = split(static_cast<double>(from[i].y()), grid.rows, height, row);
        where[i].cell = row * grid.columns + column;
        where[i].weight = {(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y};
    }
}

// First weights: 1 for features that move, on top of the global motion, as the median of those around them.
int Solver::State::agree() {
    const int buckets = bucket_columns * bucket_rows;
    const std::size_t count = from.size();
    bucket.resize(count);
    bucket_begin.assign(static_cast<std::size_t>(buckets) + 1, 0);
    bucket_order.resize(count);
    bucket_median.resize(static_cast<std::size_t>(buckets));
    for (std::size_t i = 0; i < count; i++) {
        const auto cell = [](float at, int cells, int size) {
            return std::clamp(static_cast<int>(at * static_cast<float>(cells) / static_cast<float>(size)), 0,
                              cells - 1);
        };
        bucket[i] = cell(from[i].y(), bucket_rows, height) * bucket_columns +
                    cell(from[i].x(), bucket_columns, width);
        bucket_begin[static_cast<std::size_t>(bucket[i]) + 1]++;
    }
    for (std::size_t b = 1; b < bucket_begin.size(); b++)
        bucket_begin[b] += bucket_begin[b - 1];
    // A counting sort that leaves bucket_begin one bucket ahead, put right afterwards.
    for (std::size_t i = 0; i < count; i++)
        bucket_order[static_cast<std::size_t>(bucket_begin[static_cast<std::size_t>(bucket[i])]++)] =
            static_cast<int>(i);
    std::rotate(bucket_begin.begin(), bucket_begin.end() - 1, bucket_begin.end());
    bucket_begin[0] = 0;

    const auto median = [&](int axis, int left, int right_end, int top, int bottom) {
        median_scratch.clear();
        for (int row = top; row <= bottom; row++) {
            const auto first = static_cast<std::size_t>(row * bucket_columns + left);
            const auto last_bucket = static_cast<std::size_t>(row * bucket_columns + right_end);
            for (int n = bucket_begin[first]; n < bucket_begin[last_bucket + 1]; n++)
                median_scratch.push_back(
                    residual[static_cast<std::size_t>(bucket_order[static_cast<std::size_t>(n)])](axis));
        }
        const auto middle = median_scratch.begin() + static_cast<std::ptrdiff_t>(median_scratch.size() / 2);
        std::nth_element(median_scratch.begin(), middle, median_scratch.end());
        return *middle;
    };
    double squares = 0;
    int filled = 0;
    for (int b = 0; b < buckets; b++) {
        if (bucket_begin[static_cast<std::size_t>(b)] == bucket_begin[static_cast<std::size_t>(b) + 1])
            continue;
        const int column = b % bucket_columns, row = b / bucket_columns;
        for (int reach = bucket_reach;; reach++) {
            const int left = std::max(column - reach, 0), end = std::min(column + reach, bucket_columns - 1);
            const int top = std::max(row - reach, 0), bottom = std::min(row + reach, bucket_rows - 1);
            int found = 0;
            for (int y = top; y <= bottom; y++)
                found += bucket_begin[static_cast<std::size_t>(y * bucket_columns + end) + 1] -
                         bucket_begin[static_cast<std::size_t>(y * bucket_columns + left)];
            const bool enough =
                found >= least_neighbours && (end - left + 1) * (bottom - top + 1) >= least_buckets;
            if (!enough && reach < bucket_columns + bucket_rows)
                continue;
            bucket_median[static_cast<std::size_t>(b)] = {median(0, left, end, top, bottom),
                                                          median(1, left, end, top, bottom)};
            squares += bucket_median[static_cast<std::size_t>(b)].squaredNorm();
            filled++;
            break;
        }
    }

    parallax = std::sqrt(squares / std::max(filled, 1));

    int agreeing = 0;
    weight.resize(count);
    agrees.resize(count);
    for (std::size_t i = 0; i < count; i++) {
        const Eigen::Vector2d &usual = bucket_median[static_cast<std::size_t>(bucket[i])];
        const double limit = 2 * scale + 0.4 * usual.norm();
        const bool does = (residual[i] - usual).squaredNorm() < limit * limit;
        agrees[i] = does;
        weight[i] = does ? 1 : 0;
        agreeing += does;
    }
    return agreeing;
}

// The deformation's part of each cell's block, for weight 1.
void Solver::State::shape_blocks(const Eigen::Matrix3d &homography) {
    constexpr std::array<std::array<int, 3>, 4> triangles = {{{0, 2, 3}, {2, 3, 1}, {3, 1, 0}, {1, 0, 2}}};
    for (int cell = 0; cell < grid.columns * grid.rows; cell++) {
        const std::array<int, 4> at = corners(cell);
        std::array<Eigen::Vector2d, 4> moved;
        for (std::size_t i = 0; i < 4; i++) {
            const Eigen::Vector3d h = homography * vertex(at[i]).homogeneous();
            moved[i] = h.head<2>() / h.z();
        }
        Block &sum = shape[static_cast<std::size_t>(cell)];
        sum.setZero();
        for (const auto &[a, b, c] : triangles) {
            const Eigen::Vector2d edge =
                moved[static_cast<std::size_t>(c)] - moved[static_cast<std::size_t>(b)];
            const Eigen::Vector2d other =
                moved[static_cast<std::size_t>(a)] - moved[static_cast<std::size_t>(b)];
            const double square = edge.squaredNorm();
            const double u = other.dot(edge) / square;
            const double v = (edge.x() * other.y() - edge.y() * other.x()) / square; // R90 (x, y) = (-y, x)
            Eigen::Matrix<double, 2, 8> rows = Eigen::Matrix<double, 2, 8>::Zero();
            Eigen::Matrix2d turn;
            turn << u, -v, v, u;
            rows.block<2, 2>(0, 2 * a) = Eigen::Matrix2d::Identity();
            rows.block<2, 2>(0, 2 * b) = turn - Eigen::Matrix2d::Identity();
            rows.block<2, 2>(0, 2 * c) = -turn;
            sum.noalias() += rows.transpose() * rows;
        }
    }
}

Eigen::Vector2d Solver::State::displacement_at(const InGrid &at, const Eigen::VectorXd &d) const {
    const std::array<int, 4> k = corners(at.cell);
    Eigen::Vector2d sum = Eigen::Vector2d::Zero();
    for (std::size_t i = 0; i < 4; i++)
        sum += at.weight[i] * d.segment<2>(2 * k[i]);
    return sum;
}

// Parallax keeps its pattern while the camera changes its speed: the last displacements, times the factor
// that suits the features best.
void Solver::State::predict() {
    double both = 0, square = 0;
    for (std::size_t i = 0; i < from.size(); i++) {
        if (weight[i] <= 0)
            continue;
        const Eigen::Vector2d d = displacement_at(where[i], last);
        both += weight[i] * residual[i].dot(d);
        square += weight[i] * d.squaredNorm();
    }
    const double factor = square > 1e-9 ? std::clamp(both / square, -1.5, 1.5) : 0.0;
    predicted = factor * last;
}

// Without a picture before, next to nothing; never quite, as the deformation knows no absolute place.
double Solver::State::prior_weight() const {
    return 1e-4 + (bent_before ? options.time / SolverOptions().time * time_unit : 0.0);
}

bool Solver::State::minimise(double stiffness) {
    for (std::size_t cell = 0; cell < block.size(); cell++)
        block[cell] = stiffness * shape[cell];
    const double prior =
        options.time * time_unit + 1e-4; // never quite 0: the deformation knows no absolute place
    right = prior * predicted;
    for (std::size_t i = 0; i < from.size(); i++) {
        if (weight[i] <= 0)
            continue;
        const InGrid &at = where[i];
        Block &sum = block[static_cast<std::size_t>(at.cell)];
        const std::array<int, 4> k = corners(at.cell);
        for (std::size_t r = 0; r < 4; r++) {
            const double wr = weight[i] * at.weight[r];
            right.segment<2>(2 * k[r]) += wr * residual[i];
            for (std::size_t c = 0; c <= r; c++) {
                const auto row = static_cast<Eigen::Index>(2 * r), column = static_cast<Eigen::Index>(2 * c);
                sum(row, column) += wr * at.weight[c];
                sum(row + 1, column + 1) += wr * at.weight[c];
            }
        }
    }
    double *values = normal.valuePtr();
    std::fill_n(values, normal.nonZeros(), 0.0);
    for (std::size_t cell = 0; cell < block.size(); cell++) {
        int entry = 0;
        for (int r = 0; r < 8; r++)
            for (int c = 0; c <= r; c++)
                values[slots[cell][static_cast<std::size_t>(entry++)]] += block[cell](r, c);
    }
    for (const int slot : diagonal)
        values[slot] += prior;
    ldlt.factorize(normal);
    if (ldlt.info() != Eigen::Success)
        return false;
    solved = ldlt.solve(right);
    stiffness_used = stiffness;
    return solved.allFinite();
}

void Solver::State::reweight(double robust_scale) {
    for (std::size_t i = 0; i < from.size(); i++) {
        const double square = (residual[i] - displacement_at(where[i], solved)).squaredNorm();
        // Those that disagree with their neighbours come in only when the mesh has come to them by itself;
        // else a handful of them without anybody else in their cells would bend it bit by bit.
        const double s = agrees[i] ? robust_scale : std::min(robust_scale, scale);
        const double t = s * s / (s * s + square);
        weight[i] = t < (agrees[i] ? 0.05 : 0.2) ? 0.0 : t * t; // beyond four scales nothing pulls at all
    }
}

bool Solver::State::folded(const Eigen::Matrix3d &homography) const {
    const auto moved = [&](int index) -> Eigen::Vector2d {
        const Eigen::Vector3d h = homography * vertex(index).homogeneous();
        return h.head<2>() / h.z() + solved.segment<2>(2 * index);
    };
    const double least = 0.2 * width / grid.columns * height / grid.rows;
    for (int cell = 0; cell < grid.columns * grid.rows; cell++) {
        const std::array<int, 4> k = corners(cell);
        const std::array<Eigen::Vector2d, 4> around = {moved(k[0]), moved(k[1]), moved(k[3]), moved(k[2])};
        for (std::size_t i = 0; i < 4; i++) {
            const Eigen::Vector2d a = around[(i + 1) % 4] - around[i];
            const Eigen::Vector2d b = around[(i + 2) % 4] - around[(i + 1) % 4];
            if (!(a.x() * b.y() - a.y() * b.x() > least))
                return true;
        }
    }
    return false;
}

// The displacements on top of the global motion, in `solved`; false when there is nothing to bend by.
bool Solver::State::bend(const MotionFit &fit) {
    if (grid.columns * grid.rows == 1 || fit.inliers < least_for_mesh)
        return false;
    place();
    if (agree() < least_for_mesh)
        return false;
    shape_blocks(fit.matrix);
    predict();
    const double relative = 2 * parallax / unit;
    const double stiffness =
        std::max(options.shape, 1e-3) * std::max(stiff / (1 + relative * relative), soft);
    if (!minimise(stiffness))
        return false;
    for (int i = 0; i + 1 < options.iterations; i++) {
        // From wide to the wanted scale: what the first, quadratic, solution only half followed is not lost.
        reweight(scale * std::max(4.0 / (1 << std::min(i, 2)), 1.0));
        if (!minimise(stiffness))
            return false;
    }
    for (double more = 8; folded(fit.matrix); more *= 8)
        if (more > 1000 || !minimise(stiffness * more))
            return false;
    return true;
}

void Solver::State::report(const MotionFit &fit, bool bent, Solution &solution) {
    const double limit = inlier_limit * scale;
    const double square_scale = scale * scale;
    double squares = 0;
    solution.inlier.assign(from.size(), false);
    for (std::size_t i = 0; i < from.size(); i++) {
        const Eigen::Vector2d r =
            bent ? (residual[i] - displacement_at(where[i], solved)).eval() : residual[i];
        const double square = r.squaredNorm();
        solution.cost_features += square / (square_scale + square);
        if (square < limit * limit) {
            solution.inlier[i] = true;
            solution.inliers++;
            squares += square;
        }
    }
    solution.residual = solution.inliers ? std::sqrt(squares / solution.inliers) : 0;
    if (bent) {
        for (int cell = 0; cell < grid.columns * grid.rows; cell++) {
            const std::array<int, 4> k = corners(cell);
            Vector8 d;
            for (std::size_t i = 0; i < 4; i++)
                d.segment<2>(static_cast<Eigen::Index>(2 * i)) = solved.segment<2>(2 * k[i]);
            solution.cost_shape +=
                stiffness_used * d.dot(shape[static_cast<std::size_t>(cell)] * d) / square_scale;
        }
        solution.cost_time = prior_weight() * (solved - predicted).squaredNorm() / square_scale;
    }
    solution.trusted = fit.motion != Motion::identity && solution.inliers >= least_for_trust &&
                       solution.inliers >= share_for_trust * static_cast<double>(from.size());
}

Solution Solver::State::solve(std::span<const Match> matches) {
    Solution solution;
    settle(matches);
    MotionLimits limits;
    limits.threshold = global_threshold * unit;
    limits.noise = 0.05 * unit;
    limits.spread = unit;
    MotionFit fit = fitter.fit(from, to, limits, last_homography);
    const bool standing = !matches.empty() && stands(fit);
    if (standing || fit.inliers < 2)
        fit.matrix.setIdentity();

    residual.resize(from.size());
    for (std::size_t i = 0; i < from.size(); i++) {
        const Eigen::Vector3d h = fit.matrix * Eigen::Vector3d(from[i].x(), from[i].y(), 1);
        residual[i] = to[i].cast<double>() - h.head<2>() / h.z();
    }
    const bool bent = !standing && bend(fit);
    report(fit, bent, solution);
    if (standing && fit.motion == Motion::identity)
        solution.trusted = solution.inliers >= least_for_trust;

    std::vector<Point> displacements;
    if (bent)
        for (int i = 0; i < grid.vertices(); i++)
            displacements.push_back(solved.segment<2>(2 * i).cast<float>());
    solution.mesh = Mesh(grid, width, height, fit.matrix, std::move(displacements));
    if (bent)
        last = solved;
    else
        last.setZero();
    bent_before = bent;
    last_homography = fit.matrix;
    remember(matches, standing);
    return solution;
}

Solver::Solver(Grid grid, int width, int height, const SolverOptions &options)
    : state_(std::make_unique<State>(grid, width, height, options)) {}

Solver::~Solver() = default;

Solution Solver::solve(std::span<const Match> matches) {
    return state_->solve(matches);
}

void Solver::reset() {
    state_->memory.clear();
    state_->last.setZero();
    state_->bent_before = false;
    state_->last_homography.setIdentity();
}

} // namespace clv::mesh
