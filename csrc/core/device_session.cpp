// SPDX-License-Identifier: BSD-2-Clause
// Sessions on pictures in CUDA memory: everything is enqueued on the caller's stream, which keeps the order;
// there is nothing to wait for and nothing to keep a slot for.
#include <deque>
#include <exception>
#include <string>

#include "core/backend_loader.h"
#include "core/checks.h"
#include "core/cuda_place.h"
#include "core/device_engine.h"
#include "core/error.h"
#include "core/picture.h"
#include "core/session.h"

namespace clv {
namespace {

EngineOptions engine_options(const SessionPlan &plan) {
    const clv_session_params &params = plan.params;
    EngineOptions options;
    options.log = [&context = plan.context](clv_log_level level, const std::string &message) {
        context.log(level, message);
    };
    options.backend = params.backend ? params.backend : "";
    options.device = params.device ? params.device : "";
    options.precision = params.precision;
    options.threads = params.threads;
    options.in_flight = params.in_flight;
    options.half_output = true;
    options.strength = static_cast<float>(params.strength);
    options.tiles = plan.tiles;
    return options;
}

class DeviceSession final : public SessionBody {
public:
    explicit DeviceSession(const SessionPlan &plan)
        : context_(plan.context), format_(plan.format), in_flight_(plan.params.in_flight),
          place_(cuda_place(*plan.params.cuda)), services_(load_cuda_services()) {
        const std::string device = services_->check(place_);
        const pixels::Dither dither =
            plan.params.dither == CLV_DITHER_ORDERED ? pixels::Dither::ordered : pixels::Dither::round;
        engine_ = make_device_engine(*plan.bundle, {picture_format(format_), dither, place_},
                                     engine_options(plan), *services_);
        output_format_ = plan.output_format(engine_.model->scale());
        copies_ = plan.copies_samples() && engine_.model->scale() == 1;
        clear_work(*place_.counters); // what was done so far is no picture's
        const bool named = engine_.runtime.find(device) != std::string::npos;
        context_.log(CLV_LOG_INFO, plan.text(output_format_, engine_.text()) + (named ? "" : ", " + device) +
                                       ", " + std::to_string(place_.counters->device_bytes >> 20) +
                                       " MiB of device memory");
    }

    ~DeviceSession() override {
        try {
            services_->synchronise(place_); // what is enqueued uses the model
        } catch (const std::exception &error) {
            context_.log(CLV_LOG_WARNING,
                         std::string("a picture in flight failed at the end: ") + error.what());
        }
    }
    DeviceSession(const DeviceSession &) = delete;
    DeviceSession &operator=(const DeviceSession &) = delete;

    int submit(const clv_picture &input, const clv_picture &output, void *opaque) override {
        if (pending() >= in_flight_)
            return CLV_AGAIN;
        try {
            if (copies_)
                copy(input, output);
            else
                engine_.model->enqueue(readable(input), writable(output));
        } catch (const Error &error) { // whatever the device says, it says of this picture
            throw Error(CLV_ERR_INFERENCE, error.what());
        }
        waiting_.push_back(opaque);
        return CLV_OK;
    }

    int receive(bool, void **opaque) override {
        if (waiting_.empty())
            return CLV_EMPTY;
        if (opaque)
            *opaque = waiting_.front();
        waiting_.pop_front();
        return CLV_OK;
    }

    int pending() const override { return static_cast<int>(waiting_.size()); }

    void info(clv_session_info &info) const override {
        info.output = output_format_;
        info.scale = engine_.model->scale();
        info.backend = engine_.backend_name.c_str();
        info.runtime = engine_.runtime.c_str();
        info.precision = engine_.model->precision();
        info.threads = 1;
        info.in_flight = in_flight_;
        info.tensor_bytes = place_.counters->device_bytes;
    }

    void device_stats(clv_device_stats &stats) const override { stats = stats_of(*place_.counters); }

private:
    void copy(const clv_picture &from, const clv_picture &to) {
        for (int i = 0; i < plane_count(format_); i++)
            services_->copy(place_, from.data[i], from.stride[i], to.data[i], to.stride[i],
                            static_cast<size_t>(row_bytes(format_, i)), plane_rows(format_, i));
    }

    clv_context &context_;
    const clv_format format_;
    const int in_flight_;
    const cuda::Place place_;
    const std::unique_ptr<CudaServices> services_;
    DeviceEngine engine_; // after the services: destroyed before them
    clv_format output_format_ = {};
    bool copies_ = false; ///< strength 0
    std::deque<void *> waiting_;
};

} // namespace

std::unique_ptr<SessionBody> make_device_session(const SessionPlan &plan) {
    return std::make_unique<DeviceSession>(plan);
}

} // namespace clv
