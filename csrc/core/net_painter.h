// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/context.h"
#include "core/engine.h"
#include "core/model.h"
#include "mesh/painter.h"
#include "pixels/pixels.h"
#include "pixels/thread_pool.h"

namespace clv {

/// Paints holes with a net of the task "inpaint" (docs/models.md, layout yuv420_s2d_mask). The net runs at
/// one size, which is compiled once: the picture's shape, with the card's best_size as its long side. What it
/// sees is the hole and a margin, a quarter of its size on each side, made smaller by averaging areas if it
/// is too large; smaller holes get more picture around them, nothing is made larger. What it paints is made
/// larger again by cubic interpolation, and only the hole is written.
class NetPainter final : public mesh::Painter {
public:
    /// `format`: of the pictures that excerpts come from; planar. `context` and `pool` must outlive the
    /// painter. Throws Error as make_engine().
    NetPainter(clv_context &context, std::shared_ptr<const Bundle> bundle,
               const pixels::PictureFormat &format, const EngineOptions &options, pixels::ThreadPool &pool);

    void paint(const pixels::Picture &picture, int width, int height, const uint8_t *hole,
               ptrdiff_t hole_stride) override;

    /// Luma samples of the net's input.
    int net_width() const { return 2 * static_cast<int>(input_.width); }
    int net_height() const { return 2 * static_cast<int>(input_.height); }
    const Engine &engine() const { return engine_; }

private:
    struct Job;

    void gather(const Job &job);
    void run();
    void put_back(const Job &job);
    void fill_grey(const Job &job);

    std::shared_ptr<const Bundle> bundle_;
    pixels::PictureFormat format_;
    pixels::ThreadPool &pool_;
    TensorShape input_;
    Engine engine_;
    std::unique_ptr<InferRequest> request_; // after the engine: destroyed before it
    std::vector<uint8_t> chroma_hole_;      ///< of the excerpt's chroma samples: any luma sample is hole
    std::vector<uint8_t> blocks_;           ///< of the net's positions: hole or not
    std::vector<float> luma_; ///< what is put back, normalised: the net's in holes, the picture's around
    std::vector<float> chroma_[2];
};

} // namespace clv
