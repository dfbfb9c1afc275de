// SPDX-License-Identifier: BSD-2-Clause
//
// Random sample consensus (Fischler and Bolles, CACM 1981) with the truncated quadratic cost of MSAC (Torr
// and Zisserman, CVIU 2000), on normalised points (Hartley, PAMI 1997): the picture is mapped to -1..1, which
// is known beforehand and serves as well as the points' own spread. The winner is refined by Gauss-Newton on
// a robust reprojection error, and what it leaves uncertain at the picture's corners (first order propagation
// of the covariance: Hartley and Zisserman, Multiple View Geometry, 5.2) says whether the points determine
// that many degrees of freedom.

#include "mesh/homography.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include <Eigen/Cholesky>
#include <Eigen/LU>

namespace clv::mesh {
namespace {

using Matrix3 = Eigen::Matrix3d;

constexpr int most_samples = 300;
constexpr int refinements = 6;
constexpr double wanted_confidence = 0.999;

// PCG32 (O'Neill 2014): the same numbers everywhere, which std's distributions do not promise.
class Pcg {
public:
    uint32_t below(uint32_t n) {
        state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
        const auto shifted = static_cast<uint32_t>(((state_ >> 18U) ^ state_) >> 27U);
        const auto turn = static_cast<uint32_t>(state_ >> 59U);
        const uint32_t bits = (shifted >> turn) | (shifted << ((32U - turn) & 31U));
        return static_cast<uint32_t>((static_cast<uint64_t>(bits) * n) >> 32U);
    }

private:
    uint64_t state_ = 0x853c49e6748fea9bULL;
};

int sample_size(Motion motion) {
    return motion == Motion::homography ? 4 : motion == Motion::similarity ? 2 : 1;
}

int parameters(Motion motion) {
    return motion == Motion::homography ? 8 : motion == Motion::similarity ? 4 : 2;
}

// Points below which a kind of motion is not even tried.
int least_points(Motion motion) {
    return motion == Motion::homography ? 8 : motion == Motion::similarity ? 4 : 1;
}

struct Pair {
    double x, y, u, v;
};

double turn_of(const Pair &a, const Pair &b, const Pair &c, bool to) {
    return to ? (b.u - a.u) * (c.v - a.v) - (b.v - a.v) * (c.u - a.u)
              : (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

// Four pairs make a homography that folds nothing over only when every three of them keep their orientation;
// nearly collinear ones make one that means nothing.
bool usable(const std::array<Pair, 4> &p) {
    constexpr double least_area = 2e-3;
    for (std::size_t skip = 0; skip < 4; skip++) {
        const Pair &a = p[skip == 0 ? 1 : 0];
        const Pair &b = p[skip <= 1 ? 2 : 1];
        const Pair &c = p[skip <= 2 ? 3 : 2];
        const double from = turn_of(a, b, c, false);
        const double to = turn_of(a, b, c, true);
        if (std::abs(from) < least_area || from * to <= 0)
            return false;
    }
    return true;
}

// The direct linear transform with h33 = 1.
bool homography_of(const std::array<Pair, 4> &p, Matrix3 &out) {
    if (!usable(p))
        return false;
    Eigen::Matrix<double, 8, 8> a;
    Eigen::Matrix<double, 8, 1> b;
    for (int i = 0; i < 4; i++) {
        const Pair &q = p[static_cast<std::size_t>(i)];
        a.row(2 * i) << q.x, q.y, 1, 0, 0, 0, -q.u * q.x, -q.u * q.y;
        a.row(2 * i + 1) << 0, 0, 0, q.x, q.y, 1, -q.v * q.x, -q.v * q.y;
        b(2 * i) = q.u;
        b(2 * i + 1) = q.v;
    }
    const Eigen::Matrix<double, 8, 1> h = a.partialPivLu().solve(b);
    if (!h.allFinite())
        return false;
    out << h(0), h(1), h(2), h(3), h(4), h(5), h(6), h(7), 1;
    return true;
}

bool similarity_of(const Pair &p, const Pair &q, Matrix3 &out) {
    const double dx = q.x - p.x, dy = q.y - p.y, du = q.u - p.u, dv = q.v - p.v;
    const double square = dx * dx + dy * dy;
    if (square < 1e-4)
        return false;
    const double a = (du * dx + dv * dy) / square; // the complex number that turns and scales
    const double b = (dv * dx - du * dy) / square;
    out << a, -b, p.u - a * p.x + b * p.y, b, a, p.v - b * p.x - a * p.y, 0, 0, 1;
    return true;
}

// d(u, v) / d(parameters) of a motion's increments at a point; columns beyond parameters() are not set.
using Jacobian = Eigen::Matrix<double, 2, 8>;

void jacobian(Motion motion, const Matrix3 &h, double x, double y, Eigen::Vector2d &at, Jacobian &j) {
    const double w = 1.0 / (h(2, 0) * x + h(2, 1) * y + h(2, 2));
    const double u = (h(0, 0) * x + h(0, 1) * y + h(0, 2)) * w;
    const double v = (h(1, 0) * x + h(1, 1) * y + h(1, 2)) * w;
    at << u, v;
    j.setZero();
    if (motion == Motion::homography) {
        j.row(0) << x * w, y * w, w, 0, 0, 0, -u * x * w, -u * y * w;
        j.row(1) << 0, 0, 0, x * w, y * w, w, -v * x * w, -v * y * w;
    } else if (motion == Motion::similarity) {
        j.row(0).head<4>() << x, -y, 1, 0;
        j.row(1).head<4>() << y, x, 0, 1;
    } else {
        j.row(0).head<2>() << 1, 0;
        j.row(1).head<2>() << 0, 1;
    }
}

void add(Motion motion, Matrix3 &h, const Eigen::Matrix<double, 8, 1> &d) {
    if (motion == Motion::homography) {
        for (int i = 0; i < 8; i++)
            h(i / 3, i % 3) += d(i);
    } else if (motion == Motion::similarity) {
        h(0, 0) += d(0);
        h(1, 1) += d(0);
        h(1, 0) += d(1);
        h(0, 1) -= d(1);
        h(0, 2) += d(2);
        h(1, 2) += d(3);
    } else {
        h(0, 2) += d(0);
        h(1, 2) += d(1);
    }
}

} // namespace

MotionFitter::MotionFitter(int width, int height)
    : width_(width), height_(height), scale_(2.0 / std::max({width, height, 2})) {}

// With c the centre and s the scale, normalised = s (x - c): the matrix between samples is N^-1 H N.
Matrix3 MotionFitter::to_picture(const Matrix3 &matrix) const {
    Matrix3 there, back;
    const double cx = 0.5 * (width_ - 1), cy = 0.5 * (height_ - 1);
    there << scale_, 0, -scale_ * cx, 0, scale_, -scale_ * cy, 0, 0, 1;
    back << 1 / scale_, 0, cx, 0, 1 / scale_, cy, 0, 0, 1;
    const Matrix3 out = back * matrix * there;
    return out / out(2, 2);
}

double MotionFitter::cost(const Matrix3 &matrix, double limit) const {
    const Eigen::Matrix3f h = matrix.cast<float>();
    const auto most = static_cast<float>(threshold_ * threshold_);
    const float a = h(0, 0), b = h(0, 1), c = h(0, 2), d = h(1, 0), e = h(1, 1), f = h(1, 2);
    const float g = h(2, 0), k = h(2, 1), l = h(2, 2);
    const std::size_t count = from_x_.size();
    constexpr std::size_t lanes = 8;
    double total = 0;
    // Blocks of lanes: independent sums that the compiler may keep in one vector, in an order of their own.
    for (std::size_t begin = 0; begin < count; begin += 64) {
        const std::size_t end = std::min(begin + 64, count);
        float sums[lanes] = {};
        std::size_t i = begin;
        for (; i + lanes <= end; i += lanes)
            for (std::size_t n = 0; n < lanes; n++) {
                const float x = from_x_[i + n], y = from_y_[i + n];
                const float w = 1.0F / (g * x + k * y + l);
                const float dx = (a * x + b * y + c) * w - to_x_[i + n];
                const float dy = (d * x + e * y + f) * w - to_y_[i + n];
                const float square = dx * dx + dy * dy;
                sums[n] += square < most ? square : most;
            }
        for (; i < end; i++) {
            const float x = from_x_[i], y = from_y_[i];
            const float w = 1.0F / (g * x + k * y + l);
            const float dx = (a * x + b * y + c) * w - to_x_[i];
            const float dy = (d * x + e * y + f) * w - to_y_[i];
            const float square = dx * dx + dy * dy;
            sums[0] += square < most ? square : most;
        }
        for (const float sum : sums)
            total += static_cast<double>(sum);
        if (total > limit)
            break;
    }
    return total;
}

// A motion from one picture of a video to the next: nothing turns over, vanishes or leaves by a picture's
// size.
bool MotionFitter::sane(const Matrix3 &matrix) const {
    const double sx = 0.5 * scale_ * width_, sy = 0.5 * scale_ * height_;
    const std::array<Eigen::Vector2d, 4> corners = {
        {{-sx, -sy}, {sx, -sy}, {sx, sy}, {-sx, sy}}}; // around the picture
    std::array<Eigen::Vector2d, 4> moved;
    for (std::size_t i = 0; i < 4; i++) {
        const Eigen::Vector3d at = matrix * Eigen::Vector3d(corners[i].x(), corners[i].y(), 1);
        if (!at.allFinite() || at.z() < 0.5 || at.z() > 2.0)
            return false;
        moved[i] = at.head<2>() / at.z();
        if ((moved[i] - corners[i]).norm() > 2.0)
            return false;
    }
    for (std::size_t i = 0; i < 4; i++) {
        const Eigen::Vector2d a = moved[(i + 1) % 4] - moved[i];
        const Eigen::Vector2d b = moved[(i + 2) % 4] - moved[(i + 1) % 4];
        const double area = a.x() * b.y() - a.y() * b.x();
        if (area < 0.25 * 4 * sx * sy || area > 4.0 * 4 * sx * sy)
            return false;
    }
    return true;
}

MotionFitter::Consensus MotionFitter::search(Motion motion, const Matrix3 &guess) {
    const auto count = static_cast<uint32_t>(from_x_.size());
    const int size = sample_size(motion);
    Consensus best = {Matrix3::Identity(), 0};
    best.cost = cost(best.matrix, HUGE_VAL);
    if (guess != best.matrix && sane(guess)) {
        const double by_guess = cost(guess, best.cost);
        if (by_guess < best.cost)
            best = {guess, by_guess};
    }

    Pcg random;
    const double worst = threshold_ * threshold_ * count;
    int samples = most_samples;
    for (int n = 0; n < samples; n++) {
        std::array<Pair, 4> pairs{};
        std::array<uint32_t, 4> picked{};
        for (int i = 0; i < size; i++) {
            const auto slot = static_cast<std::size_t>(i);
            picked[slot] = random.below(count);
            const std::size_t k = picked[slot];
            pairs[slot] = {static_cast<double>(from_x_[k]), static_cast<double>(from_y_[k]),
                           static_cast<double>(to_x_[k]), static_cast<double>(to_y_[k])};
        }
        Matrix3 matrix = Matrix3::Identity();
        if (motion == Motion::homography) {
            if (!homography_of(pairs, matrix))
                continue;
        } else if (motion == Motion::similarity) {
            if (!similarity_of(pairs[0], pairs[1], matrix))
                continue;
        } else {
            matrix(0, 2) = pairs[0].u - pairs[0].x;
            matrix(1, 2) = pairs[0].v - pairs[0].y;
        }
        if (!sane(matrix))
            continue;
        const double found = cost(matrix, best.cost);
        if (found >= best.cost)
            continue;
        best = {matrix, found};
        // The truncated cost bounds the share of inliers from below.
        const double share = std::clamp(1.0 - found / worst, 0.01, 0.99);
        const double misses = std::log1p(-std::pow(share, size));
        samples = std::min(most_samples, n + 1 + static_cast<int>(std::log(1 - wanted_confidence) / misses));
    }
    return best;
}

// Gauss-Newton on Geman and McClure's robust error; false when the points leave it open.
bool MotionFitter::refine(Motion motion, Matrix3 &matrix, double &spread) {
    const int n = parameters(motion);
    const double square_scale = threshold_ * threshold_;
    using Normal = Eigen::Matrix<double, 8, 8>;
    using Vector = Eigen::Matrix<double, 8, 1>;
    const auto normal_equations = [&](Normal &a, Vector &b, double &weights, double &squares) {
        a.setZero();
        b.setZero();
        weights = squares = 0;
        for (std::size_t i = 0; i < from_x_.size(); i++) {
            Eigen::Vector2d at;
            Jacobian j;
            jacobian(motion, matrix, static_cast<double>(from_x_[i]), static_cast<double>(from_y_[i]), at, j);
            const Eigen::Vector2d r =
                Eigen::Vector2d(static_cast<double>(to_x_[i]), static_cast<double>(to_y_[i])) - at;
            const double square = r.squaredNorm();
            if (square > 9 * square_scale)
                continue;
            const double t = square_scale / (square_scale + square);
            const double weight = t * t;
            a.noalias() += weight * j.transpose() * j;
            b.noalias() += weight * j.transpose() * r;
            weights += weight;
            squares += weight * square;
        }
        for (int i = n; i < 8; i++)
            a(i, i) = 1;
    };

    Normal a;
    Vector b;
    double weights = 0, squares = 0;
    for (int i = 0; i < refinements; i++) {
        normal_equations(a, b, weights, squares);
        const Eigen::LDLT<Normal> ldlt(a);
        if (ldlt.info() != Eigen::Success || ldlt.vectorD().minCoeff() < 1e-9)
            return false;
        const Vector step = ldlt.solve(b);
        if (!step.allFinite())
            return false;
        add(motion, matrix, step);
        if (!sane(matrix))
            return false;
        if (step.cwiseAbs().maxCoeff() < 1e-9)
            break;
    }
    normal_equations(a, b, weights, squares);
    // sigma^2 of one coordinate, from what the parameters left over.
    const double free = 2 * weights - n;
    const double noise = std::max(noise_, free > 0 ? std::sqrt(squares / free) : threshold_);
    const Eigen::LDLT<Normal> ldlt(a);
    if (ldlt.info() != Eigen::Success || ldlt.vectorD().minCoeff() < 1e-9)
        return false;
    spread = 0;
    const double sx = 0.5 * scale_ * width_, sy = 0.5 * scale_ * height_;
    for (const double x : {-sx, sx})
        for (const double y : {-sy, sy}) {
            Eigen::Vector2d at;
            Jacobian j;
            jacobian(motion, matrix, x, y, at, j);
            const Eigen::Matrix2d covariance = j * ldlt.solve(j.transpose());
            spread = std::max(spread, noise * std::sqrt(std::max(covariance.trace(), 0.0)));
        }
    spread /= scale_;
    return std::isfinite(spread);
}

int MotionFitter::mark(const Matrix3 &matrix, double &residual) {
    int inliers = 0;
    double squares = 0;
    for (std::size_t i = 0; i < from_x_.size(); i++) {
        const Eigen::Vector3d at =
            matrix * Eigen::Vector3d(static_cast<double>(from_x_[i]), static_cast<double>(from_y_[i]), 1);
        const double dx = at.x() / at.z() - static_cast<double>(to_x_[i]);
        const double dy = at.y() / at.z() - static_cast<double>(to_y_[i]);
        const double square = dx * dx + dy * dy;
        inlier_[i] = square < threshold_ * threshold_;
        if (inlier_[i]) {
            inliers++;
            squares += square;
        }
    }
    residual = inliers ? std::sqrt(squares / inliers) / scale_ : 0;
    return inliers;
}

MotionFit MotionFitter::fit(std::span<const Point> from, std::span<const Point> to,
                            const MotionLimits &limits, const Matrix3 &guess) {
    const std::size_t count = from.size();
    for (std::vector<float> *all : {&from_x_, &from_y_, &to_x_, &to_y_})
        all->resize(count);
    inlier_.assign(count, 0);
    threshold_ = limits.threshold * scale_;
    noise_ = limits.noise * scale_;
    const double cx = 0.5 * (width_ - 1), cy = 0.5 * (height_ - 1);
    for (std::size_t i = 0; i < count; i++) {
        from_x_[i] = static_cast<float>((static_cast<double>(from[i].x()) - cx) * scale_);
        from_y_[i] = static_cast<float>((static_cast<double>(from[i].y()) - cy) * scale_);
        to_x_[i] = static_cast<float>((static_cast<double>(to[i].x()) - cx) * scale_);
        to_y_[i] = static_cast<float>((static_cast<double>(to[i].y()) - cy) * scale_);
    }
    Matrix3 there;
    there << 1 / scale_, 0, cx, 0, 1 / scale_, cy, 0, 0, 1;
    Matrix3 normalised_guess = there.inverse() * guess * there;
    normalised_guess /= normalised_guess(2, 2);

    for (const Motion motion : {Motion::homography, Motion::similarity, Motion::translation}) {
        if (motion > limits.most || static_cast<int>(count) < least_points(motion))
            continue;
        Matrix3 matrix =
            search(motion, motion == Motion::homography ? normalised_guess : Matrix3::Identity()).matrix;
        double spread = 0;
        if (!refine(motion, matrix, spread))
            continue;
        MotionFit fit;
        fit.inliers = mark(matrix, fit.residual);
        if (fit.inliers < least_points(motion) || (motion != Motion::translation && spread > limits.spread))
            continue;
        fit.motion = motion;
        fit.spread = spread;
        fit.matrix = to_picture(matrix);
        return fit;
    }
    inlier_.assign(count, 0);
    return {};
}

} // namespace clv::mesh
