// SPDX-License-Identifier: BSD-2-Clause
// Masks of people from pictures, by a bundle for the task "segment".
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/model.h"
#include "pixels/colour.h"
#include "pixels/pixels.h"
#include "pixels/thread_pool.h"

namespace clv {

/// The pictures of one video, in order. Deterministic: what a mask is depends on the pictures up to its own
/// only. One thread at a time.
class Segmenter {
public:
    /// `pool` must outlive the segmenter. Throws Error: CLV_ERR_INVALID_ARGUMENT (a bundle for another task),
    /// CLV_ERR_INVALID_MODEL (no size, other channels) and what make_engine() throws.
    Segmenter(const Bundle &bundle, const pixels::PictureFormat &format, const EngineOptions &options,
              pixels::ThreadPool &pool);

    /// The size of the picture, tightly packed: 255 where somebody is, else 0. Throws
    /// Error(CLV_ERR_INFERENCE).
    void run(const pixels::ConstPicture &picture, std::vector<uint8_t> &mask);

    /// Forgets the last picture: the next one is not smoothed with it.
    void reset() { smooth_.clear(); }

    /// For the log: the model, its size, and where it runs.
    std::string text() const;

private:
    void smooth(std::span<const float> probability);
    void draw_rows(std::vector<uint8_t> &mask, int first, int last) const;

    /// How a row or column of the picture lies between two of the net's.
    struct Between {
        int low;
        int high;
        float share; ///< of `high`
    };
    static std::vector<Between> positions(int picture, int net);

    const std::string name_;
    const pixels::PictureFormat format_;
    const TensorShape input_;
    pixels::ThreadPool &pool_;
    Engine engine_;
    std::unique_ptr<InferRequest> request_; ///< goes before the engine
    pixels::RgbScaler scaler_;
    std::vector<Between> columns_;
    std::vector<Between> rows_;
    std::vector<float> smooth_; ///< of the net's size; empty before the first picture
};

} // namespace clv
