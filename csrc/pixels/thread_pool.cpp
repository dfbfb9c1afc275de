// SPDX-License-Identifier: BSD-2-Clause

#include "thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>

namespace clv::pixels {

struct ThreadPool::Loop {
    std::atomic<long long> next; ///< may run past `end`, by one grain a thread
    long long end;
    long long grain;
    Call call;
    void *target;

    // Under the pool's mutex:
    int helpers = 0; ///< workers inside pieces()
    std::exception_ptr error{};
    std::condition_variable left{};

    /// Takes pieces until none are left. Returns what a piece threw, after dropping the rest.
    std::exception_ptr pieces() noexcept {
        try {
            for (;;) {
                const long long first = next.fetch_add(grain, std::memory_order_relaxed);
                if (first >= end)
                    return nullptr;
                call(target, static_cast<int>(first), static_cast<int>(std::min(first + grain, end)));
            }
        } catch (...) {
            next.store(end, std::memory_order_relaxed);
            return std::current_exception();
        }
    }
};

ThreadPool::ThreadPool(int threads) {
    try {
        for (int i = 1; i < threads; i++)
            workers_.emplace_back([this] { work(); });
    } catch (...) {
        stop();
        throw;
    }
}

ThreadPool::~ThreadPool() {
    stop();
}

void ThreadPool::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread &worker : workers_)
        worker.join();
}

void ThreadPool::unlist(const Loop *loop) {
    const auto at = std::find(open_.begin(), open_.end(), loop);
    if (at != open_.end())
        open_.erase(at);
}

void ThreadPool::run(int begin, int end, int grain, Call call, void *target) {
    if (begin >= end)
        return;
    grain = std::max(grain, 1);
    const long long count = static_cast<long long>(end) - begin;
    if (workers_.empty() || count <= grain) {
        for (long long first = begin; first < end; first += grain)
            call(target, static_cast<int>(first), static_cast<int>(std::min<long long>(first + grain, end)));
        return;
    }

    Loop loop{.next = begin, .end = end, .grain = grain, .call = call, .target = target};
    {
        const std::lock_guard lock(mutex_);
        open_.push_back(&loop);
    }
    const long long others = (count - 1) / grain; // pieces beyond the caller's first
    if (others >= static_cast<long long>(workers_.size()))
        wake_.notify_all();
    else
        for (long long i = 0; i < others; i++)
            wake_.notify_one();

    std::exception_ptr error = loop.pieces();

    std::unique_lock lock(mutex_);
    unlist(&loop);
    loop.left.wait(lock, [&] { return loop.helpers == 0; });
    if (loop.error)
        error = loop.error;
    lock.unlock();
    if (error)
        std::rethrow_exception(error);
}

void ThreadPool::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stopping_ || !open_.empty(); });
        if (stopping_)
            return;
        Loop *loop = open_.front();
        loop->helpers++;
        lock.unlock();
        std::exception_ptr error = loop->pieces();
        lock.lock();
        unlist(loop); // nothing is left in it: do not come back
        if (error && !loop->error)
            loop->error = std::move(error);
        if (--loop->helpers == 0)
            loop->left.notify_all();
    }
}

} // namespace clv::pixels
