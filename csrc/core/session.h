// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "clarivid/clarivid.h"
#include "core/adapter.h"
#include "core/context.h"
#include "core/engine.h"
#include "core/model.h"
#include "pixels/thread_pool.h"

/// Slots in flight, in the order in which they were submitted. One thread at a time.
struct clv_session {
public:
    clv_session(clv_context &context, std::shared_ptr<const clv::Bundle> bundle, const clv_format &format,
                const clv_session_params &params);
    ~clv_session();
    clv_session(const clv_session &) = delete;
    clv_session &operator=(const clv_session &) = delete;

    int submit(const clv_picture &input, const clv_picture &output, void *opaque);
    int receive(bool wait, void **opaque);
    int pending() const { return static_cast<int>(busy_.size()); }
    void info(clv_session_info &info) const;
    void device_stats(clv_device_stats & /*stats*/) const {}
    clv_context &context() const { return context_; }

private:
    struct Slot {
        std::unique_ptr<clv::InferRequest> request; ///< none at strength 0: samples are copied
        clv_picture output = {};
        void *opaque = nullptr;
    };

    clv_context &context_;
    const std::shared_ptr<const clv::Bundle> bundle_;
    const clv_format input_format_;
    clv_format output_format_;
    int scale_ = 0;
    std::unique_ptr<clv::pixels::ThreadPool> pool_;
    std::unique_ptr<clv::Adapter> adapter_;
    clv::Engine engine_;
    std::vector<Slot> slots_; // after the engine: destroyed before it
    std::vector<size_t> free_;
    std::deque<size_t> busy_;
};
