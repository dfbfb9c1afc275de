// SPDX-License-Identifier: BSD-2-Clause
//
// check_tracker [--bench] [--print]
// Reduced luma, features and the mesh that they make, on pictures whose motion is known.

#include "scene.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <ctime>
#include <memory>

#include <Eigen/LU>

#include "mesh/luma.h"
#include "mesh/solver.h"
#include "pixels/thread_pool.h"

using namespace clv;
using namespace clv::mesh;
using namespace clv::mesh::test;

namespace {

bool print = false;

std::string text(double value) {
    char out[32];
    std::snprintf(out, sizeof out, "%.4f", value);
    return out;
}

void note(Report &report, bool good, const std::string &what) {
    if (print)
        std::printf("%s\n", what.c_str());
    report.expect(good, what);
}

// Of this thread on its core, so that neighbours on a busy machine do not count.
double seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Luma and hole of the full picture to a mesh, as the inpainter does it.
struct Chain {
    Chain(int w, int h, Grid grid = {}, int threads = 2)
        : width(w), height(h), pool(threads), tracker(w, h, {}, pool), solver(grid, w, h, {}),
          luma(tracker.reduced_width(), tracker.reduced_height()),
          hole(tracker.reduced_width(), tracker.reduced_height()) {}

    Solution next(const Plane &picture, const Plane *mask = nullptr) {
        pixels::PictureFormat format;
        format.width = width;
        format.height = height;
        pixels::ConstPicture view;
        view.data[0] = picture.data.data();
        view.stride[0] = width;
        return next(format, view, mask);
    }

    Solution next(const pixels::PictureFormat &format, const pixels::ConstPicture &view, const Plane *mask) {
        const double begin = seconds();
        reduce_luma(format, view, tracker.reduction(), luma.data.data(), luma.width, pool);
        if (mask)
            reduce_mask(mask->data.data(), width, width, height, tracker.reduction(), hole.data.data(),
                        hole.width, pool);
        else
            std::fill(hole.data.begin(), hole.data.end(), uint8_t{0});
        const double reduced = seconds();
        tracks = tracker.advance(luma.view(), hole.view());
        const double tracked = seconds();
        Solution solution = solver.solve(tracks.matches);
        const double solved = seconds();
        reduce_time = reduced - begin;
        track_time = tracked - reduced;
        solve_time = solved - tracked;
        return solution;
    }

    int width, height;
    pixels::ThreadPool pool;
    Tracker tracker;
    Solver solver;
    Plane luma, hole;
    Tracks tracks;
    double reduce_time = 0, track_time = 0, solve_time = 0;
};

void check_luma(Report &report) {
    Random random(3);
    pixels::ThreadPool pool(3);
    for (int round = 0; round < 60; round++) {
        pixels::PictureFormat format;
        format.width = 1 + static_cast<int>(random() % 200);
        format.height = 1 + static_cast<int>(random() % 90);
        format.bit_depth = std::array{8, 10, 16, 12}[random() % 4];
        format.msb_aligned = random() % 2;
        const int reduction = std::min({1 + static_cast<int>(random() % 9), format.width, format.height});
        const int bytes = format.bytes_per_sample();
        const int shift = bytes == 2 && format.msb_aligned ? 16 - format.bit_depth : 0;
        const ptrdiff_t size = format.width * bytes + static_cast<ptrdiff_t>(random() % 20);
        const bool upside_down = random() % 3 == 0;
        std::vector<uint8_t> memory(static_cast<size_t>(size * format.height));
        std::vector<int> codes(static_cast<size_t>(format.width * format.height));
        std::vector<uint8_t> mask(codes.size());
        pixels::ConstPicture picture;
        picture.stride[0] = upside_down ? -size : size;
        uint8_t *first = memory.data() + (upside_down ? size * (format.height - 1) : 0);
        picture.data[0] = first;
        for (int y = 0; y < format.height; y++)
            for (int x = 0; x < format.width; x++) {
                const int code = static_cast<int>(random() & ((1U << format.bit_depth) - 1));
                codes[static_cast<size_t>(y * format.width + x)] = code;
                mask[static_cast<size_t>(y * format.width + x)] = random() % 17 == 0;
                uint8_t *at = first + y * picture.stride[0] + x * bytes;
                const auto sample = static_cast<uint16_t>(code << shift);
                if (bytes == 2)
                    std::memcpy(at, &sample, 2);
                else
                    *at = static_cast<uint8_t>(code);
            }
        Plane luma(reduced_size(format.width, reduction), reduced_size(format.height, reduction), 77);
        Plane any = luma;
        reduce_luma(format, picture, reduction, luma.data.data(), luma.width, pool);
        reduce_mask(mask.data(), format.width, format.width, format.height, reduction, any.data.data(),
                    any.width, pool);
        int wrong = 0;
        for (int j = 0; j < luma.height; j++)
            for (int i = 0; i < luma.width; i++) {
                double sum = 0;
                bool seen = false;
                for (int v = 0; v < reduction; v++)
                    for (int u = 0; u < reduction; u++) {
                        const auto at =
                            static_cast<size_t>((j * reduction + v) * format.width + i * reduction + u);
                        sum += codes[at];
                        seen = seen || mask[at];
                    }
                const double mean = sum / reduction / reduction / (1 << (format.bit_depth - 8));
                wrong += std::abs(luma.row(j)[i] - std::min(mean, 255.0)) > 0.5001;
                wrong += any.row(j)[i] != (seen ? 255 : 0);
            }
        report.expect(wrong == 0, "reduced luma and mask, " + std::to_string(format.width) + "x" +
                                      std::to_string(format.height) + ", " +
                                      std::to_string(format.bit_depth) + " bit by " +
                                      std::to_string(reduction) + ": " + std::to_string(wrong) + " wrong");
    }
    report.expect(reduction_of(1280, 720) == 3 && reduction_of(1920, 1080) == 4 &&
                      reduction_of(480, 270) == 1 && reduction_of(481, 2) == 2 &&
                      reduction_of(720, 1280) == 3,
                  "reduction of usual sizes");
}

struct Case {
    const char *name;
    double dx, dy, degrees, zoom, tilt_x, tilt_y;
    double noise = 0;
    double gain = 1;
};

// One step of a known motion, the picture's size and noise given: the mesh is right to a tenth of a sample.
void check_recovered(Report &report) {
    constexpr int width = 1280, height = 720;
    const Texture texture(1);
    const Case cases[] = {
        {"translation by a fraction", 1.37, -0.61, 0, 1, 0, 0},
        {"pan", 12.3, 3.7, 0, 1, 0, 0},
        {"fast pan", 47.7, -21.2, 0, 1, 0, 0},
        {"whip", 90.3, 10.4, 0, 1, 0, 0},
        {"rotation", 0, 0, 2.0, 1, 0, 0},
        {"zoom", 2, 1, 0, 1.03, 0, 0},
        {"tilt", 4, -3, 0.5, 1.01, 0.02, -0.015},
        {"noise of 3 codes", 5.5, 2.25, 0.7, 1.01, 0, 0, 3},
        {"a third darker", 5.5, 2.25, 0.7, 1.0, 0, 0, 0, 0.67},
    };
    for (const Case &now : cases) {
        const Eigen::Matrix3d back =
            motion(width, height, now.dx, now.dy, now.degrees, now.zoom, now.tilt_x, now.tilt_y);
        const Plane first = render(
            width, height, [&](double x, double y) { return texture(x, y); }, now.noise, 1);
        const Plane second = render(
            width, height,
            [&](double x, double y) {
                const Eigen::Vector2d at = apply(back, x, y);
                return now.gain * texture(at.x(), at.y());
            },
            now.noise, 2);
        for (const Grid grid : {Grid{1, 1}, Grid{16, 9}}) {
            Chain chain(width, height, grid);
            chain.next(first);
            const Solution solution = chain.next(second);
            const Error error =
                error_of(solution.mesh, [&](double x, double y) { return apply(back, x, y); });
            const std::string what = std::string(now.name) + ", " + std::to_string(grid.columns) + "x" +
                                     std::to_string(grid.rows) + ": error mean " + text(error.mean) +
                                     ", worst " + text(error.worst) + "; " +
                                     std::to_string(solution.inliers) + " of " +
                                     std::to_string(chain.tracks.matches.size()) + " features, residual " +
                                     text(solution.residual) + ", lost " + std::to_string(chain.tracks.lost);
            note(report, solution.trusted && error.worst < (now.noise > 0 ? 0.15 : 0.1) && error.mean < 0.05,
                 what);
        }
    }
}

// A camera that sways for 100 pictures: the points of the last picture, carried back through all meshes.
void check_drift(Report &report) {
    constexpr int width = 640, height = 360, pictures = 100;
    const Texture texture(2);
    for (const double noise : {0.0, 2.0}) {
        Chain chain(width, height);
        std::vector<Mesh> meshes;
        std::vector<Eigen::Matrix3d> cameras;
        for (int n = 0; n <= pictures; n++) {
            const double t = 0.13 * n;
            const Eigen::Matrix3d camera =
                motion(width, height, 25 * std::sin(t) + 4 * std::sin(3.1 * t), 12 * std::sin(1.7 * t),
                       2 * std::sin(0.7 * t), 1 + 0.03 * std::sin(0.4 * t), 0.01 * std::sin(t), 0);
            cameras.push_back(camera);
            const Plane picture = render(
                width, height,
                [&](double x, double y) {
                    const Eigen::Vector2d at = apply(camera, x, y);
                    return static_cast<double>(texture(at.x(), at.y()));
                },
                noise, static_cast<uint32_t>(n + 1));
            meshes.push_back(chain.next(picture).mesh);
        }
        Error error;
        int count = 0;
        for (int y = 40; y <= height - 40; y += 20)
            for (int x = 40; x <= width - 40; x += 20) {
                Point at(static_cast<float>(x), static_cast<float>(y));
                bool visible = true;
                for (int n = pictures; n > 0 && visible; n--) {
                    at = meshes[static_cast<size_t>(n)](at);
                    visible = at.x() >= 0 && at.y() >= 0 && at.x() < width && at.y() < height;
                }
                if (!visible)
                    continue;
                const Eigen::Vector2d right = apply(cameras[0].inverse() * cameras[pictures], x, y);
                const double distance = (at.cast<double>() - right).norm();
                error.mean += distance;
                error.worst = std::max(error.worst, distance);
                count++;
            }
        error.mean /= std::max(count, 1);
        note(report, count > 100 && error.worst < 0.3,
             "100 pictures of sway, noise " + text(noise) + ": drift mean " + text(error.mean) + ", worst " +
                 text(error.worst) + " over " + std::to_string(count) + " points");
    }
}

// What lies above the horizon is far and hardly moves; a near plane below does. The mesh follows both.
void check_parallax(Report &report) {
    constexpr int width = 1280, height = 720;
    const Texture texture(4);
    const auto depth = [](double y) { return 1 / (1 + std::exp(-(y - 420) / 10)); };
    double rms[2] = {};
    int which = 0;
    for (const Grid grid : {Grid{1, 1}, Grid{16, 9}}) {
        Chain chain(width, height, grid);
        Solution solution;
        constexpr int pictures = 5;
        const auto shift = [&](double y, int n) { return n * (1.5 + 7.3 * depth(y)); };
        for (int n = 0; n < pictures; n++)
            solution = chain.next(render(width, height, [&](double x, double y) {
                return static_cast<double>(texture(x + shift(y, n), y));
            }));
        double squares = 0;
        int count = 0;
        for (int y = 4; y < height; y += 8)
            for (int x = 16; x < width - 16; x += 8, count++) {
                const Point found = solution.mesh(Point(static_cast<float>(x), static_cast<float>(y)));
                const Eigen::Vector2d right(x + shift(y, pictures - 1) - shift(y, pictures - 2), y);
                squares += (found.cast<double>() - right).squaredNorm();
            }
        rms[which++] = std::sqrt(squares / count);
        note(report, solution.trusted,
             "two planes, " + std::to_string(grid.columns) + "x" + std::to_string(grid.rows) + ": rms " +
                 text(rms[which - 1]) + ", inliers " + std::to_string(solution.inliers) + " of " +
                 std::to_string(chain.tracks.matches.size()));
    }
    report.expect(rms[1] < 0.5 * rms[0], "the mesh leaves less than half of a homography's error");
}

// Somebody walks: in the hole, nothing of them is tracked, and the mesh behind them is the background's.
void check_hole(Report &report) {
    constexpr int width = 1280, height = 720;
    const Texture background(5), walker(6);
    Chain chain(width, height);
    double worst = 0;
    int inside = 0;
    for (int n = 0; n < 6; n++) {
        const auto camera = [](int m) { return motion(width, height, 7.0 * m, -2.0 * m, 0.3 * m); };
        const double left = 300 + 22 * n;
        const auto on = [&](double x, double y) { return x > left && x < left + 230 && y > 120 && y < 640; };
        Plane mask(width, height);
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                mask.row(y)[x] = on(x, y) ? 255 : 0;
        const Plane picture = render(width, height, [&](double x, double y) {
            const Eigen::Vector2d at = apply(camera(n), x, y);
            return static_cast<double>(on(x, y) ? walker(x - left, y + 3 * n) : background(at.x(), at.y()));
        });
        const Solution solution = chain.next(picture, &mask);
        for (const Match &match : chain.tracks.matches) {
            const auto [x, y] =
                std::pair(static_cast<double>(match.current.x()), static_cast<double>(match.current.y()));
            inside += x > left - 15 && x < left + 245 && y > 105 && y < 655;
        }
        if (n) {
            const Eigen::Matrix3d truth = camera(n - 1).inverse() * camera(n);
            worst = std::max(
                worst, error_of(solution.mesh, [&](double x, double y) { return apply(truth, x, y); }).worst);
        }
    }
    note(report, worst < 0.2 && inside == 0,
         "a moving hole: error worst " + text(worst) + ", features near it " + std::to_string(inside));
}

// Nearly a third of the picture is covered by things that move by themselves and are in no hole.
void check_clutter(Report &report) {
    constexpr int width = 1280, height = 720;
    const Texture background(7), other(8);
    Chain chain(width, height);
    Error error; // of the worst picture
    int followed = 0, inliers = 0;
    for (int n = 0; n < 4; n++) {
        const auto camera = [](int m) { return motion(width, height, 9.0 * m, 3.0 * m, 0.2 * m); };
        const Plane picture = render(width, height, [&](double x, double y) {
            for (int i = 0; i < 12; i++) { // squares of 150 samples, four by three
                const int column = i % 4;
                const int row = i / 4;
                const double left = 60 + 310 * column + (i * 7 % 11 - 5) * n;
                const double top = 40 + 235 * row + (i * 5 % 13 - 6) * n;
                if (x > left && x < left + 150 && y > top && y < top + 150)
                    return static_cast<double>(other(x - left + 100 * i, y - top));
            }
            const Eigen::Vector2d at = apply(camera(n), x, y);
            return static_cast<double>(background(at.x(), at.y()));
        });
        const Solution solution = chain.next(picture);
        if (!n)
            continue;
        followed += static_cast<int>(chain.tracks.matches.size());
        inliers += solution.inliers;
        const Eigen::Matrix3d truth = camera(n - 1).inverse() * camera(n);
        const Error now = error_of(solution.mesh, [&](double x, double y) { return apply(truth, x, y); });
        error = {std::max(error.mean, now.mean), std::max(error.worst, now.worst)};
    }
    // Where one of them hangs over the border there is no telling.
    note(report, error.mean < 0.2 && error.worst < 3,
         "nearly a third of the picture moves its own way: error mean " + text(error.mean) + ", worst " +
             text(error.worst) + "; " + std::to_string(inliers) + " inliers of " + std::to_string(followed));
}

void check_still(Report &report) {
    constexpr int width = 640, height = 360;
    const Texture texture(9);
    Chain chain(width, height);
    int moved = 0;
    for (int n = 0; n < 12; n++) {
        const Solution solution = chain.next(render(
            width, height, [&](double x, double y) { return static_cast<double>(texture(x, y)); }, 3,
            static_cast<uint32_t>(n + 1)));
        moved += n && (!solution.mesh.is_identity() || !solution.trusted);
    }
    note(report, moved == 0,
         "a tripod, sensor noise of 3 codes: moved in " + std::to_string(moved) + " of 11");

    // A pan too slow for one step to show.
    Chain slow(width, height);
    Point at(320, 180);
    double worst = 0;
    for (int n = 0; n < 30; n++) {
        at = slow.next(render(
                           width, height,
                           [&](double x, double y) { return static_cast<double>(texture(x + 0.04 * n, y)); },
                           1, static_cast<uint32_t>(n + 1)))
                 .mesh(at);
        worst = std::max(worst,
                         static_cast<double>((at - Point(320 + 0.04F * static_cast<float>(n), 180)).norm()));
    }
    note(report, worst < 0.2, "a pan of 0.04 samples a picture: off by " + text(worst) + " at most in 30");
}

void check_nothing_to_see(Report &report) {
    {
        Chain chain(1280, 720);
        Solution solution;
        for (int n = 0; n < 3; n++)
            solution = chain.next(render(
                1280, 720, [](double x, double) { return 100 + x / 40; }, n ? 1 : 0,
                static_cast<uint32_t>(n + 1)));
        note(report, solution.mesh.is_identity() && !solution.trusted && chain.tracks.matches.size() < 20,
             "no texture: the identity, not trusted; " + std::to_string(chain.tracks.matches.size()) +
                 " features");
    }
    const Texture texture(10);
    const auto shifted = [&](int w, int h, double dx) {
        return render(w, h, [&](double x, double y) { return static_cast<double>(texture(x + dx, y)); });
    };
    {
        Chain chain(640, 360);
        Plane all(640, 360, 255);
        chain.next(shifted(640, 360, 0));
        const Solution hidden = chain.next(shifted(640, 360, 5), &all);
        report.expect(hidden.mesh.is_identity() && !hidden.trusted && chain.tracks.matches.empty() &&
                          chain.tracks.difference == 0 && chain.tracks.histogram_correlation == 1,
                      "a hole that covers everything: the identity");
        chain.next(shifted(640, 360, 10), &all);
        chain.next(shifted(640, 360, 15));
        const Solution seen = chain.next(shifted(640, 360, 20));
        const Error error = error_of(seen.mesh, [](double x, double y) { return Eigen::Vector2d(x + 5, y); });
        report.expect(seen.trusted && error.worst < 0.15, "and afterwards it goes on: " + text(error.worst));
    }
    for (const auto &[w, h] : {std::pair{1, 1}, {2, 2}, {16, 16}, {33, 17}, {17, 200}, {3000, 2}, {64, 64}}) {
        Chain chain(w, h);
        bool good = true;
        for (int n = 0; n < 4; n++) {
            Plane mask(w, h);
            if (n == 2)
                mask.row(h / 2)[w / 2] = 1;
            const Solution solution = chain.next(shifted(w, h, 0.7 * n), &mask);
            const Error error =
                error_of(solution.mesh, [](double x, double y) { return Eigen::Vector2d(x, y); });
            good = good && std::isfinite(error.worst) && error.worst < 8;
        }
        report.expect(good, "a tiny picture, " + std::to_string(w) + "x" + std::to_string(h));
    }
    // Noise that is new in each picture has nothing to follow.
    Chain chain(320, 180);
    int trusted = 0;
    for (int n = 0; n < 5; n++)
        trusted += chain
                       .next(render(
                           320, 180, [](double, double) { return 128.0; }, 30, static_cast<uint32_t>(n + 1)))
                       .trusted;
    note(report, trusted == 0, "noise alone is not trusted: " + std::to_string(trusted));
}

void check_cut(Report &report) {
    const Texture one(11), two(12);
    Chain chain(640, 360);
    const auto first = render(640, 360, [&](double x, double y) { return static_cast<double>(one(x, y)); });
    chain.next(first);
    chain.next(first);
    report.expect(chain.tracks.difference == 0 && chain.tracks.histogram_correlation > 0.9999F &&
                      chain.tracks.lost == 0,
                  "the same picture again: no difference");
    chain.next(render(640, 360, [&](double x, double y) { return 0.5 * static_cast<double>(two(x, y)); }));
    note(report,
         chain.tracks.difference > 20 && chain.tracks.histogram_correlation < 0.5F &&
             static_cast<size_t>(chain.tracks.lost) > 4 * chain.tracks.matches.size(),
         "a cut: difference " + text(static_cast<double>(chain.tracks.difference)) + ", histograms " +
             text(static_cast<double>(chain.tracks.histogram_correlation)) + ", lost " +
             std::to_string(chain.tracks.lost));
}

void check_threads(Report &report) {
    constexpr int width = 640, height = 360;
    const Texture texture(13);
    std::vector<std::unique_ptr<Chain>> chains;
    for (const int threads : {1, 2, 5})
        chains.push_back(std::make_unique<Chain>(width, height, Grid{}, threads));
    bool same = true;
    for (int n = 0; n < 8; n++) {
        Plane mask(width, height);
        for (int y = 100; y < 250; y++)
            std::fill_n(mask.row(y) + 100 + 9 * n, 120, uint8_t{1});
        const Eigen::Matrix3d camera = motion(width, height, 6 * n, n, 0.8 * n, 1 + 0.01 * n);
        const Plane picture = render(
            width, height,
            [&](double x, double y) {
                const Eigen::Vector2d at = apply(camera, x, y);
                return static_cast<double>(texture(at.x(), at.y()));
            },
            1, static_cast<uint32_t>(n + 1));
        std::vector<Solution> solutions;
        for (const auto &chain : chains)
            solutions.push_back(chain->next(picture, &mask));
        for (size_t i = 1; i < chains.size(); i++) {
            const std::vector<Match> &a = chains[0]->tracks.matches, &b = chains[i]->tracks.matches;
            same = same && a.size() == b.size() &&
                   solutions[0].mesh.homography() == solutions[i].mesh.homography();
            for (size_t k = 0; same && k < a.size(); k++)
                same = a[k].id == b[k].id && a[k].current == b[k].current && a[k].previous == b[k].previous;
            for (int row = 0; row <= 9; row++)
                for (int column = 0; column <= 16; column++)
                    same = same && solutions[0].mesh.displacement(column, row) ==
                                       solutions[i].mesh.displacement(column, row);
        }
    }
    report.expect(same, "any number of threads gives the same features and meshes");
}

// Ten bits, shifted to the top or not, are followed like eight.
void check_ten_bit(Report &report) {
    constexpr int width = 640, height = 360;
    const Texture texture(14);
    for (const bool msb : {false, true}) {
        Chain chain(width, height);
        Solution solution;
        for (int n = 0; n < 3; n++) {
            const Plane picture = render(width, height, [&](double x, double y) {
                return static_cast<double>(texture(x + 3.6 * n, y - 1.2 * n));
            });
            std::vector<uint16_t> samples(picture.data.size());
            for (size_t i = 0; i < samples.size(); i++)
                samples[i] = static_cast<uint16_t>(picture.data[i] << (msb ? 8 : 2));
            pixels::PictureFormat format;
            format.width = width;
            format.height = height;
            format.bit_depth = 10;
            format.msb_aligned = msb;
            pixels::ConstPicture view;
            view.data[0] = reinterpret_cast<const uint8_t *>(samples.data());
            view.stride[0] = 2 * width;
            solution = chain.next(format, view, nullptr);
        }
        const Error error =
            error_of(solution.mesh, [](double x, double y) { return Eigen::Vector2d(x + 3.6, y - 1.2); });
        note(report, solution.trusted && error.worst < 0.1,
             std::string("10 bit") + (msb ? ", msb" : "") + ": error mean " + text(error.mean) + ", worst " +
                 text(error.worst));
    }
}

void run_bench() {
    constexpr int width = 1280, height = 720, pictures = 24;
    const Texture texture(1);
    std::vector<Plane> video;
    Plane mask(width, height);
    for (int y = 150; y < 650; y++)
        std::fill_n(mask.row(y) + 500, 220, uint8_t{1});
    for (int n = 0; n < pictures; n++) {
        const Eigen::Matrix3d camera = motion(width, height, 4 * n, 2 * std::sin(0.6 * n), 0.05 * n);
        video.push_back(render(
            width, height,
            [&](double x, double y) {
                const Eigen::Vector2d at = apply(camera, x, y);
                return static_cast<double>(texture(at.x(), at.y()));
            },
            2, static_cast<uint32_t>(n + 1)));
    }
    for (const int threads : {1, 2}) {
        Chain chain(width, height, {}, threads);
        std::vector<double> reduce, track, solve;
        for (const Plane &picture : video) {
            chain.next(picture, &mask);
            reduce.push_back(chain.reduce_time);
            track.push_back(chain.track_time);
            solve.push_back(chain.solve_time);
        }
        const auto median = [](std::vector<double> all) {
            std::nth_element(all.begin(), all.begin() + static_cast<ptrdiff_t>(all.size() / 2), all.end());
            return 1e3 * all[all.size() / 2];
        };
        std::printf(
            "720p, %d thread(s), %zu features: reduce %.2f ms, track %.2f ms (first picture %.2f ms), solve "
            "16x9 %.2f ms (median of %d pictures)\n",
            threads, chain.tracks.matches.size(), median(reduce), median(track), 1e3 * track[0],
            median(solve), pictures);
    }
}

} // namespace

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (std::string(argv[i]) == "--bench") {
            run_bench();
            return 0;
        }
        print = print || std::string(argv[i]) == "--print";
    }
    Report report;
    check_luma(report);
    check_recovered(report);
    check_parallax(report);
    check_hole(report);
    check_clutter(report);
    check_drift(report);
    check_still(report);
    check_nothing_to_see(report);
    check_cut(report);
    check_threads(report);
    check_ten_bit(report);
    return report.finish();
}
