// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mutex>
#include <string>

#include "clarivid/clarivid.h"

/// The log callback and the last error. Every member is safe from several threads.
struct clv_context {
public:
    clv_context(clv_log_callback callback, void *opaque) : callback_(callback), opaque_(opaque) {}

    void log(clv_log_level level, const std::string &message) {
        if (!callback_)
            return;
        const std::lock_guard lock(log_mutex_);
        callback_(opaque_, level, message.c_str());
    }

    void set_error(const char *sentence) noexcept {
        const std::lock_guard lock(error_mutex_);
        try {
            error_ = sentence;
        } catch (...) {
            error_.clear(); // no memory for the sentence: the status still tells
        }
    }

    std::string error() const {
        const std::lock_guard lock(error_mutex_);
        return error_;
    }

private:
    const clv_log_callback callback_;
    void *const opaque_;
    std::mutex log_mutex_;
    mutable std::mutex error_mutex_;
    std::string error_;
};
