// SPDX-License-Identifier: BSD-2-Clause
#include "core/session.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sched.h>

#include "core/backend_loader.h"
#include "core/error.h"

namespace {

using clv::Error;

constexpr int kMaxSize = 32768;
constexpr int kMaxThreads = 1024;
constexpr int kMaxInFlight = 64;
constexpr int kMaxConversionThreads = 8; // conversions are bound by memory: more threads give nothing

const char *precision_name(clv_precision precision) {
    switch (precision) {
    case CLV_PRECISION_AUTO:
        return "auto";
    case CLV_PRECISION_FP32:
        return "fp32";
    case CLV_PRECISION_FP16:
        return "fp16";
    case CLV_PRECISION_BF16:
        return "bf16";
    case CLV_PRECISION_INT8:
        return "int8";
    }
    return "unknown";
}

void check_range(const char *name, int value, int low, int high) {
    if (value < low || value > high)
        throw Error(CLV_ERR_INVALID_ARGUMENT, std::string(name) + "=" + std::to_string(value) +
                                                  " is not in " + std::to_string(low) + ".." +
                                                  std::to_string(high));
}

template <class Enum>
void check_enum(const char *name, Enum value, int low, int high) {
    check_range(name, static_cast<int>(value), low, high);
}

std::string size_text(int width, int height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

void check_format(const clv_format &format, const clv::Bundle &bundle) {
    check_range("width", format.width, 1, kMaxSize);
    check_range("height", format.height, 1, kMaxSize);
    check_enum("pixel_format", format.pixel_format, CLV_PIXEL_YUV420P, CLV_PIXEL_P010);
    check_enum("memory", format.memory, CLV_MEMORY_HOST, CLV_MEMORY_CUDA);
    check_enum("range", format.range, CLV_RANGE_UNSPECIFIED, CLV_RANGE_FULL);
    check_enum("matrix", format.matrix, CLV_MATRIX_UNSPECIFIED, CLV_MATRIX_BT2020_NCL);
    check_enum("siting", format.siting, CLV_SITING_UNSPECIFIED, CLV_SITING_TOP_LEFT);
    if (format.memory != CLV_MEMORY_HOST)
        throw Error(CLV_ERR_UNSUPPORTED,
                    "pictures in CUDA memory are not supported by this release: download them "
                    "first (in ffmpeg: hwdownload,format=nv12)");
    if (format.width < bundle.min_width || format.height < bundle.min_height)
        throw Error(CLV_ERR_UNSUPPORTED, "a picture of " + size_text(format.width, format.height) +
                                             " is smaller than model " + bundle.name + " needs (" +
                                             size_text(bundle.min_width, bundle.min_height) +
                                             "): scale or pad it first");
}

/// Cores that this process may use: the affinity mask, which containers and taskset set.
int usable_cores() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    return std::max(1, CPU_COUNT(&set));
}

std::string number_text(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%g", value);
    return text;
}

void check_strength(double strength, const clv::Bundle &bundle) {
    if (!(strength >= 0.0 && strength <= 1.0)) // NaN too
        throw Error(CLV_ERR_INVALID_ARGUMENT, "strength=" + number_text(strength) + " is not in 0..1");
    if (strength != 1.0 && !bundle.has_strength)
        throw Error(CLV_ERR_UNSUPPORTED, "model " + bundle.name +
                                             " has no strength: strength=" + number_text(strength) +
                                             " cannot be applied; leave it out, or set it to 1");
}

bool is_semi_planar(clv_pixel_format format) {
    return format == CLV_PIXEL_NV12 || format == CLV_PIXEL_P010;
}

int plane_count(const clv_format &format) {
    return is_semi_planar(format.pixel_format) ? 2 : 3;
}

/// Of the samples in one row of a plane.
ptrdiff_t row_bytes(const clv_format &format, int plane) {
    const int chroma = (format.width + 1) / 2 * (is_semi_planar(format.pixel_format) ? 2 : 1);
    const bool wide = format.pixel_format == CLV_PIXEL_YUV420P10 || format.pixel_format == CLV_PIXEL_P010;
    return ptrdiff_t{plane == 0 ? format.width : chroma} * (wide ? 2 : 1);
}

void copy_picture(const clv_picture &from, const clv_picture &to, const clv_format &format) {
    for (int i = 0; i < plane_count(format); i++) {
        const auto *in = static_cast<const std::byte *>(from.data[i]);
        auto *out = static_cast<std::byte *>(to.data[i]);
        const int rows = i == 0 ? format.height : (format.height + 1) / 2;
        const auto bytes = static_cast<size_t>(row_bytes(format, i));
        for (int y = 0; y < rows; y++)
            std::memcpy(out + y * to.stride[i], in + y * from.stride[i], bytes);
    }
}

void check_picture(const char *which, const clv_picture &picture, const clv_format &format) {
    for (int i = 0; i < plane_count(format); i++) {
        const ptrdiff_t row = row_bytes(format, i);
        const ptrdiff_t stride = picture.stride[i];
        if (!picture.data[i])
            throw Error(CLV_ERR_INVALID_ARGUMENT,
                        std::string(which) + " plane " + std::to_string(i) + " is NULL");
        if ((stride < 0 ? -stride : stride) < row)
            throw Error(CLV_ERR_INVALID_ARGUMENT, std::string(which) + " plane " + std::to_string(i) +
                                                      " has a stride of " + std::to_string(stride) +
                                                      " bytes, a row has " + std::to_string(row));
    }
}

} // namespace

clv_session::clv_session(clv_context &context, std::shared_ptr<const clv::Bundle> bundle,
                         const clv_format &format, const clv_session_params &params)
    : context_(context), bundle_(std::move(bundle)), input_format_(format), output_format_(format) {
    check_format(format, *bundle_);
    check_enum("precision", params.precision, CLV_PRECISION_AUTO, CLV_PRECISION_INT8);
    check_enum("dither", params.dither, CLV_DITHER_NONE, CLV_DITHER_ORDERED);
    check_range("threads", params.threads, 0, kMaxThreads);
    check_range("in_flight", params.in_flight, 1, kMaxInFlight);
    check_strength(params.strength, *bundle_);

    const int cores = params.threads ? params.threads : usable_cores();
    pool_ = std::make_unique<clv::pixels::ThreadPool>(std::min(cores, kMaxConversionThreads));
    adapter_ = clv::make_adapter(*bundle_, format, params.dither, *pool_);

    clv::CompileRequest request;
    request.onnx = bundle_->onnx;
    request.model_name = bundle_->name;
    request.architecture = bundle_->architecture;
    request.weights = bundle_->weights;
    request.input = adapter_->input_shape();
    request.scale = bundle_->scale;
    request.layout = bundle_->layout;
    request.device = params.device ? params.device : "";
    request.precision = params.precision;
    request.bf16_passed = bundle_->bf16_passed;
    request.fp16_passed = bundle_->fp16_passed;
    // At scale 1 the output is no larger than the input, and holds the input's own values: f16 would gain
    // nothing and round them.
    request.half_output = adapter_->takes_half() && bundle_->scale != 1;
    if (bundle_->has_strength)
        request.strength = static_cast<float>(params.strength);
    request.threads = cores;
    request.in_flight = params.in_flight;
    const std::string why =
        choose_backend(params.backend && *params.backend ? params.backend : "auto", request);
    compiled_ = backend_->compile(request);

    scale_ = adapter_->set_output(compiled_->output(), compiled_->output_type());
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
            slots_[i].request = compiled_->create_request();
        free_.push_back(slots_.size() - 1 - i);
    }

    clv_session_info chosen;
    info(chosen);
    context_.log(CLV_LOG_INFO,
                 "model " + bundle_->name + ": " + size_text(format.width, format.height) + " -> " +
                     size_text(output_format_.width, output_format_.height) + " on " + runtime_ +
                     " (backend=" + backend_name_ + ", " + why +
                     "), precision=" + precision_name(chosen.precision) +
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

/// Sets backend_ and its name; returns why it is the one, for the log.
std::string clv_session::choose_backend(const std::string &wanted, const clv::CompileRequest &request) {
    if (wanted == "auto" && !request.architecture.empty() && clv::has_backend("cpu")) {
        auto own = clv::load_backend("cpu");
        if (own->suits(request)) {
            backend_ = std::move(own);
            backend_name_ = "cpu";
            runtime_ = backend_->runtime();
            return "chosen because it knows this net and the pictures are in host memory";
        }
    }
    backend_name_ = wanted == "auto" ? "openvino" : wanted;
    backend_ = clv::load_backend(backend_name_);
    runtime_ = backend_->runtime();
    return wanted == "auto" ? "chosen because the pictures are in host memory" : "as asked";
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
        copy_picture(input, output, input_format_);
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
        compiled_->output().count() * (compiled_->output_type() == clv::ElementType::f16 ? 2 : 4);
    info.output = output_format_;
    info.scale = scale_;
    info.backend = backend_name_.c_str();
    info.runtime = runtime_.c_str();
    info.precision = compiled_->precision();
    info.threads = compiled_->threads();
    info.in_flight = static_cast<int>(slots_.size());
    info.tensor_bytes = uint64_t{in + out} * slots_.size();
}
