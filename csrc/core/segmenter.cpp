// SPDX-License-Identifier: BSD-2-Clause
#include "core/segmenter.h"

#include <algorithm>
#include <cmath>

#include "core/checks.h"
#include "core/error.h"

namespace clv {
namespace {

constexpr float kThreshold = 0.5f;
constexpr int kGrain = 32; // rows that one task draws

/// How much of what is uncertain is taken from the picture before. Where the net is sure nothing is, so a
/// mask does not lag behind who moves; measured on three clips, contours flicker by a third to a seventh as
/// much.
constexpr float kPrevious = 0.7f;

TensorShape input_shape(const Bundle &bundle) {
    if (bundle.task != "segment")
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "model " + bundle.name + " is for the task \"" + bundle.task +
                        "\", not \"segment\": it makes no masks; name a model such as segment_person");
    if (bundle.layout != CLV_LAYOUT_RGB)
        throw Error(CLV_ERR_INVALID_MODEL,
                    "model " + bundle.name + " makes masks, but its input is not of the layout rgb");
    if (!bundle.input_width || !bundle.input_height)
        throw Error(CLV_ERR_INVALID_MODEL, "model " + bundle.name +
                                               " does not say which size it takes: its card needs "
                                               "\"input\": {\"width\": ..., \"height\": ...}");
    return {3, bundle.input_height, bundle.input_width};
}

EngineOptions one_at_a_time(EngineOptions options) {
    options.in_flight = 1;
    options.half_output = false;
    return options;
}

} // namespace

Segmenter::Segmenter(const Bundle &bundle, const pixels::PictureFormat &format, const EngineOptions &options,
                     pixels::ThreadPool &pool)
    : name_(bundle.name), format_(format), input_(input_shape(bundle)), pool_(pool),
      engine_(make_engine(bundle, input_, one_at_a_time(options))),
      scaler_(format, static_cast<int>(input_.width), static_cast<int>(input_.height)),
      columns_(positions(format.width, static_cast<int>(input_.width))),
      rows_(positions(format.height, static_cast<int>(input_.height))) {
    const TensorShape wanted = {1, input_.height, input_.width};
    if (engine_.model->output() != wanted)
        throw Error(CLV_ERR_INVALID_MODEL, "model " + name_ + " gives " + engine_.model->output().text() +
                                               " for " + input_.text() + ": a net that makes masks gives " +
                                               wanted.text());
    if (engine_.model->output_type() != ElementType::f32)
        throw Error(CLV_ERR_INTERNAL, "model " + name_ + " gives f16 where f32 was asked for");
    request_ = engine_.model->create_request();
}

void Segmenter::run(const pixels::ConstPicture &picture, std::vector<uint8_t> &mask) {
    scaler_.to_tensor(picture, request_->input().data());
    request_->start();
    request_->wait();
    smooth({static_cast<const float *>(request_->output()), engine_.model->output().count()});
    mask.resize(static_cast<size_t>(format_.width) * static_cast<size_t>(format_.height));
    pool_.parallel_for(0, format_.height, kGrain, [&](int first, int last) { draw_rows(mask, first, last); });
}

std::string Segmenter::text() const {
    return "model " + name_ + ": masks from pictures scaled to " +
           size_text(static_cast<int>(input_.width), static_cast<int>(input_.height)) + " on " +
           engine_.text();
}

/// p + a 4p(1 - p) (before - p), the uncertainty 4p(1 - p) being 1 at one half and 0 at 0 and 1.
void Segmenter::smooth(std::span<const float> probability) {
    const bool first = smooth_.empty();
    smooth_.resize(probability.size());
    for (size_t i = 0; i < probability.size(); i++) {
        const float p = std::isnan(probability[i]) ? 0.0f : std::clamp(probability[i], 0.0f, 1.0f);
        smooth_[i] = first ? p : p + kPrevious * 4.0f * p * (1.0f - p) * (smooth_[i] - p);
    }
}

std::vector<Segmenter::Between> Segmenter::positions(int picture, int net) {
    std::vector<Between> out(static_cast<size_t>(picture));
    for (int i = 0; i < picture; i++) {
        const double at = std::clamp((i + 0.5) * net / picture - 0.5, 0.0, net - 1.0);
        const int low = static_cast<int>(at);
        out[static_cast<size_t>(i)] = {low, std::min(low + 1, net - 1), static_cast<float>(at - low)};
    }
    return out;
}

/// Bilinear, then the threshold. Rows that lie between two that are all low, or all high, need no arithmetic.
void Segmenter::draw_rows(std::vector<uint8_t> &mask, int first, int last) const {
    const auto width = static_cast<size_t>(input_.width);
    std::vector<float> line(width);
    for (int y = first; y < last; y++) {
        const Between &row = rows_[static_cast<size_t>(y)];
        const float *low = smooth_.data() + static_cast<size_t>(row.low) * width;
        const float *high = smooth_.data() + static_cast<size_t>(row.high) * width;
        float least = 1.0f, most = 0.0f;
        for (size_t x = 0; x < width; x++) {
            line[x] = low[x] + row.share * (high[x] - low[x]);
            least = std::min(least, line[x]);
            most = std::max(most, line[x]);
        }
        uint8_t *to = mask.data() + static_cast<size_t>(y) * static_cast<size_t>(format_.width);
        if (most < kThreshold || least >= kThreshold) {
            std::fill_n(to, format_.width, most < kThreshold ? uint8_t{0} : uint8_t{255});
            continue;
        }
        for (size_t x = 0; x < columns_.size(); x++) {
            const Between &column = columns_[x];
            const float left = line[static_cast<size_t>(column.low)];
            const float right = line[static_cast<size_t>(column.high)];
            to[x] = left + column.share * (right - left) >= kThreshold ? 255 : 0;
        }
    }
}

} // namespace clv
