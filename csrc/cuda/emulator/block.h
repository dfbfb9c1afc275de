// SPDX-License-Identifier: BSD-2-Clause
// Runs the blocks of a grid one after the other on the calling thread, each thread of a block as a fiber.
//
// A fiber runs until it waits at a collective. Then another lane of its warp goes on, in an order that the
// seed shuffles; when none can, another warp. So between two collectives a lane, and between two barriers a
// warp, has seen nothing of what comes after it in that order: what lacks a barrier or a __syncwarp() reads
// noise or old values. When nobody can go on the program ends with a sentence that says who waits where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <vector_types.h>

#include "cuda/emulator/device_state.h"

namespace clv::cuda::emulator {

struct Launch {
    const Kernel *kernel = nullptr;
    dim3 grid, block;
    size_t shared_bytes = 0;
    const void *params = nullptr;
};
void run(const Launch &launch);

/// Ends the program, naming the kernel, block and thread that run. For mistakes in kernels.
[[noreturn]] void fail(const std::string &sentence);
/// The same, with where in the source.
[[noreturn]] void fail(const char *what, const char *file, int line, const std::string &sentence);

/// What is done for all lanes at once when the last one arrives; arguments[lane] is null for those that the
/// mask does not name and for those that have ended.
using Operation = void (*)(void *const (&arguments)[32], const char *what, const char *file, int line);

/// Waits until all living lanes of `mask` are here with the same operation, which the last one to come runs.
void collective(const char *what, Operation operation, uint32_t mask, void *arguments, const char *file,
                int line);
/// Fails unless all 32 lanes live: for what the hardware defines for whole warps only.
void need_whole_warp(const char *what, const char *file, int line);

/// Number of the running thread in its block; and of the lane in its warp.
unsigned running_thread();
unsigned running_lane();

/// Whether `bytes` at `p` are dynamic shared memory of the running block.
bool is_shared(const void *p, size_t bytes);

/// Bytes that are everywhere where nothing was written yet: `bytes` of them to `to`.
void make_noise(void *to, size_t bytes);

/// What the environment asks for. CLARIVID_EMULATOR_SEED; 0 keeps everything in order.
uint64_t seed();
/// Whether copies arrive as late as they may (odd seeds) or at once.
bool late_copies();

} // namespace clv::cuda::emulator
