// SPDX-License-Identifier: BSD-2-Clause
// What the handles of the driver API stand for. One lock (mutex()) guards all of it and the running grid.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <cuda.h>

#include "cuda/emulator/device_state.h"

// The names that cuda.h declares without saying what they are.
struct CUctx_st {
    CUdevice device = 0;
    bool primary = false;
    int users = 0; // of a primary one
    unsigned flags = 0;
};

namespace clv::cuda::emulator {

/// Between cuStreamBeginCapture() and cuStreamEndCapture().
struct Recording {
    std::vector<std::function<void()>> work;
    std::thread::id thread;
    bool relaxed = false; // the thread may allocate
    bool spoilt = false;
};

} // namespace clv::cuda::emulator

struct CUgraph_st {
    std::vector<std::function<void()>> work;
};

struct CUgraphExec_st {
    CUcontext context = nullptr;
    std::vector<std::function<void()>> work;
};

struct CUstream_st {
    CUcontext context = nullptr;
    bool blocking = true; // waits for the context's default stream, and that for it
    std::deque<std::function<void()>> work;
    uint64_t enqueued = 0, done = 0;
    std::unique_ptr<clv::cuda::emulator::Recording> recording; // null but while it is recorded
};

struct CUevent_st {
    CUcontext context = nullptr;
    bool timing = true;
    CUstream stream = nullptr; // of the last record; null when there was none or the stream is gone
    uint64_t position = 0;     // in it
    std::chrono::steady_clock::time_point time;
};

struct CUfunc_st {
    CUmodule module = nullptr;
    const clv::cuda::emulator::Kernel *kernel = nullptr;
    size_t shared_limit = 48 * 1024;
};

struct CUmod_st {
    CUcontext context = nullptr;
    std::string image; // the source's name; empty when the image does not tell
    std::map<std::string, CUfunc_st> functions;
};

namespace clv::cuda::emulator {

struct DeviceProperties {
    int major = 9, minor = 0;
    int multiprocessors = 8;
    int shared_per_block = 227 * 1024, shared_per_multiprocessor = 228 * 1024; // bytes
    int threads_per_multiprocessor = 2048;
    int l2_bytes = 32 << 20;
    size_t memory = size_t{2} << 30;
};

/// What the environment asks for, read once.
struct Settings {
    DeviceProperties device;
    int devices = 1;
    bool lazy = false; // streams do their work when somebody waits for it, not at once
    std::string log;
};
const Settings &settings();

struct Block {
    CUcontext context = nullptr;
    size_t bytes = 0;
};

/// Counts for the log.
struct Statistics {
    uint64_t copies_to_host = 0, bytes_to_host = 0, copies_to_device = 0, bytes_to_device = 0;
    uint64_t copies_on_device = 0, fills = 0;
    uint64_t waits = 0;          // cuStreamSynchronize and its like
    uint64_t pageable_waits = 0; // copies to the host's pageable memory, which wait too
    uint64_t allocations = 0;    // calls
    uint64_t graph_launches = 0;
    size_t peak_bytes = 0; // of a device
    struct Kernel {
        uint64_t launches = 0, blocks = 0, matrix_reads = 0, matrix_passes = 0;
        double seconds = 0;
    };
    std::map<std::string, Kernel> kernels;
};

struct World {
    bool initialised = false; // cuInit()
    std::set<CUcontext> contexts;
    std::vector<CUcontext> primaries; // one a device; null where there is none
    std::set<CUstream> streams;
    std::map<CUcontext, CUstream> default_streams;
    std::set<CUevent> events;
    std::set<CUmodule> modules;
    uint64_t graphs = 0; // alive, recorded and made ready
    std::map<CUdeviceptr, Block> device_memory;
    std::map<const unsigned char *, size_t> pinned;
    std::vector<size_t> used; // bytes of each device
    Statistics statistics;
};
World &world();
std::recursive_mutex &mutex();

/// Contexts that this thread pushed; the last one is current.
std::vector<CUcontext> &context_stack();

/// Frees all that belongs to it.
void destroy_context(CUcontext context);

/// The stream that a handle of the API means in the current context; null when it means none of them.
CUstream stream_of(CUstream handle);
/// Whether the stream is recorded, which what cannot be recorded spoils.
bool spoils(CUstream stream);
/// Whether this thread records, and may not allocate meanwhile, which spoils the recording.
bool spoils();
void enqueue(CUstream stream, std::function<void()> work);
/// Does the stream's work up to `position`.
void work_off(CUstream stream, uint64_t position);
void work_off(CUstream stream);
void work_off(CUcontext context);

/// The kernel of that name; null when there is none.
const Kernel *find_kernel(const std::string &name);

} // namespace clv::cuda::emulator
