// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/emulator/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <utility>

#include "cuda/emulator/memory.h"

#ifdef __x86_64__
// void clv_switch_stack(void **save /* rdi */, void *to /* rsi */): what a function must keep goes onto the
// stack, and the stack is changed. swapcontext() does the same with two system calls, which take a hundred
// times as long.
asm(R"(
    .text
    .globl clv_switch_stack
    .hidden clv_switch_stack
    .type clv_switch_stack, @function
clv_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size clv_switch_stack, . - clv_switch_stack
)");
extern "C" void clv_switch_stack(void **save, void *to);
#endif

namespace clv::cuda::emulator {

namespace {
constexpr size_t kStack = 128 * 1024;
}

Fiber::Fiber() = default;

Fiber::~Fiber() {
    release_guarded_pages(stack_, kStack);
}

Fiber::Fiber(Fiber &&other) noexcept
    : stack_(std::exchange(other.stack_, nullptr)),
#ifdef __x86_64__
      top_(std::exchange(other.top_, nullptr))
#else
      context_(std::move(other.context_))
#endif
{
}

#ifdef __x86_64__

void Fiber::start(void (*body)()) {
    if (stack_ == nullptr)
        stack_ = static_cast<unsigned char *>(guarded_pages(kStack));
    // As if body had been called: its return address, of nobody, lies at a multiple of 16 less 8.
    auto *top = reinterpret_cast<uintptr_t *>(stack_ + kStack) - 1;
    *top = 0;
    *--top = reinterpret_cast<uintptr_t>(body);
    for (int i = 0; i < 6; i++)
        *--top = 0;
    top_ = top;
}

void switch_fiber(Fiber &from, Fiber &to) {
    clv_switch_stack(&from.top_, to.top_);
}

#else

void Fiber::start(void (*body)()) {
    if (stack_ == nullptr)
        stack_ = static_cast<unsigned char *>(guarded_pages(kStack));
    if (context_ == nullptr)
        context_ = std::make_unique<ucontext_t>();
    getcontext(context_.get());
    context_->uc_stack.ss_sp = stack_;
    context_->uc_stack.ss_size = kStack;
    context_->uc_link = nullptr;
    makecontext(context_.get(), body, 0);
}

void switch_fiber(Fiber &from, Fiber &to) {
    if (from.context_ == nullptr)
        from.context_ = std::make_unique<ucontext_t>();
    swapcontext(from.context_.get(), to.context_.get());
}

#endif

} // namespace clv::cuda::emulator
