// SPDX-License-Identifier: BSD-2-Clause
#include "core/tiled_model.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <exception>
#include <new>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
#include "core/tiling.h"

namespace clv {
namespace {

size_t bytes_of(ElementType type) {
    return type == ElementType::f16 ? 2 : 4;
}

/// A rectangle of all channels of a contiguous NCHW tensor.
struct Window {
    int64_t top, left, height, width;
};

void copy_window(const std::byte *from, const TensorShape &from_shape, const Window &window, std::byte *to,
                 const TensorShape &to_shape, int64_t to_top, int64_t to_left, size_t element) {
    const size_t row = static_cast<size_t>(window.width) * element;
    for (int64_t c = 0; c < from_shape.channels; c++)
        for (int64_t y = 0; y < window.height; y++) {
            const int64_t source = (c * from_shape.height + window.top + y) * from_shape.width + window.left;
            const int64_t target = (c * to_shape.height + to_top + y) * to_shape.width + to_left;
            std::memcpy(to + static_cast<size_t>(target) * element,
                        from + static_cast<size_t>(source) * element, row);
        }
}

class TiledRequest final : public InferRequest {
public:
    TiledRequest(CompiledModel &tile, const TilePlan &plan, const TensorShape &output, int64_t scale,
                 size_t workers)
        : plan_(plan), tile_output_(tile.output()), output_shape_(output), scale_(scale),
          element_(bytes_of(tile.output_type())), input_(plan.input.count()),
          output_(output.count() * element_) {
        for (size_t i = 0; i < workers; i++)
            workers_.push_back(tile.create_request());
    }
    ~TiledRequest() override { drain(); }
    TiledRequest(const TiledRequest &) = delete;
    TiledRequest &operator=(const TiledRequest &) = delete;

    std::span<float> input() override { return input_; }
    const void *output() override { return output_.data(); }

    void start() override {
        drain();
        next_ = 0;
        failure_ = nullptr;
        for (size_t worker = 0; worker < workers_.size(); worker++)
            begin(worker);
        if (failure_) {
            drain();
            std::rethrow_exception(failure_);
        }
    }

    bool ready() override {
        while (!running_.empty() && workers_[running_.front().worker]->ready())
            end();
        return running_.empty();
    }

    void wait() override {
        while (!running_.empty())
            end();
        if (failure_)
            std::rethrow_exception(failure_);
    }

private:
    struct Running {
        size_t tile;
        size_t worker;
    };

    const TileSpan &row(size_t tile) const { return plan_.rows[tile / plan_.columns.size()]; }
    const TileSpan &column(size_t tile) const { return plan_.columns[tile % plan_.columns.size()]; }

    /// Starts the next tile, if there is one and none has failed.
    void begin(size_t worker) {
        if (next_ == plan_.count() || failure_)
            return;
        const size_t tile = next_++;
        copy_window(reinterpret_cast<const std::byte *>(input_.data()), plan_.input,
                    {row(tile).start, column(tile).start, plan_.tile.height, plan_.tile.width},
                    reinterpret_cast<std::byte *>(workers_[worker]->input().data()), plan_.tile, 0, 0,
                    sizeof(float));
        try {
            workers_[worker]->start();
            running_.push_back({tile, worker});
        } catch (...) {
            failure_ = std::current_exception();
        }
    }

    /// Waits for the oldest tile, takes its part and gives its worker the next.
    void end() {
        const Running done = running_.front();
        running_.pop_front();
        try {
            workers_[done.worker]->wait();
        } catch (...) {
            if (!failure_)
                failure_ = std::current_exception();
            return;
        }
        const TileSpan &rows = row(done.tile), &columns = column(done.tile);
        copy_window(static_cast<const std::byte *>(workers_[done.worker]->output()), tile_output_,
                    {(rows.first - rows.start) * scale_, (columns.first - columns.start) * scale_,
                     (rows.last - rows.first) * scale_, (columns.last - columns.first) * scale_},
                    output_.data(), output_shape_, rows.first * scale_, columns.first * scale_, element_);
        begin(done.worker);
    }

    /// Waits for what runs, whatever it gives.
    void drain() noexcept {
        for (; !running_.empty(); running_.pop_front()) {
            try {
                workers_[running_.front().worker]->wait();
            } catch (...) { // it is not wanted any more
            }
        }
    }

    const TilePlan plan_;
    const TensorShape tile_output_;
    const TensorShape output_shape_;
    const int64_t scale_;
    const size_t element_;
    std::vector<float> input_;
    std::vector<std::byte> output_;
    std::vector<std::unique_ptr<InferRequest>> workers_;
    std::deque<Running> running_; ///< in the order of their tiles
    size_t next_ = 0;             ///< tile to start
    std::exception_ptr failure_;
};

/// The tensors of `in_flight` pictures of `input`'s size, in host memory.
uint64_t tensor_bytes(const TensorShape &input, const CompiledModel &model, int in_flight) {
    return (uint64_t{input.count()} * sizeof(float) +
            model.output().count() * bytes_of(model.output_type())) *
           static_cast<uint64_t>(in_flight);
}

class TiledModel final : public CompiledModel {
public:
    TiledModel(std::unique_ptr<CompiledModel> tile, const TilePlan &plan, int in_flight,
               const std::string &name)
        : tile_(std::move(tile)), plan_(plan), scale_(tile_scale(plan.tile, tile_->output(), name)),
          in_flight_(in_flight),
          // One is cut and pasted while another runs; the runtime works on in_flight at once.
          workers_(std::min(plan.count(),
                            static_cast<size_t>(std::max(2, std::min(in_flight, tile_->threads()))))) {}

    TensorShape output() const override {
        return {tile_->output().channels, plan_.input.height * scale_, plan_.input.width * scale_};
    }
    ElementType output_type() const override { return tile_->output_type(); }
    clv_precision precision() const override { return tile_->precision(); }
    int threads() const override { return tile_->threads(); }
    /// With the tensors of tiles that each picture in flight has.
    uint64_t activation_bytes() const override {
        return tile_->activation_bytes() +
               tensor_bytes(plan_.tile, *tile_, in_flight_) * static_cast<uint64_t>(workers_);
    }
    std::unique_ptr<InferRequest> create_request() override {
        return std::make_unique<TiledRequest>(*tile_, plan_, output(), scale_, workers_);
    }

private:
    const std::unique_ptr<CompiledModel> tile_;
    const TilePlan plan_;
    const int64_t scale_;
    const int in_flight_;
    const size_t workers_;
};

/// Of what is available: estimates err, and others live here too.
uint64_t usable_memory() {
    const uint64_t available = memory_available();
    return available - available / 10;
}

/// backend.compile(); nothing when memory ran out, with `why`.
std::unique_ptr<CompiledModel> try_compile(Backend &backend, const CompileRequest &request,
                                           std::string &why) {
    try {
        return backend.compile(request);
    } catch (const Error &error) {
        if (error.status() != CLV_ERR_NO_MEMORY)
            throw;
        why = error.what();
    } catch (const std::bad_alloc &) {
        why = "memory ran out while the model was made ready for " + request.input.text();
    }
    return nullptr;
}

/// tile=auto: whole pictures, and when they need more memory than there is the largest tiles that do not.
std::unique_ptr<CompiledModel> compile_within_memory(Backend &backend, const Bundle &bundle,
                                                     CompileRequest request, const TileWish &wish,
                                                     std::string &how) {
    const TensorShape input = request.input;
    const uint64_t usable = usable_memory();
    std::string why;
    auto model = try_compile(backend, request, why);
    const auto needed = [&] {
        return model->activation_bytes() + tensor_bytes(request.input, *model, request.in_flight);
    };
    if (model) {
        if (model->activation_bytes() == 0 || needed() <= usable)
            return model;
        why =
            "whole pictures need about " + mib_text(needed()) + " and " + mib_text(usable) + " are to be had";
        model.reset(); // before tiles are made: there is no room for both
    }
    constexpr const char *kInstead = "take smaller pictures, a machine with more memory, fewer pictures at "
                                     "once (async), or tile=none to try "
                                     "all the same";
    const TileRules rules = exact_tile_rules(bundle, input, wish, CLV_ERR_NO_MEMORY, why, kInstead);
    while (const auto plan = rules.halved(request.input)) {
        request.input = plan->tile;
        std::string ignored;
        model = try_compile(backend, request, ignored);
        if (!model)
            continue;
        auto tiled = tiled_model(std::move(model), *plan, request.in_flight, bundle.name);
        // Whole tensors stay; only what the runtime holds shrinks.
        if (tiled->activation_bytes() + tensor_bytes(input, *tiled, request.in_flight) <= usable) {
            how = rules.text(*plan) + ", chosen because " + why;
            return tiled;
        }
    }
    throw Error(CLV_ERR_NO_MEMORY, why + "; even the smallest tiles take too much: " + kInstead);
}

} // namespace

int64_t tile_scale(const TensorShape &tile, const TensorShape &output, const std::string &name) {
    const int64_t scale = output.width / tile.width;
    if (scale < 1 || output.width != tile.width * scale || output.height != tile.height * scale)
        throw Error(CLV_ERR_UNSUPPORTED,
                    "model " + name + " gives " + output.text() + " for a tile of " + tile.text() +
                        ": its output is no whole multiple of its input, and cannot be put "
                        "together from tiles; give tile=none");
    return scale;
}

std::unique_ptr<CompiledModel> tiled_model(std::unique_ptr<CompiledModel> tile, const TilePlan &plan,
                                           int in_flight, const std::string &name) {
    return std::make_unique<TiledModel>(std::move(tile), plan, in_flight, name);
}

std::unique_ptr<CompiledModel> compile_in_tiles(Backend &backend, const Bundle &bundle,
                                                const CompileRequest &request, const TileWish &wish,
                                                std::string &how) {
    if (wish.kind == TileWish::Kind::automatic)
        return compile_within_memory(backend, bundle, request, wish, how);
    if (wish.kind == TileWish::Kind::none)
        return backend.compile(request);
    const TileRules rules(bundle, request.input, wish);
    const TilePlan plan = rules.fixed(request.log);
    if (plan.count() == 1)
        return backend.compile(request);
    CompileRequest of_tile = request;
    of_tile.input = plan.tile;
    how = rules.text(plan) + ", as asked";
    return tiled_model(backend.compile(of_tile), plan, request.in_flight, bundle.name);
}

} // namespace clv
