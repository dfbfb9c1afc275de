// SPDX-License-Identifier: BSD-2-Clause
// Removes what masks cover from the pictures of a video.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "clarivid/clarivid.h"
#include "mesh/mesh.h"
#include "mesh/painter.h"
#include "mesh/picture_ops.h"
#include "pixels/pixels.h"
#include "pixels/thread_pool.h"

namespace clv::mesh {

struct InpainterOptions {
    Grid grid;
    int lookahead = 0;
    int dilate = 4;
    int feather = 4;
    clv_inpaint_show show = CLV_SHOW_RESULT;
};

/// The memory and everything around it; the C ABI (clv_inpainter) says what the calls promise.
class Inpainter {
public:
    using Log = std::function<void(clv_log_level, const std::string &)>;

    /// For pictures in host memory. `painter` may be null: what was never seen is then diffused from around.
    /// It, and `pool`, must outlive the inpainter. A painter takes planar pictures (not semi_planar, not
    /// msb_aligned) of the format's bit depth and range.
    Inpainter(const pixels::PictureFormat &format, const InpainterOptions &options, Painter *painter,
              pixels::ThreadPool &pool, Log log);
    /// For pictures where `ops`, made for the same format, works. Throws Error(CLV_ERR_NO_MEMORY).
    Inpainter(const pixels::PictureFormat &format, const InpainterOptions &options,
              std::unique_ptr<PictureOps> ops, pixels::ThreadPool &pool, Log log);
    ~Inpainter();

    /// `mask`: as of clv_mask, or null. Returns false when lookahead + 1 pictures wait.
    bool submit(const pixels::ConstPicture &input, const clv_mask *mask);
    /// The oldest picture that waits; CLV_OK, CLV_AGAIN or CLV_EMPTY. Throws what the painter throws, after
    /// which the picture is gone and the inpainter usable.
    int receive(bool flush, const pixels::Picture &output);
    int pending() const;
    void stats(clv_inpaint_stats &stats) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace clv::mesh
