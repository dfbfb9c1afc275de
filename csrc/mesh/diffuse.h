// SPDX-License-Identifier: BSD-2-Clause
// Smooth filling from around.
#pragma once

#include <vector>

#include "mesh/painter.h"
#include "mesh/store.h"

namespace clv::mesh {

/// Scattered values -> a smooth surface through them: pull-push (Gortler et al., The Lumigraph, SIGGRAPH
/// 1996, section 3.4). Averages are taken up a pyramid wherever something is known, and come down to where
/// nothing is. Keeps its buffers.
class PullPush {
public:
    /// Room for the finest level, uninitialised: values, and weights from 0 (not known) to 1.
    void resize(int width, int height);
    float *values() { return levels_[0].values.data(); }
    float *weights() { return levels_[0].weights.data(); }
    /// Mixes what comes from coarser levels into values() where weights are below 1. `otherwise`: what it is
    /// when all weights are 0.
    void fill(float otherwise);

private:
    struct Level {
        int width = 0;
        int height = 0;
        std::vector<float> values;
        std::vector<float> weights;
    };
    std::vector<Level> levels_;
    size_t used_ = 0;

    static void pull(const Level &fine, Level &coarse);
    static void push(const Level &coarse, Level &fine);
};

/// The stand-in for a net: smooth colours. Deterministic.
class Diffusion final : public Painter {
public:
    explicit Diffusion(int bit_depth) : bit_depth_(bit_depth) {}
    void paint(const pixels::Picture &picture, int width, int height, const uint8_t *hole,
               ptrdiff_t hole_stride) override;

private:
    template <typename Sample>
    void paint_plane(uint8_t *data, ptrdiff_t stride, int width, int height, const uint8_t *hole,
                     ptrdiff_t hole_stride);

    int bit_depth_;
    std::vector<uint8_t> blocks_;
    PullPush surface_;
};

} // namespace clv::mesh
