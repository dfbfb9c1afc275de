// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/inpainter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <vector>

#include "mesh/hole.h"
#include "mesh/host_ops.h"
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

    State(const pixels::PictureFormat &format, const InpainterOptions &picture_options,
          std::unique_ptr<PictureOps> picture_ops, pixels::ThreadPool &pool, Log logger)
        : options(picture_options), shape(shape_of(format)), log(std::move(logger)),
          ops(std::move(picture_ops)), frames([this] { return ops->make_frame(); }),
          follower(format, options.grid, pool), memory(shape, *ops, frames, pool) {
        // Slots, the picture shown and the one before it, those that wait, one that is being painted or
        // gathered.
        frames.reserve(kSlots + options.lookahead + 5);
        canvas = frames.take();
        for (int i = 0; i <= options.lookahead; i++)
            idle.push_back(std::make_unique<Waiting>(shape));
        holes_bytes = idle.size() * (idle[0]->hole.bytes() + 2 * idle[0]->back.bytes());
        holes.resize(static_cast<size_t>(shape.width) * static_cast<size_t>(shape.height));
    }

    const InpainterOptions options;
    const Shape shape;
    const Log log;
    const std::unique_ptr<PictureOps> ops;
    FramePool frames;
    Follower follower;
    Memory memory;
    FramePtr canvas; ///< what is remembered, drawn where the hole is
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
    std::function<void(Frame &)> annotation(const Waiting &picture) const;
    void account(const Waiting &picture);
};

void Inpainter::State::submit(const pixels::ConstPicture &input, const clv_mask *mask) {
    std::unique_ptr<Waiting> picture = std::move(idle.back());
    idle.pop_back();
    picture->frame = frames.take();
    picture->frame->time = submitted++;
    {
        const Stopwatch watch(stats.fill_ms);
        ops->import(input, mask, *picture->frame);
        const clv_mask *const read_back = ops->host_mask();
        picture->hole.read(read_back ? read_back : mask, options.dilate, skirt_of(shape.height),
                           *picture->frame);
    }
    picture->motion = follower.follow(*ops, input, picture->hole);
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
    ops->copy(*now, *picture);
    memory.overlay(*canvas, *picture);
    const Box unknown = memory.drawn().unknown_box(); // in blocks
    // An excerpt: what is around tells what belongs there. A net sees a part of the picture's shape that is
    // higher and wider than the hole: around one that is high, that takes more than twice its height.
    const int around = std::max(16, 3 * std::max(unknown.width(), unknown.height()) / 2);
    const Box blocks = unknown.grown(around, shape.block_columns(), shape.block_rows());
    const Box box{2 * blocks.x0, 2 * blocks.y0, std::min(2 * blocks.x1, shape.width),
                  std::min(2 * blocks.y1, shape.height)};
    uint8_t *to = holes.data();
    for (int y = box.y0; y < box.y1; y++)
        for (int x = box.x0; x < box.x1; x++)
            *to++ = Blocks::unknown(memory.drawn().at(x / 2, y / 2)) ? 255 : 0;
    {
        const Stopwatch watch(stats.paint_ms);
        ops->paint(*picture, box, holes.data());
    }
    stats.paintings++;
    ops->pad(*picture);
    memory.adopt(picture);
    memory.draw(*canvas);
}

void Inpainter::State::fill(Waiting &picture) {
    const double painting = stats.paint_ms;
    {
        const Stopwatch watch(stats.fill_ms);
        if (picture.motion.cut) {
            memory.clear();
            ops->reset_membrane();
            stats.cuts++;
            log(CLV_LOG_INFO, "scene cut at picture " + std::to_string(picture.frame->time));
        }
        memory.advance(picture.frame, picture.hole.region, picture.back);
        look_ahead();
        memory.tidy();
        memory.draw(*canvas);
        // The skirt's old references, before a painting gives it new ones.
        ops->update_membrane(memory.drawn(), *canvas, *picture.frame, picture.back);
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
        if (memory.unknown() > 0)
            ops->diffuse(memory.drawn(), *picture.frame, *canvas);
        memory.make_room(*canvas);
        if (failure)
            std::rethrow_exception(failure);
    }
    stats.fill_ms -= stats.paint_ms - painting;
}

std::function<void(Frame &)> Inpainter::State::annotation(const Waiting &picture) const {
    switch (options.show) {
    case CLV_SHOW_RESULT:
        break;
    case CLV_SHOW_MASK:
        return [&](Frame &frame) { show_mask(picture.hole, frame); };
    case CLV_SHOW_MESH:
        return [&](Frame &frame) { show_mesh(picture.motion.solution.mesh, frame); };
    case CLV_SHOW_TRACKS:
        return [&](Frame &frame) {
            show_tracks(picture.motion.tracks.matches, picture.motion.solution.inlier, frame);
        };
    case CLV_SHOW_AGE:
        return [&](Frame &frame) { show_age(picture.hole, memory, frame); };
    }
    return {};
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
    ops->compose({*picture.frame, *canvas, picture.hole, std::min(options.feather, options.dilate),
                  options.show != CLV_SHOW_MASK, annotation(picture)},
                 output);
    account(picture);
}

Inpainter::Inpainter(const pixels::PictureFormat &format, const InpainterOptions &options, Painter *painter,
                     pixels::ThreadPool &pool, Log log)
    : Inpainter(format, options, make_host_ops(format, pool), pool, std::move(log)) {
    state_->ops->use(painter);
}

Inpainter::Inpainter(const pixels::PictureFormat &format, const InpainterOptions &options,
                     std::unique_ptr<PictureOps> ops, pixels::ThreadPool &pool, Log log)
    : state_(std::make_unique<State>(format, options, std::move(ops), pool, std::move(log))) {}

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
                         state.memory.bytes() + state.ops->bytes() + state.follower.bytes();
}

} // namespace clv::mesh
