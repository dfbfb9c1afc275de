// SPDX-License-Identifier: BSD-2-Clause
// A stack of its own to run on.
#pragma once

#include <memory>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace clv::cuda::emulator {

class Fiber {
public:
    Fiber();
    ~Fiber();
    Fiber(Fiber &&other) noexcept;
    Fiber &operator=(Fiber &&) = delete;
    /// The next switch to it runs `body`, which must not return. Whatever ran on it is forgotten.
    void start(void (*body)());

private:
    friend void switch_fiber(Fiber &from, Fiber &to);
    unsigned char *stack_ = nullptr; // null until start(): a thread's own stack
#ifdef __x86_64__
    void *top_ = nullptr;
#else
    std::unique_ptr<ucontext_t> context_;
#endif
};

/// Goes on with `to`; returns when something switches back to `from`.
void switch_fiber(Fiber &from, Fiber &to);

} // namespace clv::cuda::emulator
