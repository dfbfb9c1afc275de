// SPDX-License-Identifier: BSD-2-Clause
#include "core/session.h"

#include "core/blend.h"
#include "core/checks.h"
#include "core/cores.h"
#include "core/error.h"
#include "core/picture.h"

namespace clv {
namespace {

constexpr int kMaxInFlight = 64;

/// Tasks whose nets need more than one picture, or make none: the sentence names the call that runs them.
void check_task(const Bundle &bundle) {
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

void check_size(const clv_format &format, const Bundle &bundle) {
    if (format.width < bundle.min_width || format.height < bundle.min_height)
        throw Error(CLV_ERR_UNSUPPORTED, "a picture of " + size_text(format.width, format.height) +
                                             " is smaller than model " + bundle.name + " needs (" +
                                             size_text(bundle.min_width, bundle.min_height) +
                                             "): scale or pad it first");
}

void check_strength(double strength, const Bundle &bundle) {
    if (!(strength >= 0.0 && strength <= 1.0)) // NaN too
        throw Error(CLV_ERR_INVALID_ARGUMENT, "strength=" + number_text(strength) + " is not in 0..1");
    if (strength != 1.0 && !bundle.has_strength)
        throw Error(CLV_ERR_UNSUPPORTED, "model " + bundle.name +
                                             " has no strength: strength=" + number_text(strength) +
                                             " cannot be applied; leave it out, or set it to 1");
}

std::unique_ptr<SessionBody> make_body(const SessionPlan &plan) {
    return plan.format.memory == CLV_MEMORY_CUDA ? make_device_session(plan) : make_host_session(plan);
}

SessionPlan checked_plan(clv_context &context, const std::shared_ptr<const Bundle> &bundle,
                         const clv_format &format, const clv_session_params &params) {
    check_task(*bundle);
    check_format(format);
    check_cuda(format, params.cuda);
    check_size(format, *bundle);
    check_enum("precision", params.precision, CLV_PRECISION_AUTO, CLV_PRECISION_INT8);
    check_enum("dither", params.dither, CLV_DITHER_NONE, CLV_DITHER_ORDERED);
    check_range("in_flight", params.in_flight, 1, kMaxInFlight);
    check_strength(params.strength, *bundle);
    SessionPlan plan{context, sharpened(bundle, params.sharpness), format, params,
                     read_tile_wish(params.tile, params.overlap)};
    plan.params.threads = threads_or_cores(params.threads);
    return plan;
}

} // namespace

bool SessionPlan::copies_samples() const {
    return bundle->has_strength && params.strength == 0.0;
}

clv_format SessionPlan::output_format(int scale) const {
    if (bundle->scale && scale != bundle->scale)
        throw Error(CLV_ERR_INVALID_MODEL, "model " + bundle->name + " says scale " +
                                               std::to_string(bundle->scale) + " but its net scales by " +
                                               std::to_string(scale) + ": the bundle is inconsistent");
    if (format.width > kMaxSize / scale || format.height > kMaxSize / scale)
        throw Error(CLV_ERR_UNSUPPORTED, "a picture of " + size_text(format.width, format.height) +
                                             " times " + std::to_string(scale) + " is larger than " +
                                             size_text(kMaxSize, kMaxSize));
    clv_format output = format;
    output.width = format.width * scale;
    output.height = format.height * scale;
    return output;
}

std::string SessionPlan::text(const clv_format &output, const std::string &engine) const {
    return "model " + bundle->name + ": " + size_text(format.width, format.height) + " -> " +
           size_text(output.width, output.height) + " on " + engine +
           (bundle->has_strength ? ", strength=" + number_text(params.strength) : "") +
           (bundle->sharpness > 0 ? ", sharpness=" + shortest_text(bundle->sharpness) : "");
}

} // namespace clv

clv_session::clv_session(clv_context &context, const std::shared_ptr<const clv::Bundle> &bundle,
                         const clv_format &format, const clv_session_params &params)
    : context_(context), input_format_(format),
      body_(clv::make_body(clv::checked_plan(context, bundle, format, params))) {
    clv_session_info info;
    body_->info(info);
    output_format_ = info.output;
}

int clv_session::submit(const clv_picture &input, const clv_picture &output, void *opaque) {
    clv::check_picture("input", input, input_format_);
    clv::check_picture("output", output, output_format_);
    return body_->submit(input, output, opaque);
}
