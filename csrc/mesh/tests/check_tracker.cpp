// SPDX-License-Identifier: BSD-2-Clause
//
// check_tracker [--bench] [--print]
// Reduced luma, features and the mesh that they make, on pictures whose motion is known.

#include "scene.h"

#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>

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

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
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
            if (print)
                std::printf("%s\n", what.c_str());
            report.expect(solution.trusted && error.worst < (now.noise > 0 ? 0.15 : 0.1) && error.mean < 0.05,
                          what);
        }
    }
}

} // namespace

int main(int argc, char **argv) {
    bool bench = false;
    for (int i = 1; i < argc; i++) {
        bench = bench || std::string(argv[i]) == "--bench";
        print = print || std::string(argv[i]) == "--print";
    }
    Report report;
    check_luma(report);
    check_recovered(report);
    return report.finish();
}
