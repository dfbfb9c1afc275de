// SPDX-License-Identifier: BSD-2-Clause
// What TensorRT says, brought to the log of the session that made it say so.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include <NvInferRuntime.h>

#include "clarivid/clarivid.h"

namespace clv::tensorrt {

/// Where one model's lines go; its errors are kept for our own sentences.
class Sink {
public:
    using Log = std::function<void(clv_log_level, const std::string &)>;
    explicit Sink(Log log) : log_(std::move(log)) {}

    void take(nvinfer1::ILogger::Severity severity, const char *message) noexcept;
    /// Of ours, without "TensorRT: " before it.
    void say(clv_log_level level, const std::string &message) noexcept;
    /// " (what went wrong first)", or ""; forgets it.
    std::string reason();
    /// What is tried only, and may fail: errors are no errors of the session's.
    void quiet(bool on);

private:
    Log log_;
    std::mutex mutex_;
    std::string error_;
    bool quiet_ = false;
};

/// For as long as it lives, what TensorRT says on this thread goes to `sink`; what it says on threads of its
/// own goes to the youngest of these.
class Listening {
public:
    explicit Listening(const std::shared_ptr<Sink> &sink);
    ~Listening();
    Listening(const Listening &) = delete;
    Listening &operator=(const Listening &) = delete;

private:
    std::shared_ptr<Sink> sink_;
    Sink *before_;
};

/// The process's one logger: TensorRT keeps the first that it is given for its global state, so it may never
/// go.
nvinfer1::ILogger &logger();

} // namespace clv::tensorrt
