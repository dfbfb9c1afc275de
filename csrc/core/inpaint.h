// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "clarivid/clarivid.h"
#include "core/context.h"
#include "core/inpaint_device.h"
#include "core/model.h"
#include "core/net_painter.h"
#include "core/segmenter.h"
#include "mesh/inpainter.h"
#include "pixels/thread_pool.h"

/// The memory of a video's background with the nets that serve it, and the hosts' pictures that wait. One
/// thread at a time.
struct clv_inpainter {
public:
    /// `net` and `segmenter` may be null. `params` is complete.
    clv_inpainter(clv_context &context, const std::shared_ptr<const clv::Bundle> &net,
                  const std::shared_ptr<const clv::Bundle> &segmenter, const clv_format &format,
                  const clv_inpaint_params &params);
    ~clv_inpainter();
    clv_inpainter(const clv_inpainter &) = delete;
    clv_inpainter &operator=(const clv_inpainter &) = delete;

    int submit(const clv_picture &input, const clv_mask *mask, const clv_picture &output, void *opaque);
    int receive(bool flush, void **opaque);
    int pending() const { return static_cast<int>(waiting_.size()); }
    void stats(clv_inpaint_stats &stats) const { memory_->stats(stats); }
    void device_stats(clv_device_stats &stats) const;
    void paint(const clv_picture &picture, const clv_mask &mask);
    void reset();
    clv_context &context() const { return context_; }

private:
    struct Waiting {
        clv_picture output;
        void *opaque;
    };

    std::unique_ptr<clv::mesh::Inpainter> make_memory();
    clv_mask with_segments(const clv_picture &input, const clv_mask *mask);

    clv_context &context_;
    const clv_format format_;
    clv::mesh::InpainterOptions options_;
    std::vector<uint8_t> mask_; ///< what the segmenter made of the last picture, and the host's mask
    std::deque<Waiting> waiting_;
    // Destroyed from the last to the first: the memory uses all others.
    std::unique_ptr<clv::pixels::ThreadPool> pool_;
    std::unique_ptr<clv::InpaintDevice> device_; ///< null for pictures in host memory
    std::unique_ptr<clv::NetPainter> painter_;
    std::unique_ptr<clv::Segmenter> segmenter_;
    std::unique_ptr<clv::mesh::Inpainter> memory_;
};
