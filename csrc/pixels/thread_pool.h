// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace clv::pixels {

/// A fixed number of threads for loops over rows. Nothing spins: idle threads sleep.
///
/// parallel_for may be called from several threads at once and from inside a loop body; the calls share the
/// threads. The caller always works on its own loop, so a loop never waits for a free thread.
class ThreadPool {
public:
    /// `threads` counts the calling thread: 1 starts none and runs every loop inline. Below 1 means 1.
    /// Throws std::system_error when the system refuses a thread.
    explicit ThreadPool(int threads);

    /// Waits for running loops' threads. No loop may be started from here on.
    ~ThreadPool();

    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    /// Calls body(first, last) on disjoint pieces that make up [begin, end), each of `grain` indices (the
    /// last may be smaller). Returns when all are done. If a call throws, pieces not yet begun are dropped
    /// and the first exception is thrown again here.
    template <typename Body>
    void parallel_for(int begin, int end, int grain, Body &&body) {
        using Plain = std::remove_reference_t<Body>;
        const auto call = [](void *target, int first, int last) {
            (*static_cast<Plain *>(target))(first, last);
        };
        run(begin, end, grain, call, const_cast<std::remove_const_t<Plain> *>(std::addressof(body)));
    }

private:
    using Call = void (*)(void *target, int first, int last);
    struct Loop;

    void run(int begin, int end, int grain, Call call, void *target);
    void work();
    void stop();
    void unlist(const Loop *loop);

    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Loop *> open_; ///< loops that may have pieces left; they live on their callers' stacks
    bool stopping_ = false;
    std::vector<std::thread> workers_;
};

} // namespace clv::pixels
