// SPDX-License-Identifier: BSD-2-Clause
#include "core/session.h"

#include <algorithm>

#include "core/checks.h"
#include "core/error.h"
#include "core/picture.h"

namespace {

using clv::check_enum;
using clv::check_picture;
using clv::check_range;
using clv::Error;
using clv::number_text;
using clv::size_text;

constexpr int kMaxSize = clv::kMaxSize;
constexpr int kMaxInFlight = 64;
constexpr int kMaxConversionThreads = 8; // conversions are bound by memory: more threads give nothing

/// Tasks whose nets need more than one picture, or make none: the sentence names the call that runs them.
void check_task(const clv::Bundle &bundle) {
    if (bundle.task == "inpaint" || bundle.layout == CLV_LAYOUT_YUV420_S2D_MASK)
        throw Error(
            CLV_ERR_UNSUPPORTED,
            "model " + bundle.name +
                " is for the task \"inpaint\", which needs a mask: run it with the filter mesh_inpaint "
                "(model=" +
                bundle.name + "), clarivid.Inpainter or clv_inpainter_create(), not in a session");
    if (bundle.task == "segment")
        throw Error(CLV_ERR_UNSUPPORTED,
                    "model " + bundle.name +
                        " is for the task \"segment\", which makes masks and no pictures: run it with the "
                        "filter mesh_inpaint (segment=" +
                        bundle.name + "), clarivid.Inpainter or clv_inpainter_create(), not in a session");
}

void check_size(const clv_format &format, const clv::Bundle &bundle) {
    if (format.width < bundle.min_width || format.height < bundle.min_height)
        throw Error(CLV_ERR_UNSUPPORTED, "a picture of " + size_text(format.width, format.height) +
                                             " is smaller than model " + bundle.name + " needs (" +
                                             size_text(bundle.min_width, bundle.min_height) +
                                             "): scale or pad it first");
}

void check_strength(double strength, const clv::Bundle &bundle) {
    if (!(strength >= 0.0 && strength <= 1.0)) // NaN too
        throw Error(CLV_ERR_INVALID_ARGUMENT, "strength=" + number_text(strength) + " is not in 0..1");
    if (strength != 1.0 && !bundle.has_strength)
        throw Error(CLV_ERR_UNSUPPORTED, "model " + bundle.name +
                                             " has no strength: strength=" + number_text(strength) +
                                             " cannot be applied; leave it out, or set it to 1");
}

} // namespace

clv_session::clv_session(clv_context &context, std::shared_ptr<const clv::Bundle> bundle,
                         const clv_format &format, const clv_session_params &params)
    : context_(context), bundle_(std::move(bundle)), input_format_(format), output_format_(format) {
    check_task(*bundle_);
    clv::check_format(format);
    check_size(format, *bundle_);
    check_enum("precision", params.precision, CLV_PRECISION_AUTO, CLV_PRECISION_INT8);
    check_enum("dither", params.dither, CLV_DITHER_NONE, CLV_DITHER_ORDERED);
    check_range("in_flight", params.in_flight, 1, kMaxInFlight);
    check_strength(params.strength, *bundle_);

    const int cores = clv::threads_or_cores(params.threads);
    pool_ = std::make_unique<clv::pixels::ThreadPool>(std::min(cores, kMaxConversionThreads));
    adapter_ = clv::make_adapter(*bundle_, format, params.dither, *pool_);

    clv::EngineOptions options;
    options.backend = params.backend ? params.backend : "";
    options.device = params.device ? params.device : "";
    options.precision = params.precision;
    options.threads = cores;
    options.in_flight = params.in_flight;
    // At scale 1 the output is no larger than the input, and holds the input's own values: f16 would gain
    // nothing and round them.
    options.half_output = adapter_->takes_half() && bundle_->scale != 1;
    options.strength = static_cast<float>(params.strength);
    engine_ = clv::make_engine(*bundle_, adapter_->input_shape(), options);

    scale_ = adapter_->set_output(engine_.model->output(), engine_.model->output_type());
    if (bundle_->scale && scale_ != bundle_->scale)
        throw Error(CLV_ERR_INVALID_MODEL, "model " + bundle_->name + " says scale " +
                                               std::to_string(bundle_->scale) + " but its net scales by " +
                                               std::to_string(scale_) + ": the bundle is inconsistent");
    if (format.width > kMaxSize / scale_ || format.height > kMaxSize / scale_)
        throw Error(CLV_ERR_UNSUPPORTED, "a picture of " + size_text(format.width, format.height) +
                                             " times " + std::to_string(scale_) + " is larger than " +
                                             size_text(kMaxSize, kMaxSize));
    output_format_.width = format.width * scale_;
    output_format_.height = format.height * scale_;

    // The net's zero times the change, plus the input, would be rounded to the precision it computes in.
    const bool copies = bundle_->has_strength && params.strength == 0.0 && scale_ == 1;
    slots_.resize(static_cast<size_t>(params.in_flight));
    for (size_t i = 0; i < slots_.size(); i++) {
        if (!copies)
            slots_[i].request = engine_.model->create_request();
        free_.push_back(slots_.size() - 1 - i);
    }

    clv_session_info chosen;
    info(chosen);
    context_.log(CLV_LOG_INFO,
                 "model " + bundle_->name + ": " + size_text(format.width, format.height) + " -> " +
                     size_text(output_format_.width, output_format_.height) + " on " + engine_.text() +
                     (bundle_->has_strength ? ", strength=" + number_text(params.strength) : "") +
                     ", threads=" + std::to_string(chosen.threads) + ", " + std::to_string(chosen.in_flight) +
                     " in flight, tensors " + std::to_string(chosen.tensor_bytes >> 20) + " MiB");
}

clv_session::~clv_session() {
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

int clv_session::submit(const clv_picture &input, const clv_picture &output, void *opaque) {
    check_picture("input", input, input_format_);
    check_picture("output", output, output_format_);
    if (free_.empty())
        return CLV_AGAIN;
    const size_t index = free_.back();
    Slot &slot = slots_[index];
    if (slot.request) {
        adapter_->prepare(input, output, slot.request->input());
        slot.request->start();
    } else {
        clv::copy_picture(input, output, input_format_);
    }
    slot.output = output;
    slot.opaque = opaque;
    free_.pop_back();
    busy_.push_back(index);
    return CLV_OK;
}

int clv_session::receive(bool wait, void **opaque) {
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

void clv_session::info(clv_session_info &info) const {
    const size_t in = adapter_->input_shape().count() * sizeof(float);
    const size_t out =
        engine_.model->output().count() * (engine_.model->output_type() == clv::ElementType::f16 ? 2 : 4);
    info.output = output_format_;
    info.scale = scale_;
    info.backend = engine_.backend_name.c_str();
    info.runtime = engine_.runtime.c_str();
    info.precision = engine_.model->precision();
    info.threads = engine_.model->threads();
    info.in_flight = static_cast<int>(slots_.size());
    info.tensor_bytes = uint64_t{in + out} * slots_.size();
}
