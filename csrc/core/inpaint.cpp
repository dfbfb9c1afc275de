// SPDX-License-Identifier: BSD-2-Clause
#include "core/inpaint.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/checks.h"
#include "core/cores.h"
#include "core/error.h"
#include "core/picture.h"
#include "mesh/diffuse.h"
#include "mesh/store.h"

namespace {

using clv::Error;

constexpr int kMaxColumns = 32;
constexpr int kMaxRows = 18;
constexpr int kMaxLookahead = 64;
constexpr int kMaxMargin = 64;      // of dilate and feather
constexpr int kMaxPoolThreads = 16; // tracking and warping are bound by memory: more threads give little
constexpr uint8_t kHole = 128;      // from here on a mask's sample is hole

void check_params(const clv_inpaint_params &params) {
    if (params.mesh_columns < 1 || params.mesh_columns > kMaxColumns || params.mesh_rows < 1 ||
        params.mesh_rows > kMaxRows)
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "mesh=" + clv::size_text(params.mesh_columns, params.mesh_rows) + " is not in 1x1.." +
                        clv::size_text(kMaxColumns, kMaxRows) + " (columns x rows)");
    clv::check_enum("precision", params.precision, CLV_PRECISION_AUTO, CLV_PRECISION_INT8);
    clv::check_range("lookahead", params.lookahead, 0, kMaxLookahead);
    clv::check_range("dilate", params.dilate, 0, kMaxMargin);
    clv::check_range("feather", params.feather, 0, kMaxMargin);
    clv::check_enum("show", params.show, CLV_SHOW_RESULT, CLV_SHOW_AGE);
}

void check_task(const clv::Bundle &bundle, const std::string &task, const char *option, const char *known) {
    if (bundle.task == task)
        return;
    const std::string is = bundle.task.empty() ? "names no task" : "is for the task \"" + bundle.task + "\"";
    throw Error(CLV_ERR_UNSUPPORTED, "model " + bundle.name + " " + is + ", but " + option +
                                         " needs one for \"" + task + "\", such as " + known);
}

void check_mask(const clv_mask &mask, clv_memory pictures) {
    if (!mask.data)
        throw Error(CLV_ERR_INVALID_ARGUMENT, "the mask's data are NULL");
    clv::check_range("the mask's width", mask.width, 1, clv::kMaxSize);
    clv::check_range("the mask's height", mask.height, 1, clv::kMaxSize);
    if ((mask.stride < 0 ? -mask.stride : mask.stride) < mask.width)
        throw Error(CLV_ERR_INVALID_ARGUMENT, "the mask has a stride of " + std::to_string(mask.stride) +
                                                  " bytes, a row has " + std::to_string(mask.width));
    clv::check_enum("the mask's memory", mask.memory, CLV_MEMORY_HOST, CLV_MEMORY_CUDA);
    if (mask.memory != CLV_MEMORY_CUDA)
        return;
    if (pictures != CLV_MEMORY_CUDA)
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "the mask is in CUDA memory and the pictures are in host memory: "
                    "download the mask first");
    if (mask.stride < 0)
        throw Error(CLV_ERR_INVALID_ARGUMENT, "the mask has a stride of " + std::to_string(mask.stride) +
                                                  " bytes: in CUDA memory rows go from top to bottom");
}

/// Which of `from` samples lies nearest to the middle of sample `index` of `to`.
int nearest(int index, int from, int to) {
    return static_cast<int>((int64_t{2} * index + 1) * from / (int64_t{2} * to));
}

/// Adds the hole of `mask`, stretched, to `sum` of width x height.
void add_mask(const clv_mask &mask, std::vector<uint8_t> &sum, int width, int height) {
    for (int y = 0; y < height; y++) {
        const uint8_t *from = mask.data + nearest(y, mask.height, height) * mask.stride;
        uint8_t *to = sum.data() + static_cast<size_t>(y) * static_cast<size_t>(width);
        for (int x = 0; x < width; x++)
            if (from[nearest(x, mask.width, width)] >= kHole)
                to[x] = 255;
    }
}

} // namespace

clv_inpainter::clv_inpainter(clv_context &context, const std::shared_ptr<const clv::Bundle> &net,
                             const std::shared_ptr<const clv::Bundle> &segmenter, const clv_format &format,
                             const clv_inpaint_params &params)
    : context_(context), format_(format) {
    clv::check_format(format);
    clv::check_cuda(format, params.cuda);
    check_params(params);
    options_.grid = {params.mesh_columns, params.mesh_rows};
    options_.lookahead = params.lookahead;
    options_.dilate = params.dilate;
    options_.feather = params.feather;
    options_.show = params.show;

    clv::EngineOptions engine;
    engine.backend = params.backend ? params.backend : "";
    engine.device = params.device ? params.device : "";
    engine.precision = params.precision;
    engine.threads = clv::threads_or_cores(params.threads);
    pool_ = std::make_unique<clv::pixels::ThreadPool>(std::min(engine.threads, kMaxPoolThreads));
    const clv::pixels::PictureFormat picture = clv::picture_format(format);
    if (format.memory == CLV_MEMORY_CUDA)
        device_ = std::make_unique<clv::InpaintDevice>(*params.cuda, format);
    if (net) {
        check_task(*net, "inpaint", "inpainting", "inpaint_v1");
        if (device_ && device_->take_painter(*net, engine))
            context.log(CLV_LOG_INFO, device_->painter_text());
        else
            painter_ = std::make_unique<clv::NetPainter>(context, net, picture, engine, *pool_);
    }
    if (segmenter) {
        check_task(*segmenter, "segment", "segment", "segment_person");
        if (device_ && engine.backend == "cuda")
            throw Error(CLV_ERR_UNSUPPORTED, "model " + segmenter->name +
                                                 " makes masks on the host, where backend=cuda does not run: "
                                                 "use backend=auto, which takes CUDA where it can");
        segmenter_ = std::make_unique<clv::Segmenter>(*segmenter, picture, engine, *pool_);
        context.log(CLV_LOG_INFO, segmenter_->text() +
                                      (device_ ? "; each picture is read back from the device for it" : ""));
    }
    memory_ = make_memory();
    if (device_)
        device_->clear_stats(); // what was done so far is no picture's
    context.log(CLV_LOG_INFO,
                "inpainting " + clv::size_text(format.width, format.height) + ": mesh " +
                    clv::size_text(params.mesh_columns, params.mesh_rows) + ", lookahead " +
                    std::to_string(params.lookahead) + ", dilate " + std::to_string(params.dilate) +
                    ", feather " + std::to_string(params.feather) + ", threads=" +
                    std::to_string(pool_->threads()) + (device_ ? ", pictures on " + device_->name() : "") +
                    (net ? "" : "; no model: what was never seen is diffused from around"));
}

clv_inpainter::~clv_inpainter() {
    if (!device_)
        return;
    try {
        device_->synchronise(); // what is enqueued uses what goes now
    } catch (const std::exception &error) {
        context_.log(CLV_LOG_WARNING, std::string("the device failed at the end: ") + error.what());
    }
}

std::unique_ptr<clv::mesh::Inpainter> clv_inpainter::make_memory() {
    const auto format = clv::picture_format(format_);
    const auto log = [this](clv_log_level level, const std::string &message) {
        context_.log(level, message);
    };
    if (!device_)
        return std::make_unique<clv::mesh::Inpainter>(format, options_, painter_.get(), *pool_, log);
    return std::make_unique<clv::mesh::Inpainter>(format, options_, device_->make_ops(painter_.get()), *pool_,
                                                  log);
}

void clv_inpainter::device_stats(clv_device_stats &stats) const {
    if (device_)
        stats = device_->stats();
}

/// The host's mask and the segmenter's, in mask_.
clv_mask clv_inpainter::with_segments(const clv_picture &input, const clv_mask *mask) {
    segmenter_->run(clv::readable(device_ ? device_->on_host(input) : input), mask_);
    if (mask)
        add_mask(mask->memory == CLV_MEMORY_CUDA ? device_->on_host(*mask) : *mask, mask_, format_.width,
                 format_.height);
    return {mask_.data(), format_.width, format_.width, format_.height, CLV_MEMORY_HOST};
}

int clv_inpainter::submit(const clv_picture &input, const clv_mask *mask, const clv_picture &output,
                          void *opaque) {
    clv::check_picture("input", input, format_);
    clv::check_picture("output", output, format_);
    if (mask)
        check_mask(*mask, format_.memory);
    if (pending() > options_.lookahead)
        return CLV_AGAIN;
    clv_mask whole = {};
    if (segmenter_) {
        whole = with_segments(input, mask);
        mask = &whole;
    }
    waiting_.push_back({output, opaque});
    bool taken = false;
    try {
        taken = memory_->submit(clv::readable(input), mask);
    } catch (...) {
        waiting_.pop_back();
        throw;
    }
    if (!taken) {
        waiting_.pop_back();
        return CLV_AGAIN;
    }
    return CLV_OK;
}

int clv_inpainter::receive(bool flush, void **opaque) {
    if (waiting_.empty())
        return CLV_EMPTY;
    const Waiting oldest = waiting_.front();
    std::string failure;
    int status = CLV_OK;
    try {
        status = memory_->receive(flush, clv::writable(oldest.output));
    } catch (const std::exception &error) {
        if (memory_->pending() >= pending())
            throw; // the picture still waits
        status = CLV_ERR_INFERENCE;
        failure = error.what();
    }
    if (status != CLV_OK && status != CLV_ERR_INFERENCE)
        return status;
    waiting_.pop_front();
    if (opaque)
        *opaque = oldest.opaque;
    if (status != CLV_OK)
        throw Error(CLV_ERR_INFERENCE, failure);
    return CLV_OK;
}

/// The painter takes planar pictures and a mask of their size, in host memory.
void clv_inpainter::paint(const clv_picture &picture, const clv_mask &mask) {
    clv::check_picture("picture", picture, format_);
    check_mask(mask, format_.memory);
    const clv::pixels::PictureFormat format = clv::picture_format(format_);
    std::vector<uint8_t> hole(static_cast<size_t>(format.width) * static_cast<size_t>(format.height));
    add_mask(mask.memory == CLV_MEMORY_CUDA ? device_->on_host(mask) : mask, hole, format.width,
             format.height);
    if (device_) {
        device_->paint(picture, hole, painter_.get());
        return;
    }
    clv::mesh::Frame copy({format.width, format.height, format.bit_depth});
    clv::mesh::import_picture(format, clv::readable(picture), copy, *pool_);
    clv::mesh::Diffusion diffusion(format.bit_depth);
    clv::mesh::Painter *const painter =
        painter_ ? static_cast<clv::mesh::Painter *>(painter_.get()) : &diffusion;
    painter->paint(copy.picture(), format.width, format.height, hole.data(), format.width);
    clv::mesh::export_picture(copy, format, clv::writable(picture), *pool_);
}

void clv_inpainter::reset() {
    waiting_.clear();
    if (segmenter_)
        segmenter_->reset();
    memory_ = make_memory();
}
