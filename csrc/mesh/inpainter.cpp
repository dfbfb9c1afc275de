// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/inpainter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <vector>

#include "mesh/blend.h"
#include "mesh/diffuse.h"
#include "mesh/hole.h"
#include "mesh/light.h"
#include "mesh/memory.h"
#include "mesh/motion.h"
#include "mesh/overlay.h"
#include "mesh/store.h"
#include "mesh/warp.h"

namespace clv::mesh {
namespace {

using Clock = std::chrono::steady_clock;

/// Adds the time that it lives to a sum, in milliseconds, less what is subtracted meanwhile.
class Stopwatch {
public:
    explicit Stopwatch(double &sum) : sum_(sum), start_(Clock::now()) {}
    ~Stopwatch() { sum_ += std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }
    Stopwatch(const Stopwatch &) = delete;
    Stopwatch &operator=(const Stopwatch &) = delete;

private:
    double &sum_;
    Clock::time_point start_;
};

Shape shape_of(const pixels::PictureFormat &format) {
    return {format.width, format.height, format.bit_depth};
}

/// Blocks around the hole that are visible but not trusted: 8 samples of luma at 720 lines.
int skirt_of(int height) {
    return std::clamp((8 * height + 720) / 1440, 2, 16);
}

} // namespace

struct Inpainter::State {
    /// A picture that waits.
    struct Waiting {
        explicit Waiting(const Shape &shape) : hole(shape), back(shape), forward(shape) {}

        FramePtr frame;
        Hole hole;
        Motion motion;
        Field back;    ///< to the picture before
        Field forward; ///< from the picture before
    };

    State(const pixels::PictureFormat &picture_format, const InpainterOptions &picture_options, Painter *net,
          pixels::ThreadPool &threads, Log logger)
        : format(picture_format), options(picture_options), shape(shape_of(picture_format)), pool(threads),
          log(std::move(logger)), diffusion(picture_format.bit_depth), painter(net ? net : &diffusion),
          frames(shape), follower(format, options.grid, pool), memory(shape, frames, pool), membrane(shape) {
        // Slots, the picture shown and the one before it, those that wait, one that is being painted or
        // gathered.
        frames.reserve(Memory::kSlots + options.lookahead + 6);
        canvas = frames.take();
        result = frames.take();
        for (int i = 0; i <= options.lookahead; i++)
            idle.push_back(std::make_unique<Waiting>(shape));
        holes_bytes = idle.size() * (idle[0]->hole.bytes() + 2 * idle[0]->back.bytes());
        holes.resize(static_cast<size_t>(shape.width) * static_cast<size_t>(shape.height));
    }

    const pixels::PictureFormat format;
    const InpainterOptions options;
    const Shape shape;
    pixels::ThreadPool &pool;
    const Log log;
    Diffusion diffusion;
    Painter *const painter;
    FramePool frames;
    Follower follower;
    Memory memory;
    Membrane membrane;
    Blender blender;
    PullPush surface;
    FramePtr canvas; ///< what is remembered, drawn where the hole is
    FramePtr result;
    std::deque<std::unique_ptr<Waiting>> waiting;
    std::vector<std::unique_ptr<Waiting>> idle;
    size_t holes_bytes = 0;
    std::vector<uint8_t> holes; ///< for the painter
    int64_t submitted = 0;
    int since_painting = 0; ///< pictures that had something to paint
    bool all_covered_said = false;
    clv_inpaint_stats stats{};

    void submit(const pixels::ConstPicture &input, const clv_mask *mask);
    void finish(Waiting &picture, const pixels::Picture &output);
    void fill(Waiting &picture);
    void look_ahead();
    bool worth_painting() const;
    void paint(const FramePtr &now);
    template <typename Sample>
    void diffuse_unknown(const Frame &now);
    void match_skirt(const Waiting &picture);
    void show(const Waiting &picture);
    void account(const Waiting &picture);
};

void Inpainter::State::submit(const pixels::ConstPicture &input, const clv_mask *mask) {
    std::unique_ptr<Waiting> picture = std::move(idle.back());
    idle.pop_back();
    picture->frame = frames.take();
    picture->frame->time = submitted++;
    {
        const Stopwatch watch(stats.fill_ms);
        import_picture(format, input, *picture->frame, pool);
        picture->hole.read(mask, options.dilate, skirt_of(shape.height), *picture->frame);
    }
    picture->motion = follower.follow(input, picture->hole);
    stats.track_ms += picture->motion.track_ms;
    stats.solve_ms += picture->motion.solve_ms;
    const Stopwatch watch(stats.fill_ms);
    picture->back = Field(shape, picture->motion.solution.mesh);
    if (options.lookahead > 0)
        picture->forward = picture->back.inverse();
    if (!all_covered_said && picture->hole.samples == int64_t{shape.width} * shape.height) {
        all_covered_said = true;
        log(CLV_LOG_WARNING,
            "the mask covers the whole picture " + std::to_string(picture->frame->time) +
                ": nothing is left to follow or to paint from; what is remembered is shown, else grey");
    }
    waiting.push_back(std::move(picture));
}

void Inpainter::State::look_ahead() {
    std::vector<Ahead> later;
    for (const auto &next : waiting) {
        if (next->motion.cut)
            break;
        later.push_back({next->frame, &next->forward});
    }
    memory.look_ahead(later);
}

bool Inpainter::State::worth_painting() const {
    const int64_t unknown = memory.unknown();
    constexpr int kPatience = 12;
    return unknown * 200 > static_cast<int64_t>(shape.blocks()) || unknown * 10 > memory.blocks() ||
           (since_painting >= kPatience && unknown > 16);
}

void Inpainter::State::paint(const FramePtr &now) {
    const FramePtr picture = frames.take();
    picture->copy_from(*now);
    memory.overlay(*canvas, *picture);
    Box unknown; // in blocks
    for (int row = memory.region().y0; row < memory.region().y1; row++)
        for (int column = memory.region().x0; column < memory.region().x1; column++)
            if (now->origins(row)[column] == Origin::unknown && memory.at(column, row).slot < 0)
                unknown.include(column, row);
    // An excerpt: what is around tells what belongs there. A net sees a part of the picture's shape that is
    // higher and wider than the hole: around one that is high, that takes more than twice its height.
    const int around = std::max(16, 3 * std::max(unknown.width(), unknown.height()) / 2);
    const Box box = unknown.grown(around, shape.block_columns(), shape.block_rows());
    const int width = std::min(2 * box.x1, shape.width) - 2 * box.x0;
    const int height = std::min(2 * box.y1, shape.height) - 2 * box.y0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int column = box.x0 + x / 2;
            const int row = box.y0 + y / 2;
            holes[static_cast<size_t>(y) * width + x] =
                now->origins(row)[column] == Origin::unknown && memory.at(column, row).slot < 0 ? 255 : 0;
        }
    pixels::Picture view = picture->picture();
    const int bytes = shape.wide() ? 2 : 1;
    for (int plane = 0; plane < 3; plane++)
        view.data[plane] +=
            box.y0 * (plane == 0 ? 2 : 1) * view.stride[plane] + box.x0 * (plane == 0 ? 2 : 1) * bytes;
    {
        const Stopwatch watch(stats.paint_ms);
        painter->paint(view, width, height, holes.data(), width);
    }
    stats.paintings++;
    picture->pad(pool);
    memory.adopt(picture);
    memory.draw(*canvas);
}

template <typename Sample>
void Inpainter::State::diffuse_unknown(const Frame &now) {
    Box box;
    const auto unknown = [&](int column, int row) {
        return now.origins(row)[column] == Origin::unknown && memory.at(column, row).slot < 0;
    };
    for (int row = memory.region().y0; row < memory.region().y1; row++)
        for (int column = memory.region().x0; column < memory.region().x1; column++)
            if (unknown(column, row))
                box.include(column, row);
    box = box.grown(8, shape.block_columns(), shape.block_rows());
    for (int plane = 0; plane < 3; plane++) {
        const int scale = plane == 0 ? 2 : 1;
        const int x0 = scale * box.x0;
        const int y0 = scale * box.y0;
        const int width = std::min(scale * box.x1, shape.plane_width(plane)) - x0;
        const int height = std::min(scale * box.y1, shape.plane_height(plane)) - y0;
        surface.resize(width, height);
        for (int y = 0; y < height; y++) {
            const Sample *seen = now.row<Sample>(plane, y0 + y) + x0;
            const Sample *drawn = canvas->row<Sample>(plane, y0 + y) + x0;
            const int row = (y0 + y) / scale;
            for (int x = 0; x < width; x++) {
                const int column = (x0 + x) / scale;
                const size_t at = static_cast<size_t>(y) * width + x;
                const bool hole = now.origins(row)[column] == Origin::unknown;
                surface.values()[at] = static_cast<float>(hole ? drawn[x] : seen[x]);
                surface.weights()[at] = hole && memory.at(column, row).slot < 0 ? 0.F : 1.F;
            }
        }
        surface.fill(static_cast<float>(1 << (shape.bit_depth - 1)));
        for (int y = 0; y < height; y++) {
            Sample *to = canvas->row<Sample>(plane, y0 + y) + x0;
            for (int x = 0; x < width; x++)
                if (unknown((x0 + x) / scale, (y0 + y) / scale))
                    to[x] = static_cast<Sample>(surface.values()[static_cast<size_t>(y) * width + x] + 0.5F);
        }
    }
}

void Inpainter::State::fill(Waiting &picture) {
    const double painting = stats.paint_ms;
    {
        const Stopwatch watch(stats.fill_ms);
        if (picture.motion.cut) {
            memory.clear();
            membrane.reset();
            stats.cuts++;
            log(CLV_LOG_INFO, "scene cut at picture " + std::to_string(picture.frame->time));
        }
        memory.advance(picture.frame, picture.hole.region, picture.back);
        look_ahead();
        memory.tidy();
        memory.draw(*canvas);
        // The skirt's old references, before a painting gives it new ones.
        membrane.update(*canvas, *picture.frame, picture.hole.region, picture.back, [&](int column, int row) {
            return picture.frame->origins(row)[column] == Origin::skirt && memory.at(column, row).slot >= 0;
        });
        since_painting = memory.unknown() > 0 ? since_painting + 1 : 0;
        std::exception_ptr failure;
        if (worth_painting()) {
            try {
                paint(picture.frame);
                since_painting = 0;
            } catch (...) {
                failure = std::current_exception();
            }
        }
        if (memory.unknown() > 0) {
            if (shape.wide())
                diffuse_unknown<uint16_t>(*picture.frame);
            else
                diffuse_unknown<uint8_t>(*picture.frame);
        }
        memory.make_room(*canvas);
        if (failure)
            std::rethrow_exception(failure);
    }
    stats.fill_ms -= stats.paint_ms - painting;
}

void Inpainter::State::show(const Waiting &picture) {
    switch (options.show) {
    case CLV_SHOW_RESULT:
        break;
    case CLV_SHOW_MASK:
        show_mask(picture.hole, *result);
        break;
    case CLV_SHOW_MESH:
        show_mesh(picture.motion.solution.mesh, *result);
        break;
    case CLV_SHOW_TRACKS:
        show_tracks(picture.motion.tracks.matches, picture.motion.solution.inlier, *result);
        break;
    case CLV_SHOW_AGE:
        show_age(picture.hole, memory, *result);
        break;
    }
}

void Inpainter::State::account(const Waiting &picture) {
    const Solution &solution = picture.motion.solution;
    stats.pictures++;
    stats.features = static_cast<int>(picture.motion.tracks.matches.size());
    stats.inliers = solution.inliers;
    stats.residual = solution.residual;
    stats.cost_features = solution.cost_features;
    stats.cost_shape = solution.cost_shape;
    stats.cost_time = solution.cost_time;
    stats.hole =
        static_cast<double>(picture.hole.samples) / (static_cast<double>(shape.width) * shape.height);
    stats.remembered = memory.blocks() > 0
                           ? static_cast<double>(memory.remembered()) / static_cast<double>(memory.blocks())
                           : 0;
}

void Inpainter::State::finish(Waiting &picture, const pixels::Picture &output) {
    fill(picture);
    const Stopwatch watch(stats.fill_ms);
    result->copy_from(*picture.frame);
    if (options.show != CLV_SHOW_MASK)
        blender.blend(*canvas, membrane, picture.hole, std::min(options.feather, options.dilate), *result,
                      pool);
    show(picture);
    export_picture(*result, format, output, pool);
    account(picture);
}

Inpainter::Inpainter(const pixels::PictureFormat &format, const InpainterOptions &options, Painter *painter,
                     pixels::ThreadPool &pool, Log log)
    : state_(std::make_unique<State>(format, options, painter, pool, std::move(log))) {}

Inpainter::~Inpainter() = default;

bool Inpainter::submit(const pixels::ConstPicture &input, const clv_mask *mask) {
    if (state_->idle.empty())
        return false;
    state_->submit(input, mask);
    return true;
}

int Inpainter::receive(bool flush, const pixels::Picture &output) {
    State &state = *state_;
    if (state.waiting.empty())
        return CLV_EMPTY;
    if (static_cast<int>(state.waiting.size()) <= state.options.lookahead && !flush)
        return CLV_AGAIN;
    // Back to the idle ones whatever happens.
    std::unique_ptr<State::Waiting> picture = std::move(state.waiting.front());
    state.waiting.pop_front();
    const auto put_back = [&] {
        picture->frame.reset();
        state.idle.push_back(std::move(picture));
    };
    try {
        state.finish(*picture, output);
    } catch (...) {
        put_back();
        throw;
    }
    put_back();
    return CLV_OK;
}

int Inpainter::pending() const {
    return static_cast<int>(state_->waiting.size());
}

void Inpainter::stats(clv_inpaint_stats &stats) const {
    const State &state = *state_;
    stats = state.stats;
    stats.memory_bytes = state.frames.bytes() + state.holes_bytes + state.holes.size() +
                         state.memory.bytes() + state.membrane.bytes() + state.follower.bytes();
}

} // namespace clv::mesh
