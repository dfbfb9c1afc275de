// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/emulator/block.h"

#include <csignal>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cuda/emulator/collectives.h"
#include "cuda/emulator/fiber.h"
#include "cuda/emulator/memory.h"

namespace clv::cuda::emulator {

State state;

namespace {

constexpr unsigned kWarp = 32;
constexpr int kBarriers = 16;
constexpr size_t kSharedArena = 256 * 1024;
constexpr unsigned char kCanary = 0xC5;

/// Why a fiber does not run.
enum class Wait { nothing, warp, block, ended };

struct Thread {
    Fiber fiber;
    uint3 index{};
    unsigned number = 0; // in the block
    Wait wait = Wait::ended;
    // What it waits at.
    const char *what = nullptr, *file = nullptr;
    int line = 0;
    Operation operation = nullptr;
    uint32_t mask = 0;
    void *arguments = nullptr;
    int barrier = 0, barrier_threads = 0;
};

struct Warp {
    uint32_t alive = 0, waiting = 0; // a bit a lane
    uint32_t ready = 0;              // a bit a place in the order
    uint8_t lane_at[kWarp], place_of[kWarp];
};

struct Barrier {
    unsigned arrived = 0, counted = 0;
    int result = 0;
};

struct Block {
    const Launch *launch = nullptr;
    std::vector<Thread> threads; // never shrinks: their stacks are reused
    std::vector<Warp> warps;
    std::vector<unsigned> order; // of warps
    Barrier barriers[kBarriers];
    unsigned size = 0, alive = 0;
    Thread *running = nullptr;
    Fiber outside;
    std::mt19937_64 random;
    unsigned char *arena = nullptr;
};

/// Only one grid runs at a time (context.h: one lock around the API).
Block block;

Thread &thread_of(unsigned warp, unsigned lane) {
    return block.threads[warp * kWarp + lane];
}
Warp &warp_of(const Thread &thread) {
    return block.warps[thread.number / kWarp];
}
unsigned lane_of(const Thread &thread) {
    return thread.number % kWarp;
}

std::string text(unsigned x, unsigned y, unsigned z) {
    return "(" + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) + ")";
}

std::string place(const char *what, const char *file, int line) {
    return std::string(what) + " (" + file + ":" + std::to_string(line) + ")";
}

void print(const std::string &sentence) {
    std::fflush(stdout);
    std::fprintf(stderr, "clarivid emulator: %s\n", sentence.c_str());
    std::fflush(stderr);
}

std::string who() {
    if (block.launch == nullptr)
        return "";
    std::string out = std::string("kernel ") + block.launch->kernel->name + ", block " +
                      text(state.block.x, state.block.y, state.block.z);
    if (block.running != nullptr)
        out += ", thread " + text(block.running->index.x, block.running->index.y, block.running->index.z);
    return out + ": ";
}

[[noreturn]] void fail_deadlock() {
    std::map<std::string, std::pair<unsigned, uint3>> groups; // where: how many, one of them
    unsigned ended = 0;
    for (unsigned i = 0; i < block.size; i++) {
        const Thread &thread = block.threads[i];
        if (thread.wait == Wait::ended) {
            ended++;
            continue;
        }
        auto &group = groups[place(thread.what, thread.file, thread.line)];
        if (group.first++ == 0)
            group.second = thread.index;
    }
    std::string sentence = "its threads wait for each other for ever:";
    for (const auto &[where, group] : groups)
        sentence += " " + std::to_string(group.first) + " at " + where + ", such as thread " +
                    text(group.second.x, group.second.y, group.second.z) + ";";
    block.running = nullptr;
    fail(sentence + " " + std::to_string(ended) + " have ended");
}

/// The thread that goes on: of the running one's warp if one can, else of the next warp in the order.
Thread *pick() {
    const auto next_of = [](unsigned warp) -> Thread * {
        const uint32_t ready = block.warps[warp].ready;
        return ready == 0 ? nullptr : &thread_of(warp, block.warps[warp].lane_at[__builtin_ctz(ready)]);
    };
    if (block.running != nullptr)
        if (Thread *next = next_of(block.running->number / kWarp))
            return next;
    for (const unsigned warp : block.order)
        if (Thread *next = next_of(warp))
            return next;
    return nullptr;
}

void set_ready(Thread &thread) {
    Warp &warp = warp_of(thread);
    thread.wait = Wait::nothing;
    warp.waiting &= ~(1U << lane_of(thread));
    warp.ready |= 1U << warp.place_of[lane_of(thread)];
}

void set_waiting(Thread &thread, Wait wait) {
    Warp &warp = warp_of(thread);
    thread.wait = wait;
    warp.ready &= ~(1U << warp.place_of[lane_of(thread)]);
    if (wait == Wait::warp)
        warp.waiting |= 1U << lane_of(thread);
}

void go_on_with(Thread &next) {
    Thread *before = block.running;
    if (before == &next)
        return;
    block.running = &next;
    state.thread = next.index;
    switch_fiber(before->fiber, next.fiber);
}

/// Another thread runs until this one can.
void give_way() {
    Thread *next = pick();
    if (next == nullptr)
        fail_deadlock();
    go_on_with(*next);
}

void shuffle_warps() {
    if (seed() != 0)
        std::shuffle(block.order.begin(), block.order.end(), block.random);
}

/// Runs the operation that `thread` waits for if all whom its mask names wait for it too.
bool try_operation(Thread &thread) {
    Warp &warp = warp_of(thread);
    const uint32_t needed = thread.mask & warp.alive;
    if ((needed & ~warp.waiting) != 0)
        return false;
    const unsigned number = thread.number / kWarp;
    void *arguments[kWarp] = {};
    for (uint32_t rest = needed; rest != 0; rest &= rest - 1) {
        const auto lane = static_cast<unsigned>(__builtin_ctz(rest));
        const Thread &other = thread_of(number, lane);
        if (other.operation != thread.operation || other.mask != thread.mask)
            return false;
        arguments[lane] = other.arguments;
    }
    thread.operation(arguments, thread.what, thread.file, thread.line);
    for (uint32_t rest = needed; rest != 0; rest &= rest - 1)
        set_ready(thread_of(number, static_cast<unsigned>(__builtin_ctz(rest))));
    return true;
}

/// Releases the barrier when as many have arrived as it waits for.
bool try_barrier(int id, unsigned needed) {
    Barrier &barrier = block.barriers[id];
    if (barrier.arrived == 0 || barrier.arrived < needed)
        return false;
    barrier.result = static_cast<int>(barrier.counted);
    barrier.arrived = barrier.counted = 0;
    for (unsigned i = 0; i < block.size; i++)
        if (block.threads[i].wait == Wait::block && block.threads[i].barrier == id)
            set_ready(block.threads[i]);
    shuffle_warps();
    return true;
}

int wait_at_barrier(int id, unsigned needed, const char *what, bool predicate, const char *file, int line) {
    Thread &thread = *block.running;
    Barrier &barrier = block.barriers[id];
    if (barrier.arrived > 0)
        for (unsigned i = 0; i < block.size; i++) {
            const Thread &other = block.threads[i];
            if (other.wait != Wait::block || other.barrier != id)
                continue;
            if (std::strcmp(other.what, what) != 0)
                fail(what, file, line, "other threads wait at " + place(other.what, other.file, other.line));
            break; // those that wait agree
        }
    thread.what = what;
    thread.file = file;
    thread.line = line;
    thread.barrier = id;
    thread.barrier_threads = static_cast<int>(needed);
    set_waiting(thread, Wait::block);
    barrier.arrived++;
    barrier.counted += predicate ? 1 : 0;
    if (try_barrier(id, needed)) {
        // Whoever the new order begins with.
        for (const unsigned warp : block.order)
            if (const uint32_t ready = block.warps[warp].ready; ready != 0) {
                go_on_with(thread_of(warp, block.warps[warp].lane_at[__builtin_ctz(ready)]));
                break;
            }
    } else
        give_way();
    return barrier.result;
}

/// Where a fiber begins and ends.
void thread_body() {
    block.launch->kernel->body(block.launch->params);
    Thread &thread = *block.running;
    drop_copies(thread.number);
    Warp &warp = warp_of(thread);
    set_waiting(thread, Wait::ended);
    warp.alive &= ~(1U << lane_of(thread));
    block.alive--;
    // Others may have waited for this one.
    for (unsigned lane = 0; lane < kWarp; lane++)
        if ((warp.waiting >> lane & 1) != 0)
            try_operation(thread_of(thread.number / kWarp, lane));
    if (block.alive == 0) {
        block.running = nullptr;
        switch_fiber(thread.fiber, block.outside);
    }
    try_barrier(0, block.alive);
    give_way();
    std::abort(); // nobody comes back to a thread that ended
}

// --- Blocks. ---

void begin_block(unsigned count) {
    block.size = block.alive = count;
    while (block.threads.size() < count)
        block.threads.emplace_back();
    const unsigned warps = (count + kWarp - 1) / kWarp;
    block.warps.resize(warps);
    block.order.resize(warps);
    std::iota(block.order.begin(), block.order.end(), 0U);
    shuffle_warps();
    const dim3 &dim = block.launch->block;
    for (unsigned w = 0; w < warps; w++) {
        Warp &warp = block.warps[w];
        std::iota(warp.lane_at, warp.lane_at + kWarp, static_cast<uint8_t>(0));
        if (seed() != 0)
            std::shuffle(warp.lane_at, warp.lane_at + kWarp, block.random);
        for (unsigned i = 0; i < kWarp; i++)
            warp.place_of[warp.lane_at[i]] = static_cast<uint8_t>(i);
        warp.alive = warp.waiting = warp.ready = 0;
    }
    for (unsigned i = 0; i < count; i++) {
        Thread &thread = block.threads[i];
        thread.number = i;
        thread.index = {i % dim.x, i / dim.x % dim.y, i / dim.x / dim.y};
        thread.fiber.start(thread_body);
        warp_of(thread).alive |= 1U << lane_of(thread);
        set_ready(thread);
    }
    for (Barrier &barrier : block.barriers)
        barrier = {};
}

size_t rounded_shared() {
    return (block.launch->shared_bytes + 1023) / 1024 * 1024;
}

void place_shared() {
    if (block.arena == nullptr)
        block.arena = static_cast<unsigned char *>(guarded_pages(kSharedArena));
    state.shared = block.arena + kSharedArena - rounded_shared();
}

void fill_shared() {
    make_noise(state.shared, block.launch->shared_bytes);
    std::memset(state.shared + block.launch->shared_bytes, kCanary,
                rounded_shared() - block.launch->shared_bytes);
}

void check_shared() {
    const unsigned char *end = state.shared + rounded_shared();
    const unsigned char *bad =
        std::find_if(state.shared + block.launch->shared_bytes, const_cast<unsigned char *>(end),
                     [](unsigned char byte) { return byte != kCanary; });
    if (bad != end) {
        block.running = nullptr;
        fail("something was written " + std::to_string(bad - state.shared) +
             " bytes into the shared memory, of which the launch asked for " +
             std::to_string(block.launch->shared_bytes));
    }
}

// --- Accesses outside of everything. ---

struct sigaction old_segv, old_bus;

void on_fault(int signal, siginfo_t *info, void *) {
    // Not safe in a handler in general; the fault is in a kernel, which holds no lock of the C library's.
    std::string sentence = who();
    const auto *address = static_cast<const unsigned char *>(info->si_addr);
    char number[32];
    std::snprintf(number, sizeof number, "%p", info->si_addr);
    if (block.launch != nullptr && address >= block.arena - 4096 &&
        address < block.arena + kSharedArena + 4096)
        sentence += "an access " + std::to_string(address - state.shared) +
                    " bytes into the shared memory, of which the launch asked for " +
                    std::to_string(block.launch->shared_bytes);
    else if (address == nullptr)
        sentence += "an access through a null pointer, or to an address that is not aligned to the size of "
                    "what is read or written";
    else
        sentence += std::string("an access to ") + number + describe_address(address);
    print(sentence);
    sigaction(SIGSEGV, &old_segv, nullptr);
    sigaction(SIGBUS, &old_bus, nullptr);
    if (signal == SIGSEGV && old_segv.sa_handler == SIG_IGN)
        std::abort();
}

class FaultHandler {
public:
    FaultHandler() {
        static unsigned char stack[64 * 1024];
        stack_t alternate{};
        alternate.ss_sp = stack;
        alternate.ss_size = sizeof stack;
        sigaltstack(&alternate, &old_stack_);
        struct sigaction action {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &old_segv);
        sigaction(SIGBUS, &action, &old_bus);
    }
    ~FaultHandler() {
        sigaction(SIGSEGV, &old_segv, nullptr);
        sigaction(SIGBUS, &old_bus, nullptr);
        sigaltstack(&old_stack_, nullptr);
    }
    FaultHandler(const FaultHandler &) = delete;
    FaultHandler &operator=(const FaultHandler &) = delete;

private:
    stack_t old_stack_{};
};

} // namespace

void fail(const std::string &sentence) {
    print(who() + sentence);
    std::abort();
}

void fail(const char *what, const char *file, int line, const std::string &sentence) {
    fail(place(what, file, line) + ": " + sentence);
}

uint64_t seed() {
    static const uint64_t value = [] {
        const char *text = std::getenv("CLARIVID_EMULATOR_SEED");
        return text != nullptr ? std::strtoull(text, nullptr, 10) : 1ULL;
    }();
    return value;
}

bool late_copies() {
    return seed() % 2 == 1;
}

unsigned running_thread() {
    return block.running->number;
}
unsigned running_lane() {
    return lane_of(*block.running);
}

bool is_shared(const void *p, size_t bytes) {
    const auto *first = static_cast<const unsigned char *>(p);
    return first >= state.shared && first + bytes <= state.shared + block.launch->shared_bytes;
}

void make_noise(void *to, size_t bytes) {
    // Odd seeds: any bits. Even ones: NaN in every floating-point type, -1 in integers.
    if (!late_copies()) {
        std::memset(to, 0xFF, bytes);
        return;
    }
    static const std::vector<uint64_t> noise = [] {
        std::mt19937_64 random(seed());
        std::vector<uint64_t> out(8192);
        for (uint64_t &word : out)
            word = random();
        return out;
    }();
    static size_t turn = 0;
    auto *out = static_cast<unsigned char *>(to);
    const size_t whole = noise.size() * sizeof noise[0];
    for (size_t done = 0; done < bytes;) {
        const size_t from = turn++ * 4104 % (whole / 2);
        const size_t part = std::min(bytes - done, whole - from);
        std::memcpy(out + done, reinterpret_cast<const unsigned char *>(noise.data()) + from, part);
        done += part;
    }
}

void collective(const char *what, Operation operation, uint32_t mask, void *arguments, const char *file,
                int line) {
    Thread &thread = *block.running;
    if ((mask >> lane_of(thread) & 1) == 0)
        fail(what, file, line, "the mask does not name the lane that calls");
    thread.what = what;
    thread.file = file;
    thread.line = line;
    thread.operation = operation;
    thread.mask = mask;
    thread.arguments = arguments;
    set_waiting(thread, Wait::warp);
    // The last one to come runs the operation and goes on at once.
    if (!try_operation(thread))
        give_way();
}

void need_whole_warp(const char *what, const char *file, int line) {
    if (warp_of(*block.running).alive != 0xffffffff)
        fail(what, file, line, "it is for 32 lanes, and some of this warp's have ended or never were");
}

int barrier(const char *what, bool predicate, const char *file, int line) {
    return wait_at_barrier(0, block.alive, what, predicate, file, line);
}

void named_barrier(int id, int threads, const char *file, int line) {
    if (id < 1 || id >= kBarriers || threads < 1 || threads % static_cast<int>(kWarp) != 0)
        fail("named_barrier", file, line,
             "barrier " + std::to_string(id) + " for " + std::to_string(threads) +
                 " threads; there are 1 to 15, for whole warps");
    wait_at_barrier(id, static_cast<unsigned>(threads), "named_barrier", false, file, line);
}

void run(const Launch &launch) {
    const FaultHandler handler;
    block.launch = &launch;
    block.random.seed(seed());
    state.block_dim = launch.block;
    state.grid_dim = launch.grid;
    place_shared();
    const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
    const uint64_t blocks = static_cast<uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
    std::vector<uint32_t> order(blocks);
    std::iota(order.begin(), order.end(), 0U);
    if (seed() != 0)
        std::shuffle(order.begin(), order.end(), block.random);
    for (const uint32_t number : order) {
        state.block = {number % launch.grid.x, number / launch.grid.x % launch.grid.y,
                       number / launch.grid.x / launch.grid.y};
        begin_block(threads);
        fill_shared();
        block.running = nullptr;
        Thread *first = pick();
        block.running = first;
        state.thread = first->index;
        switch_fiber(block.outside, first->fiber);
        check_shared();
    }
    block.launch = nullptr;
}

} // namespace clv::cuda::emulator
