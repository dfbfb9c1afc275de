// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/emulator/collectives.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include <cuda_fp16.h>

#include "cuda/emulator/block.h"
#include "cuda/emulator/device.h"

namespace clv::cuda::emulator {

namespace {

constexpr uint32_t kAll = 0xffffffff;

// --- Values between lanes. ---

struct ShuffleArguments {
    uint32_t value;
    int from; // lane
    uint32_t out;
};

void do_shuffle(void *const (&arguments)[32], const char *, const char *, int) {
    for (void *one : arguments)
        if (one != nullptr) {
            auto &own = *static_cast<ShuffleArguments *>(one);
            // A lane that takes no part has nothing to give.
            const auto *other = static_cast<const ShuffleArguments *>(arguments[own.from]);
            own.out = other != nullptr ? other->value : 0xffbadbad;
        }
}

/// PTX ISA, shfl.sync: a lane whose source would lie outside of its part of the warp keeps its own value.
int source_lane(Shuffle kind, int lane, int operand, int width) {
    const int first = lane & ~(width - 1), last = first + width - 1;
    const auto within = [=](int from) { return from < first || from > last ? lane : from; };
    switch (kind) {
    case Shuffle::index:
        return first + (operand & (width - 1));
    case Shuffle::up:
        return within(lane - operand);
    case Shuffle::down:
        return within(lane + operand);
    case Shuffle::exclusive_or:
        return (lane ^ operand) > last ? lane : lane ^ operand; // from parts before its own, too
    }
    return lane;
}

struct BallotArguments {
    bool predicate;
    uint32_t out;
};

void do_ballot(void *const (&arguments)[32], const char *, const char *, int) {
    uint32_t votes = 0;
    for (int lane = 0; lane < 32; lane++)
        if (arguments[lane] != nullptr && static_cast<const BallotArguments *>(arguments[lane])->predicate)
            votes |= 1U << lane;
    for (void *one : arguments)
        if (one != nullptr)
            static_cast<BallotArguments *>(one)->out = votes;
}

void do_nothing(void *const (&)[32], const char *, const char *, int) {}

// --- Matrices. PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type", and ldmatrix. ---

BankStatistics banks;

struct LoadArguments {
    uint32_t *r;
    const void *row;
    int count;
    bool transposed;
};

void do_load(void *const (&arguments)[32], const char *what, const char *file, int line) {
    const auto *lanes = reinterpret_cast<const LoadArguments *const *>(&arguments[0]);
    const int count = lanes[0]->count;
    const bool transposed = lanes[0]->transposed;
    for (int i = 0; i < count; i++) {
        uint16_t matrix[8][8];
        unsigned rows_of_bank[8] = {};
        for (int j = 0; j < 8; j++) {
            const void *row = lanes[8 * i + j]->row;
            if (!is_shared(row, 16) || reinterpret_cast<uintptr_t>(row) % 16 != 0)
                fail(what, file, line,
                     "lane " + std::to_string(8 * i + j) + " gives " +
                         (is_shared(row, 16)
                              ? "an address that is no multiple of 16"
                              : "an address outside of the shared memory that the launch asked for"));
            std::memcpy(matrix[j], row, 16);
            bool again = false; // two lanes at one address are served at once
            for (int other = 0; other < j; other++)
                again = again || lanes[8 * i + other]->row == row;
            if (!again)
                rows_of_bank[reinterpret_cast<uintptr_t>(row) / 16 % 8]++;
        }
        banks.reads++;
        banks.passes += *std::max_element(rows_of_bank, std::end(rows_of_bank));
        for (int lane = 0; lane < 32; lane++) {
            const int g = lane / 4, t = lane % 4;
            const uint16_t low = transposed ? matrix[2 * t][g] : matrix[g][2 * t];
            const uint16_t high = transposed ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
            lanes[lane]->r[i] = static_cast<uint32_t>(high) << 16 | low;
        }
    }
}

const float *half_table() {
    static const std::vector<float> table = [] {
        std::vector<float> out(65536);
        for (uint32_t i = 0; i < 65536; i++) {
            __half_raw raw;
            raw.x = static_cast<unsigned short>(i);
            out[i] = __half2float(__half(raw));
        }
        return out;
    }();
    return table.data();
}

struct MultiplyArguments {
    float *d;
    const uint32_t *a, *b;
};

/// Products are exact; their sum is rounded once, when it is added. Tensor cores cut off bits in between:
/// results differ in the last bits.
template <int depth>
void do_multiply(void *const (&arguments)[32], const char *, const char *, int) {
    static const float *table = half_table();
    const auto *lanes = reinterpret_cast<const MultiplyArguments *const *>(&arguments[0]);
    float a[16][depth], b[depth][8];
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int k = 0; k < depth / 8; k++) { // left and right half of A, upper and lower of B
            for (int half = 0; half < 2; half++) {
                const uint32_t pair = lanes[lane]->a[2 * k + half];
                a[g + 8 * half][8 * k + 2 * t] = table[pair & 0xffff];
                a[g + 8 * half][8 * k + 2 * t + 1] = table[pair >> 16];
            }
            const uint32_t pair = lanes[lane]->b[k];
            b[8 * k + 2 * t][g] = table[pair & 0xffff];
            b[8 * k + 2 * t + 1][g] = table[pair >> 16];
        }
    }
    double sums[16][8] = {};
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < depth; k++)
            for (int column = 0; column < 8; column++)
                sums[row][column] += static_cast<double>(a[row][k]) * static_cast<double>(b[k][column]);
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        float *d = lanes[lane]->d;
        for (int i = 0; i < 4; i++)
            d[i] = static_cast<float>(static_cast<double>(d[i]) + sums[g + 8 * (i / 2)][2 * t + i % 2]);
    }
}

// --- Copies. ---

struct Copy {
    void *to;
    unsigned char bytes[16];
    int count;
    uint64_t group;
};

struct Copies {
    std::vector<Copy> pending; // in order
    uint64_t group = 0;        // the one that the next copy belongs to
};
std::vector<Copies> copies_of_thread;

Copies &own_copies() {
    const unsigned thread = running_thread();
    if (copies_of_thread.size() <= thread)
        copies_of_thread.resize(thread + 1);
    return copies_of_thread[thread];
}

} // namespace

uint32_t shuffle(const char *what, Shuffle kind, uint32_t mask, uint32_t value, int operand, int width,
                 const char *file, int line) {
    if (width < 1 || width > 32 || (width & (width - 1)) != 0)
        fail(what, file, line, "width " + std::to_string(width) + " is no power of two up to 32");
    ShuffleArguments arguments{value,
                               source_lane(kind, static_cast<int>(running_lane()), operand & 31, width), 0};
    collective(what, do_shuffle, mask, &arguments, file, line);
    return arguments.out;
}

uint32_t ballot(const char *what, uint32_t mask, bool predicate, const char *file, int line) {
    BallotArguments arguments{predicate, 0};
    collective(what, do_ballot, mask, &arguments, file, line);
    return arguments.out;
}

void warp_barrier(uint32_t mask, const char *file, int line) {
    collective("__syncwarp", do_nothing, mask, nullptr, file, line);
}

void load_matrices(const char *what, uint32_t *r, const void *row, int count, bool transposed,
                   const char *file, int line) {
    need_whole_warp(what, file, line);
    LoadArguments arguments{r, row, count, transposed};
    collective(what, do_load, kAll, &arguments, file, line);
}

void multiply(const char *what, float *d, const uint32_t *a, const uint32_t *b, int depth, const char *file,
              int line) {
    need_whole_warp(what, file, line);
    MultiplyArguments arguments{d, a, b};
    collective(what, depth == 16 ? do_multiply<16> : do_multiply<8>, kAll, &arguments, file, line);
}

void copy_async(const char *what, void *shared, const void *global, int bytes, bool valid, const char *file,
                int line) {
    const auto size = static_cast<size_t>(bytes);
    if (!is_shared(shared, size) || reinterpret_cast<uintptr_t>(shared) % size != 0)
        fail(what, file, line, "it writes to an address that is not in the shared memory or not aligned");
    if (valid && reinterpret_cast<uintptr_t>(global) % size != 0)
        fail(what, file, line, "it reads from an address that is not aligned");
    Copy copy{shared, {}, bytes, own_copies().group};
    if (valid)
        std::memcpy(copy.bytes, global, size);
    if (late_copies())
        own_copies().pending.push_back(copy);
    else
        std::memcpy(shared, copy.bytes, size);
}

void copy_commit() {
    own_copies().group++;
}

void copy_wait(int groups) {
    Copies &own = own_copies();
    // The newest `groups` committed ones, and what is not committed yet, may stay away.
    size_t done = 0;
    for (; done < own.pending.size() && own.pending[done].group + static_cast<uint64_t>(groups) < own.group;
         done++)
        std::memcpy(own.pending[done].to, own.pending[done].bytes,
                    static_cast<size_t>(own.pending[done].count));
    own.pending.erase(own.pending.begin(), own.pending.begin() + static_cast<std::ptrdiff_t>(done));
}

void drop_copies(unsigned thread) {
    if (thread < copies_of_thread.size())
        copies_of_thread[thread] = {};
}

BankStatistics take_bank_statistics() {
    const BankStatistics out = banks;
    banks = {};
    return out;
}

} // namespace clv::cuda::emulator
