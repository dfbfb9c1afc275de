// SPDX-License-Identifier: BSD-2-Clause
// What the memory is made of, each part against a plain one.

#include <algorithm>
#include <cmath>

#include "mesh/diffuse.h"
#include "mesh/hole.h"
#include "mesh/light.h"
#include "mesh/warp.h"
#include "scene.h"

namespace clv::mesh::test {
namespace {

size_t at(int x, int y, int width) {
    return static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
}

std::vector<uint8_t> spots(Random &random, int width, int height, double share, Box &box) {
    std::vector<uint8_t> bytes(static_cast<size_t>(width) * static_cast<size_t>(height), 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            if (uniform(random, 0, 1) < share) {
                bytes[at(x, y, width)] = 1;
                box.include(x, y);
            }
    return bytes;
}

void dilation_is_a_square_around_each_sample(Report &report) {
    Random random(1);
    for (const auto &[width, height] : {std::pair{1, 1}, {37, 29}, {64, 5}, {3, 80}})
        for (const int radius : {0, 1, 4, 13, 64}) {
            Box box;
            std::vector<uint8_t> bytes = spots(random, width, height, 0.01, box);
            bytes[0] = 1;
            box.include(0, 0);
            std::vector<uint8_t> want(bytes.size(), 0);
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++)
                    if (bytes[at(x, y, width)])
                        for (int v = std::max(y - radius, 0); v <= std::min(y + radius, height - 1); v++)
                            for (int u = std::max(x - radius, 0); u <= std::min(x + radius, width - 1); u++)
                                want[at(u, v, width)] = 1;
            std::vector<uint8_t> scratch(bytes.size());
            dilate(bytes.data(), width, height, radius, box, scratch.data());
            bool inside = true;
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++)
                    inside = inside && (!want[at(x, y, width)] ||
                                        (x >= box.x0 && x < box.x1 && y >= box.y0 && y < box.y1));
            report.expect(bytes == want, "dilation by " + std::to_string(radius) + " is exact");
            report.expect(inside, "the box holds what was dilated");
        }
}

void depth_counts_steps_to_the_outside(Report &report) {
    Random random(2);
    const int width = 53;
    const int height = 41;
    for (const int limit : {1, 2, 5, 20}) {
        std::vector<uint8_t> hole(static_cast<size_t>(width) * height, 0);
        Box box{0, 3, 50, 41}; // at the picture's border below and on the left
        for (int y = box.y0; y < box.y1; y++)
            for (int x = box.x0; x < box.x1; x++)
                hole[at(x, y, width)] = uniform(random, 0, 1) < 0.995;
        std::vector<uint8_t> depth(static_cast<size_t>(box.width()) * static_cast<size_t>(box.height()));
        std::vector<uint8_t> scratch;
        distance_inside(hole.data(), width, height, box, limit, depth.data(), scratch);
        bool right = true;
        for (int y = box.y0; y < box.y1; y++)
            for (int x = box.x0; x < box.x1; x++) {
                int nearest = limit;
                for (int v = 0; v < height; v++)
                    for (int u = 0; u < width; u++)
                        if (!hole[at(u, v, width)])
                            nearest = std::min(nearest, std::max(std::abs(u - x), std::abs(v - y)));
                right = right && depth[at(x - box.x0, y - box.y0, box.width())] == nearest;
            }
        report.expect(right, "depth up to " + std::to_string(limit) + " is the distance to the outside");
    }
}

void fields_carry_homographies(Report &report) {
    const Shape shape{640, 360, 8};
    const Grid grid;
    const Mesh mesh(grid, shape.width, shape.height, motion(shape.width, shape.height, 3.3, -2.1, 0.8, 1.01),
                    {});
    const Field field(shape, mesh);
    double worst = 0;
    double back = 0;
    double twice = 0;
    const Field inverse = field.inverse();
    const Field squared = field.after(field);
    for (int y = 0; y < shape.height; y += 7)
        for (int x = 0; x < shape.width; x += 7) {
            const Point p(static_cast<float>(x), static_cast<float>(y));
            const Point to = p + field.at(p);
            worst = std::max<double>(worst, (to - mesh(p)).norm());
            back = std::max<double>(back, (to + inverse.at(to) - p).norm());
            twice = std::max<double>(twice, (p + squared.at(p) - mesh(mesh(p))).norm());
        }
    report.expect(worst < 1e-3, "a field is its mesh: " + std::to_string(worst));
    report.expect(back < 1e-2, "its inverse takes points back: " + std::to_string(back));
    report.expect(twice < 1e-2, "compositions compose: " + std::to_string(twice));
    Field still(shape);
    report.expect(still.is_identity() && still.after(still).is_identity() && still.inverse().is_identity(),
                  "no motion stays exactly none");
    Field shifted(shape);
    shifted.shift(Point(3, -5));
    const Point far = shifted.after(shifted).at(Point(101.3F, 77.7F));
    report.expect(far.x() == 6 && far.y() == -10, "motion by whole samples stays exactly that");
}

Frame frame_of(const Shape &shape, const std::function<double(double, double)> &luma,
               pixels::ThreadPool &pool) {
    Frame frame(shape);
    for (int y = 0; y < shape.height; y++)
        for (int x = 0; x < shape.width; x++)
            frame.row<uint8_t>(0, y)[x] = static_cast<uint8_t>(std::lround(luma(x, y)));
    for (int plane = 1; plane < 3; plane++)
        for (int y = 0; y < shape.plane_height(plane); y++)
            for (int x = 0; x < shape.plane_width(plane); x++)
                frame.row<uint8_t>(plane, y)[x] =
                    static_cast<uint8_t>(std::lround(luma(2 * x + 0.5, 2 * y + 0.5)));
    for (int y = 0; y < shape.block_rows(); y++)
        std::fill_n(frame.origins(y), shape.block_columns(), Origin::seen);
    frame.pad(pool);
    return frame;
}

void resampling_is_exact_or_close(Report &report) {
    pixels::ThreadPool pool(1);
    const Shape shape{203, 101, 8};
    const auto scene = [](double x, double y) {
        return 128 + 60 * std::sin(0.4 * x + 0.2 * y) + 40 * std::cos(0.35 * y);
    };
    const Frame frame = frame_of(shape, scene, pool);
    std::vector<uint8_t> line(static_cast<size_t>(shape.width));
    std::vector<uint8_t> other(line.size());
    for (const auto &[dx, dy] :
         {std::pair{0.0, 0.0}, {4.0, -2.0}, {0.5, 0.25}, {-3.375, 6.59375}, {250.0, -130.0}}) {
        Field field(shape);
        field.shift(Point(static_cast<float>(dx), static_cast<float>(dy)));
        double worst = 0;
        double worst_chroma = 0;
        for (int y = 0; y < shape.height; y++) {
            resample_luma(frame, field, Light{}, y, 0, shape.width, line.data());
            for (int x = 8; x < shape.width - 8; x++) {
                const double px = std::clamp(x + dx, 0.0, shape.width - 1.0);
                const double py = std::clamp(y + dy, 0.0, shape.height - 1.0);
                if (y > 8 && y < shape.height - 8 && px == x + dx && py == y + dy)
                    worst = std::max(worst, std::abs(line[static_cast<size_t>(x)] - scene(px, py)));
            }
        }
        for (int y = 8; y < shape.plane_height(1) - 8; y++) {
            resample_chroma(frame, field, Light{}, Light{}, y, 0, shape.plane_width(1), line.data(),
                            other.data());
            for (int x = 8; x < shape.plane_width(1) - 8; x++)
                if (std::abs(dx) < 8)
                    worst_chroma =
                        std::max(worst_chroma, std::abs(line[static_cast<size_t>(x)] -
                                                        scene(2 * x + 0.5 + dx, 2 * y + 0.5 + dy)));
        }
        const bool whole = dx == std::floor(dx) && dy == std::floor(dy);
        report.expect(worst <= (whole ? 0.51 : 1.6), "luma is resampled well: " + std::to_string(worst));
        report.expect(worst_chroma <= 4, "chroma is resampled well: " + std::to_string(worst_chroma));
    }
    Field still(shape);
    resample_luma(frame, still, Light{2, -100}, 50, 0, shape.width, line.data());
    bool lit = true;
    for (int x = 0; x < shape.width; x++)
        lit =
            lit && line[static_cast<size_t>(x)] == std::clamp(2 * frame.row<uint8_t>(0, 50)[x] - 100, 0, 255);
    report.expect(lit, "light is applied, and codes stay in range");
}

void lights_are_found(Report &report) {
    pixels::ThreadPool pool(1);
    const Shape shape{320, 200, 8};
    const auto scene = [](double x, double y) {
        return 120 + 50 * std::sin(0.11 * x) + 30 * std::cos(0.07 * y);
    };
    const Frame past = frame_of(shape, scene, pool);
    const Field still(shape);
    Lights lights;
    report.expect(match_lights(past, still, past, lights) && lights[0].none() && lights[1].none(),
                  "the same light is none");
    Frame now = frame_of(
        shape, [&](double x, double y) { return 0.8 * scene(x, y) + 11; }, pool);
    for (int y = 60; y < 110; y++) // a moving thing that no mask covers
        std::fill_n(now.row<uint8_t>(0, y) + 40, 90, uint8_t{250});
    report.expect(match_lights(past, still, now, lights) && std::abs(lights[0].gain - 0.8) < 0.02 &&
                      std::abs(lights[0].offset - 11) < 2.5,
                  "gain " + std::to_string(lights[0].gain) + " and offset " +
                      std::to_string(lights[0].offset) + " are 0.8 and 11, whatever moves");
    for (int y = 0; y < shape.block_rows(); y++)
        std::fill_n(now.origins(y), shape.block_columns(), Origin::unknown);
    report.expect(!match_lights(past, still, now, lights), "where nothing is seen there is no light");
}

void diffusion_keeps_colours_and_surroundings(Report &report) {
    pixels::ThreadPool pool(1);
    const Shape shape{101, 77, 8};
    Frame frame = frame_of(
        shape, [](double x, double y) { return 20 + x + y; }, pool);
    const Frame before = frame_of(
        shape, [](double x, double y) { return 20 + x + y; }, pool);
    std::vector<uint8_t> hole(static_cast<size_t>(shape.width) * static_cast<size_t>(shape.height), 0);
    for (int y = 30; y < 50; y++)
        for (int x = 35; x < 70; x++) {
            hole[at(x, y, shape.width)] = 255;
            frame.row<uint8_t>(0, y)[x] = 255;
            frame.row<uint8_t>(1, y / 2)[x / 2] = 0;
        }
    Diffusion(8).paint(frame.picture(), shape.width, shape.height, hole.data(), shape.width);
    int worst = 0;
    bool same = true;
    for (int y = 0; y < shape.height; y++)
        for (int x = 0; x < shape.width; x++) {
            const int difference = std::abs(frame.row<uint8_t>(0, y)[x] - before.row<uint8_t>(0, y)[x]);
            if (hole[at(x, y, shape.width)])
                worst = std::max(
                    {worst, difference,
                     std::abs(frame.row<uint8_t>(1, y / 2)[x / 2] - before.row<uint8_t>(1, y / 2)[x / 2])});
            else
                same = same && difference == 0;
        }
    report.expect(same, "diffusion leaves alone what it need not paint");
    report.expect(worst <= 12, "diffusion continues a slope: off by " + std::to_string(worst));
}

} // namespace
} // namespace clv::mesh::test

int main() {
    using namespace clv::mesh::test;
    Report report;
    dilation_is_a_square_around_each_sample(report);
    depth_counts_steps_to_the_outside(report);
    fields_carry_homographies(report);
    resampling_is_exact_or_close(report);
    lights_are_found(report);
    diffusion_keeps_colours_and_surroundings(report);
    return report.finish();
}
