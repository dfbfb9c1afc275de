// SPDX-License-Identifier: BSD-2-Clause
// A model made ready for pictures of one format. What differs between pictures in host memory and pictures on
// a device is a body of its own: host_session.cpp, device_session.cpp.
#pragma once

#include <memory>
#include <string>

#include "clarivid/clarivid.h"
#include "core/context.h"
#include "core/model.h"
#include "core/tiles.h"

namespace clv {

/// What every session checks before its body is made.
struct SessionPlan {
    clv_context &context;
    std::shared_ptr<const Bundle> bundle;
    clv_format format;
    clv_session_params params; ///< complete; `threads` is at least 1
    TileWish tiles;            ///< of the params

    /// The net's zero times the change, plus the input, would be rounded to the precision it computes in: at
    /// strength 0 samples are copied.
    bool copies_samples() const;
    /// Of the output, for a net that scales by `scale`. Throws Error: CLV_ERR_INVALID_MODEL (not what the
    /// bundle says), CLV_ERR_UNSUPPORTED (too large).
    clv_format output_format(int scale) const;
    /// "model NAME: 64x48 -> 128x96 on ENGINE, strength=0.5", for the log.
    std::string text(const clv_format &output, const std::string &engine) const;
};

/// The work of a session, for one kind of memory. One thread at a time; pictures are checked already.
class SessionBody {
public:
    virtual ~SessionBody() = default;
    virtual int submit(const clv_picture &input, const clv_picture &output, void *opaque) = 0;
    virtual int receive(bool wait, void **opaque) = 0;
    virtual int pending() const = 0;
    virtual void info(clv_session_info &info) const = 0;
    virtual void device_stats(clv_device_stats & /*stats*/) const {}
};

std::unique_ptr<SessionBody> make_host_session(const SessionPlan &plan);
/// params.cuda is there.
std::unique_ptr<SessionBody> make_device_session(const SessionPlan &plan);

} // namespace clv

struct clv_session {
public:
    clv_session(clv_context &context, const std::shared_ptr<const clv::Bundle> &bundle,
                const clv_format &format, const clv_session_params &params);

    int submit(const clv_picture &input, const clv_picture &output, void *opaque);
    int receive(bool wait, void **opaque) { return body_->receive(wait, opaque); }
    int pending() const { return body_->pending(); }
    void info(clv_session_info &info) const { body_->info(info); }
    void device_stats(clv_device_stats &stats) const { body_->device_stats(stats); }
    clv_context &context() const { return context_; }

private:
    clv_context &context_;
    const clv_format input_format_;
    clv_format output_format_;
    std::unique_ptr<clv::SessionBody> body_;
};
