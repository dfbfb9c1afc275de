// SPDX-License-Identifier: BSD-2-Clause
// What kernels and the runtime share.
#pragma once

#include <cstddef>

#include <vector_types.h>

namespace clv::cuda::emulator {

/// Where the running thread is. One grid runs at a time, whatever the host's threads do.
struct State {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
    unsigned char *shared;
};
extern State state;

using Body = void (*)(const void *params);

/// A kernel; the constructor puts it on the list that cuModuleGetFunction() looks through.
struct Kernel {
    Kernel(const char *name, Body body, size_t params, int threads, int blocks, const char *file);
    const char *name;
    Body body;
    size_t params; ///< bytes
    int threads;   ///< of a block at most
    int blocks;    ///< of a multiprocessor that it is meant for
    const char *file;
    const Kernel *next;
};

} // namespace clv::cuda::emulator
