// SPDX-License-Identifier: BSD-2-Clause
#include "backends/tensorrt/logger.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace clv::tensorrt {
namespace {

using Severity = nvinfer1::ILogger::Severity;

thread_local Sink *of_this_thread = nullptr;

/// The sinks that are being listened to, the youngest last. Never destroyed, as the logger.
struct Listeners {
    std::mutex mutex;
    std::vector<std::shared_ptr<Sink>> sinks;
};
Listeners &listeners() {
    static auto *value = new Listeners;
    return *value;
}

clv_log_level level_of(Severity severity) {
    switch (severity) {
    case Severity::kINTERNAL_ERROR:
    case Severity::kERROR:
        return CLV_LOG_ERROR;
    case Severity::kWARNING:
        return CLV_LOG_WARNING;
    case Severity::kINFO:
        return CLV_LOG_VERBOSE;
    case Severity::kVERBOSE:
        break;
    }
    return CLV_LOG_DEBUG;
}

class Logger final : public nvinfer1::ILogger {
public:
    void log(Severity severity, const char *message) noexcept override {
        if (!message)
            return;
        if (of_this_thread) {
            of_this_thread->take(severity, message);
            return;
        }
        std::shared_ptr<Sink> sink;
        {
            Listeners &all = listeners();
            const std::lock_guard lock(all.mutex);
            if (!all.sinks.empty())
                sink = all.sinks.back();
        }
        if (sink)
            sink->take(severity, message);
    }
};

} // namespace

void Sink::take(Severity severity, const char *message) noexcept {
    try {
        clv_log_level level = level_of(severity);
        {
            const std::lock_guard lock(mutex_);
            if (severity <= Severity::kERROR && error_.empty())
                error_ = message;
            if (quiet_)
                level = std::max(level, CLV_LOG_VERBOSE);
        }
        if (log_)
            log_(level, std::string("TensorRT: ") + message);
    } catch (...) { // no memory for a message
    }
}

void Sink::say(clv_log_level level, const std::string &message) noexcept {
    try {
        if (log_)
            log_(level, message);
    } catch (...) { // as above
    }
}

std::string Sink::reason() {
    const std::lock_guard lock(mutex_);
    const std::string error = std::exchange(error_, "");
    return error.empty() ? "" : " (" + error + ")";
}

void Sink::quiet(bool on) {
    const std::lock_guard lock(mutex_);
    quiet_ = on;
}

Listening::Listening(const std::shared_ptr<Sink> &sink) : sink_(sink), before_(of_this_thread) {
    {
        Listeners &all = listeners();
        const std::lock_guard lock(all.mutex);
        all.sinks.push_back(sink);
    }
    of_this_thread = sink.get();
}

Listening::~Listening() {
    of_this_thread = before_;
    Listeners &all = listeners();
    const std::lock_guard lock(all.mutex);
    const auto last = std::find(all.sinks.rbegin(), all.sinks.rend(), sink_);
    all.sinks.erase(std::next(last).base());
}

nvinfer1::ILogger &logger() {
    static auto *value = new Logger;
    return *value;
}

} // namespace clv::tensorrt
