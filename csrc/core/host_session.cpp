// SPDX-License-Identifier: BSD-2-Clause
// Sessions on pictures in host memory: slots in flight, each an input tensor, an output tensor and work on
// them by a backend.
#include <algorithm>
#include <deque>
#include <vector>

#include "core/adapter.h"
#include "core/engine.h"
#include "core/picture.h"
#include "core/session.h"
#include "pixels/thread_pool.h"

namespace clv {
namespace {

constexpr int kMaxConversionThreads = 8; // conversions are bound by memory: more threads give nothing

EngineOptions engine_options(const SessionPlan &plan, const Adapter &adapter) {
    EngineOptions options;
    options.backend = plan.params.backend ? plan.params.backend : "";
    options.device = plan.params.device ? plan.params.device : "";
    options.precision = plan.params.precision;
    options.threads = plan.params.threads;
    options.in_flight = plan.params.in_flight;
    // At scale 1 the output is no larger than the input, and holds the input's own values: f16 would gain
    // nothing and round them.
    options.half_output = adapter.takes_half() && plan.bundle->scale != 1;
    options.strength = static_cast<float>(plan.params.strength);
    options.tiles = plan.tiles;
    options.log = [&context = plan.context](clv_log_level level, const std::string &message) {
        context.log(level, message);
    };
    return options;
}

/// Slots in flight, in the order in which they were submitted.
class HostSession final : public SessionBody {
public:
    explicit HostSession(const SessionPlan &plan)
        : context_(plan.context), bundle_(plan.bundle), format_(plan.format),
          pool_(std::min(plan.params.threads, kMaxConversionThreads)),
          adapter_(make_adapter(*bundle_, format_, plan.params.dither, pool_)),
          engine_(make_engine(*bundle_, adapter_->input_shape(), engine_options(plan, *adapter_))),
          scale_(adapter_->set_output(engine_.model->output(), engine_.model->output_type())),
          output_format_(plan.output_format(scale_)), slots_(static_cast<size_t>(plan.params.in_flight)) {
        const bool copies = plan.copies_samples() && scale_ == 1;
        for (size_t i = 0; i < slots_.size(); i++) {
            if (!copies)
                slots_[i].request = engine_.model->create_request();
            free_.push_back(slots_.size() - 1 - i);
        }
        clv_session_info chosen;
        info(chosen);
        context_.log(CLV_LOG_INFO, plan.text(output_format_, engine_.text()) +
                                       ", threads=" + std::to_string(chosen.threads) + ", " +
                                       std::to_string(chosen.in_flight) + " in flight, tensors " +
                                       std::to_string(chosen.tensor_bytes >> 20) + " MiB");
    }

    ~HostSession() override {
        for (const size_t index : busy_) {
            try {
                if (slots_[index].request)
                    slots_[index].request->wait();
            } catch (const std::exception &error) {
                context_.log(CLV_LOG_WARNING,
                             std::string("a picture in flight failed at the end: ") + error.what());
            }
        }
    }
    HostSession(const HostSession &) = delete;
    HostSession &operator=(const HostSession &) = delete;

    int submit(const clv_picture &input, const clv_picture &output, void *opaque) override {
        if (free_.empty())
            return CLV_AGAIN;
        const size_t index = free_.back();
        Slot &slot = slots_[index];
        if (slot.request) {
            adapter_->prepare(input, output, slot.request->input());
            slot.request->start();
        } else {
            copy_picture(input, output, format_);
        }
        slot.output = output;
        slot.opaque = opaque;
        free_.pop_back();
        busy_.push_back(index);
        return CLV_OK;
    }

    int receive(bool wait, void **opaque) override {
        if (busy_.empty())
            return CLV_EMPTY;
        const size_t index = busy_.front();
        Slot &slot = slots_[index];
        if (slot.request && !wait && !slot.request->ready())
            return CLV_AGAIN;
        busy_.pop_front();
        free_.push_back(index);
        if (opaque)
            *opaque = slot.opaque;
        if (slot.request) {
            slot.request->wait();
            adapter_->finish(slot.request->output(), slot.output);
        }
        return CLV_OK;
    }

    int pending() const override { return static_cast<int>(busy_.size()); }

    void info(clv_session_info &info) const override {
        const size_t in = adapter_->input_shape().count() * sizeof(float);
        const size_t out =
            engine_.model->output().count() * (engine_.model->output_type() == ElementType::f16 ? 2 : 4);
        info.output = output_format_;
        info.scale = scale_;
        info.backend = engine_.backend_name.c_str();
        info.runtime = engine_.runtime.c_str();
        info.precision = engine_.model->precision();
        info.threads = engine_.model->threads();
        info.in_flight = static_cast<int>(slots_.size());
        info.tensor_bytes = uint64_t{in + out} * slots_.size();
    }

private:
    struct Slot {
        std::unique_ptr<InferRequest> request; ///< none at strength 0: samples are copied
        clv_picture output = {};
        void *opaque = nullptr;
    };

    clv_context &context_;
    const std::shared_ptr<const Bundle> bundle_;
    const clv_format format_;
    pixels::ThreadPool pool_;
    const std::unique_ptr<Adapter> adapter_;
    const Engine engine_;
    const int scale_;
    const clv_format output_format_;
    std::vector<Slot> slots_; // after the engine: destroyed before it
    std::vector<size_t> free_;
    std::deque<size_t> busy_;
};

} // namespace

std::unique_ptr<SessionBody> make_host_session(const SessionPlan &plan) {
    return std::make_unique<HostSession>(plan);
}

} // namespace clv
