// SPDX-License-Identifier: BSD-2-Clause

#include "harness.h"

#include "pixels/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <thread>

namespace clv::pixels::test {
namespace {

void every_index_once(Report &report, int threads) {
    ThreadPool pool(threads);
    report.expect(pool.threads() == threads, "a pool has the threads it was asked for");
    for (const int count : {0, 1, 2, 7, 64, 1000})
        for (const int grain : {1, 3, 64, 5000}) {
            std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
            std::atomic<bool> sizes_right{true};
            pool.parallel_for(-5, count - 5, grain, [&](int first, int last) {
                if (last - first > grain || first >= last)
                    sizes_right = false;
                for (int i = first; i < last; i++)
                    seen[static_cast<std::size_t>(i + 5)]++;
            });
            bool once = sizes_right;
            for (const auto &n : seen)
                once = once && n == 1;
            report.expect(once, "parallel_for visits every index once, in pieces of the grain");
        }
}

void exceptions_come_through(Report &report, int threads) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; round++) {
        bool caught = false;
        try {
            pool.parallel_for(0, 100, 1, [&](int first, int) {
                if (first == 37)
                    throw std::runtime_error("thirty-seven");
            });
        } catch (const std::runtime_error &error) {
            caught = std::string(error.what()) == "thirty-seven";
        }
        report.expect(caught, "an exception of the body reaches the caller");
    }
    std::atomic<int> count{0};
    pool.parallel_for(0, 100, 1, [&](int, int) { count++; });
    report.expect(count == 100, "the pool works on after an exception");
}

void one_thread_is_inline(Report &report) {
    ThreadPool pool(1);
    bool here = true;
    const auto caller = std::this_thread::get_id();
    pool.parallel_for(0, 10, 2, [&](int, int) { here = here && std::this_thread::get_id() == caller; });
    report.expect(here, "one thread means inline");
}

void loops_may_nest_and_share(Report &report) {
    ThreadPool pool(3);
    std::atomic<int> count{0};
    const auto work = [&] {
        for (int round = 0; round < 40; round++)
            pool.parallel_for(0, 8, 1, [&](int, int) {
                pool.parallel_for(0, 16, 2, [&](int first, int last) { count += last - first; });
            });
    };
    std::thread other(work);
    work();
    other.join();
    report.expect(count == 2 * 40 * 8 * 16, "nested loops from two callers share one pool");
}

} // namespace

void check_thread_pool(Report &report) {
    for (const int threads : {1, 2, 5}) {
        every_index_once(report, threads);
        exceptions_come_through(report, threads);
    }
    one_thread_is_inline(report);
    loops_may_nest_and_share(report);
}

} // namespace clv::pixels::test
