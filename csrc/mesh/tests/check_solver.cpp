// SPDX-License-Identifier: BSD-2-Clause
//
// check_solver [--bench] [--print]
// The mesh from features whose places are made up, so that every error is the solver's.

#include "scene.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "mesh/solver.h"

using namespace clv::mesh;
using namespace clv::mesh::test;

namespace {

constexpr int width = 1280, height = 720;
bool print = false;

using Truth = std::function<Eigen::Vector2d(double, double)>;

std::string text(double value) {
    char out[32];
    std::snprintf(out, sizeof out, "%.4f", value);
    return out;
}

std::string text(const Error &error) {
    return "error mean " + text(error.mean) + ", worst " + text(error.worst);
}

void note(Report &report, bool good, const std::string &what) {
    if (print)
        std::printf("%s\n", what.c_str());
    report.expect(good, what);
}

struct Features {
    int count = 430;
    double noise = 0.04; // samples, along each axis
    double outliers = 0; // share
    double left = 12, right = width - 12, top = 12, bottom = height - 12;
};

std::vector<Match> features(Random &random, const Features &wanted, const Truth &truth) {
    std::vector<Match> out;
    for (int i = 0; i < wanted.count; i++) {
        Match match;
        const double x = uniform(random, wanted.left, wanted.right),
                     y = uniform(random, wanted.top, wanted.bottom);
        Eigen::Vector2d to = truth(x, y);
        // Sum of two uniform numbers: no tails.
        to.x() += wanted.noise * 1.22 * (uniform(random, -1, 1) + uniform(random, -1, 1));
        to.y() += wanted.noise * 1.22 * (uniform(random, -1, 1) + uniform(random, -1, 1));
        if (uniform(random, 0, 1) < wanted.outliers)
            to += Eigen::Vector2d(uniform(random, -60, 60), uniform(random, -60, 60));
        match.current = Point(static_cast<float>(x), static_cast<float>(y));
        match.previous = to.cast<float>();
        match.id = static_cast<uint32_t>(i);
        out.push_back(match);
    }
    return out;
}

Truth by(const Eigen::Matrix3d &h) {
    return [h](double x, double y) { return apply(h, x, y); };
}

void check_mesh(Report &report) {
    Random random(11);
    for (int round = 0; round < 40; round++) {
        const Grid grid = {1 + static_cast<int>(random() % 32), 1 + static_cast<int>(random() % 18)};
        const int w = 16 + static_cast<int>(random() % 700), h = 16 + static_cast<int>(random() % 500);
        std::vector<Point> displacements(static_cast<size_t>(grid.vertices()));
        for (Point &d : displacements)
            d = Point(static_cast<float>(uniform(random, -3, 3)), static_cast<float>(uniform(random, -3, 3)));
        const bool bent = round % 3 != 0;
        const Mesh mesh(grid, w, h, motion(w, h, 3, -2, 4, 1.02, 0.05, -0.03),
                        bent ? displacements : std::vector<Point>{});
        std::vector<Point> row(static_cast<size_t>(w + 40));
        double worst = 0;
        for (const int y : {-15, 0, h / 3, h - 1, h + 9}) {
            mesh.row(y, -20, w + 20, row.data());
            for (int x = -20; x < w + 20; x++)
                worst = std::max(
                    worst, static_cast<double>((row[static_cast<size_t>(x + 20)] -
                                                mesh(Point(static_cast<float>(x), static_cast<float>(y))))
                                                   .norm()));
        }
        report.expect(worst < 2e-3, "row() is what operator() is: " + text(worst));
        if (bent) {
            const int column = static_cast<int>(random()) % (grid.columns + 1) & 31 % (grid.columns + 1);
            const Point at(static_cast<float>(column * w) / static_cast<float>(grid.columns) - 0.5F, -0.5F);
            const Point there = mesh(at);
            const Eigen::Vector2d plain = apply(mesh.homography(), static_cast<double>(at.x()), -0.5);
            report.expect(
                ((there.cast<double>() - plain).cast<float>() - mesh.displacement(column, 0)).norm() < 1e-2F,
                "a vertex moves by its displacement");
        }
    }
    const Mesh none({16, 9}, 100, 50);
    report.expect(none.is_identity() && none(Point(3.25F, 4.5F)) == Point(3.25F, 4.5F),
                  "the identity is exact");
    const Mesh zeros({2, 2}, 100, 50, Eigen::Matrix3d::Identity(), std::vector<Point>(9, Point::Zero()));
    report.expect(zeros.is_identity(), "displacements of nothing are the identity");
}

void check_homographies(Report &report) {
    struct {
        const char *name;
        Eigen::Matrix3d h;
    } const cases[] = {
        {"pan", motion(width, height, 44, -12)},
        {"turn", motion(width, height, 3, 2, 3.5)},
        {"zoom", motion(width, height, 0, 0, 0, 1.06)},
        {"tilt", motion(width, height, 5, 5, 1, 0.98, 0.06, -0.04)},
        {"half a sample", motion(width, height, 0.4, 0.3)},
    };
    for (const auto &[name, h] : cases)
        for (const double outliers : {0.0, 0.3, 0.5})
            for (const Grid grid : {Grid{1, 1}, Grid{16, 9}, Grid{32, 18}, Grid{5, 7}}) {
                Random random(5);
                Features wanted;
                wanted.outliers = outliers;
                const std::vector<Match> matches = features(random, wanted, by(h));
                Solver solver(grid, width, height, {});
                const Solution solution = solver.solve(matches);
                const Error error = error_of(solution.mesh, by(h));
                const std::string what = std::string(name) + ", " + std::to_string(grid.columns) + "x" +
                                         std::to_string(grid.rows) + ", outliers " + text(outliers) + ": " +
                                         text(error) + ", inliers " + std::to_string(solution.inliers) +
                                         ", residual " + text(solution.residual);
                note(report, solution.trusted && error.worst < 0.1, what);
                if (grid == Grid{1, 1})
                    report.expect((apply(solution.mesh.homography(), 100, 100) -
                                   solution.mesh(Point(100, 100)).cast<double>())
                                          .norm() < 1e-3,
                                  "1x1 is the homography alone");
            }
}

// A near plane below, a far one above.
Eigen::Vector2d two_planes(double x, double y, double shift) {
    const double near_share = 1 / (1 + std::exp(-(y - 400) / 12));
    return {x + 2 + shift * near_share, y - 1};
}

void check_parallax(Report &report) {
    for (const double shift : {3.0, 8.0, 16.0}) {
        const Truth truth = [shift](double x, double y) { return two_planes(x, y, shift); };
        double rms[2] = {};
        int i = 0;
        for (const Grid grid : {Grid{1, 1}, Grid{16, 9}}) {
            Random random(7);
            Features wanted;
            wanted.outliers = 0.1;
            Solver solver(grid, width, height, {});
            const Solution solution = solver.solve(features(random, wanted, truth));
            double squares = 0;
            int count = 0;
            for (int y = 4; y < height; y += 8)
                for (int x = 4; x < width; x += 8, count++)
                    squares +=
                        (solution.mesh(Point(static_cast<float>(x), static_cast<float>(y))).cast<double>() -
                         truth(x, y))
                            .squaredNorm();
            rms[i++] = std::sqrt(squares / count);
            note(report, solution.inliers > 100,
                 "parallax of " + text(shift) + ", " + std::to_string(grid.columns) + "x" +
                     std::to_string(grid.rows) + ": rms " + text(rms[i - 1]) + ", inliers " +
                     std::to_string(solution.inliers) + ", cost " + text(solution.cost_features) + " + " +
                     text(solution.cost_shape) + " + " + text(solution.cost_time));
        }
        report.expect(rms[1] < 0.5 * rms[0],
                      "a mesh halves the error of one homography where there is parallax");
    }
}

void check_moving_object(Report &report) {
    Random random(9);
    const Eigen::Matrix3d h = motion(width, height, 6, -3, 0.4);
    std::vector<Match> matches = features(random, {}, by(h));
    int on_object = 0;
    for (Match &match : matches)
        if (match.current.x() > 500 && match.current.x() < 720 && match.current.y() > 250 &&
            match.current.y() < 480) {
            match.previous += Point(14, 3);
            on_object++;
        }
    Solver solver({16, 9}, width, height, {});
    const Solution solution = solver.solve(matches);
    const Error error = error_of(solution.mesh, by(h));
    note(report, error.worst < 0.25 && solution.inliers <= static_cast<int>(matches.size()) - on_object,
         "an object of " + std::to_string(on_object) + " features that moves by itself: " + text(error));
}

void check_still(Report &report) {
    for (const double noise : {0.0, 0.05, 0.15}) {
        Solver solver({16, 9}, width, height, {}), swapped({16, 9}, width, height, {});
        Random random(21);
        Features wanted;
        wanted.noise = 0;
        const std::vector<Match> base = features(random, wanted, by(Eigen::Matrix3d::Identity()));
        std::vector<Match> last = base;
        int moved = 0;
        for (int n = 0; n < 50; n++) {
            std::vector<Match> matches = base;
            for (size_t i = 0; i < matches.size(); i++) {
                matches[i].previous = n ? last[i].current : base[i].current;
                matches[i].current += Point(static_cast<float>(uniform(random, -2, 2) * noise),
                                            static_cast<float>(uniform(random, -2, 2) * noise));
            }
            last = matches;
            const Solution solution = solver.solve(matches);
            moved += !solution.mesh.is_identity() || !solution.trusted;
            for (Match &match : matches)
                std::swap(match.previous, match.current);
            moved += !swapped.solve(matches).mesh.is_identity();
        }
        note(report, moved == 0,
             "a camera that stands, features noisy by " + text(noise) + ": moved in " +
                 std::to_string(moved) + " of 50 pictures");
    }

    // Slower than what a single step can show: nothing is lost over time, in either direction.
    for (const bool swap : {false, true}) {
        Solver solver({16, 9}, width, height, {});
        Random random(23);
        Features wanted;
        wanted.noise = 0;
        const std::vector<Match> base = features(random, wanted, by(Eigen::Matrix3d::Identity()));
        std::vector<Match> last = base;
        Point at(640, 360);
        double worst = 0;
        int identities = 0;
        constexpr float speed = 0.03F;
        for (int n = 1; n <= 100; n++) {
            std::vector<Match> matches = base;
            for (size_t i = 0; i < matches.size(); i++) {
                matches[i].previous = n > 1 ? last[i].current : base[i].current;
                matches[i].current = base[i].current + Point(speed * static_cast<float>(n), 0) +
                                     Point(static_cast<float>(uniform(random, -0.05, 0.05)),
                                           static_cast<float>(uniform(random, -0.05, 0.05)));
            }
            last = matches;
            if (swap)
                for (Match &match : matches)
                    std::swap(match.previous, match.current);
            const Solution solution = solver.solve(matches);
            identities += solution.mesh.is_identity();
            at = solution.mesh(at);
            const float expected = swap ? speed * static_cast<float>(n) : -speed * static_cast<float>(n);
            worst = std::max(worst, static_cast<double>((at - Point(640 + expected, 360)).norm()));
        }
        note(report, worst < 0.2 && identities > 20,
             std::string("0.03 samples a picture for 100 pictures") + (swap ? ", swapped" : "") +
                 ": off by " + text(worst) + ", still in " + std::to_string(identities));
    }
}

void check_few(Report &report) {
    const auto sane = [](const Solution &solution) {
        const Error error = error_of(solution.mesh, [](double x, double y) { return Eigen::Vector2d(x, y); });
        return std::isfinite(error.worst) && std::isfinite(solution.residual) && error.worst < width;
    };
    Solver solver({16, 9}, width, height, {});
    const Solution none = solver.solve({});
    report.expect(none.mesh.is_identity() && !none.trusted && none.inlier.empty(),
                  "no features: the identity");

    const Eigen::Matrix3d shift = motion(width, height, 9, 4);
    struct {
        const char *name;
        Features features;
        double limit; // of the error all over the picture, for a plain shift
    } const cases[] = {
        {"one", {1}, 10.5},
        {"two", {2}, 0.5},
        {"three", {3}, 0.5},
        {"seven", {7}, 0.6},
        {"fifteen", {15}, 0.6},
        {"collinear", {60, 0.04, 0, 100, 1100, 300, 300.01}, 1.0},
        {"in one corner", {60, 0.04, 0, 20, 120, 20, 100}, 1.5},
        {"in one place", {60, 0.04, 0, 20, 20.01, 20, 20.01}, 0.5},
        {"a strip at the top, half of them wrong", {100, 0.04, 0.5, 20, 1250, 20, 90}, 1.5},
    };
    for (const auto &[name, wanted, limit] : cases) {
        Random random(31);
        solver.reset();
        const Solution solution = solver.solve(features(random, wanted, by(shift)));
        const Error error = error_of(solution.mesh, by(shift));
        note(report, sane(solution) && error.worst < limit,
             std::string("features ") + name + ": " + text(error));
    }

    // Nonsense in, no nonsense out.
    Random random(37);
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    for (int round = 0; round < 60; round++) {
        Features wanted;
        wanted.count = static_cast<int>(random() % 80);
        wanted.outliers = round % 2 ? 1.0 : 0.6;
        std::vector<Match> matches = features(random, wanted, by(shift));
        for (Match &match : matches)
            if (random() % 10 == 0)
                match.previous = Point(nan, 3);
        report.expect(sane(solver.solve(matches)), "random matches give a sane mesh");
    }
    for (const auto &[w, h] : {std::pair{1, 1}, {16, 16}, {33, 17}, {2000, 3}}) {
        Solver tiny({32, 18}, w, h, {});
        report.expect(tiny.solve({}).mesh.is_identity(), "a tiny picture");
    }
}

void check_same_twice(Report &report) {
    Solver a({16, 9}, width, height, {}), b({16, 9}, width, height, {});
    Random random(41);
    for (int n = 0; n < 5; n++) {
        Features wanted;
        wanted.outliers = 0.3;
        const std::vector<Match> matches =
            features(random, wanted, [n](double x, double y) { return two_planes(x, y, n); });
        const Solution one = a.solve(matches), two = b.solve(matches);
        bool same = one.mesh.homography() == two.mesh.homography();
        for (int row = 0; row <= 9; row++)
            for (int column = 0; column <= 16; column++)
                same = same && one.mesh.displacement(column, row) == two.mesh.displacement(column, row);
        report.expect(same, "the same features give the same mesh");
    }
}

void bench() {
    for (const Grid grid : {Grid{1, 1}, Grid{8, 5}, Grid{16, 9}, Grid{32, 18}}) {
        Solver solver(grid, width, height, {});
        Random random(51);
        Features wanted;
        wanted.outliers = 0.15;
        const std::vector<Match> matches =
            features(random, wanted, [](double x, double y) { return two_planes(x, y, 5); });
        double best = HUGE_VAL;
        for (int n = 0; n < 40; n++) {
            const auto begin = std::chrono::steady_clock::now();
            solver.solve(matches);
            best = std::min(best,
                            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
        }
        std::printf("solve %2dx%-2d  %6.3f ms\n", grid.columns, grid.rows, 1e3 * best);
    }
}

} // namespace

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (std::string(argv[i]) == "--bench") {
            bench();
            return 0;
        }
        print = print || std::string(argv[i]) == "--print";
    }
    Report report;
    check_mesh(report);
    check_homographies(report);
    check_parallax(report);
    check_moving_object(report);
    check_still(report);
    check_few(report);
    check_same_twice(report);
    return report.finish();
}
