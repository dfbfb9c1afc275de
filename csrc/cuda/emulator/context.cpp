// SPDX-License-Identifier: BSD-2-Clause
#include "cuda/emulator/context.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda/emulator/memory.h"

namespace clv::cuda::emulator {

namespace {

const Kernel *kernels = nullptr;

uint64_t number(const char *name, uint64_t otherwise) {
    const char *text = std::getenv(name);
    return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

DeviceProperties properties() {
    DeviceProperties out;
    const auto sm = static_cast<int>(number("CLARIVID_EMULATOR_SM", 90));
    out.major = sm / 10;
    out.minor = sm % 10;
    // CUDA C++ programming guide, "Technical specifications per compute capability".
    const auto set = [&](int shared_kib, int threads) {
        out.shared_per_multiprocessor = shared_kib * 1024;
        out.shared_per_block = (sm == 75 ? shared_kib : shared_kib - 1) * 1024;
        out.threads_per_multiprocessor = threads;
    };
    if (sm < 80)
        set(64, 1024);
    else if (sm == 80)
        set(164, 2048);
    else if (sm < 90 || sm >= 120)
        set(100, 1536);
    else
        set(228, 2048);
    out.memory = number("CLARIVID_EMULATOR_MEMORY", out.memory);
    return out;
}

/// Writes what happened, for tests: what is still allocated was leaked.
void write_log() {
    const std::string &path = settings().log;
    if (path.empty())
        return;
    std::FILE *file = std::fopen(path.c_str(), "w");
    if (file == nullptr)
        return;
    const World &all = world();
    const Statistics &s = all.statistics;
    size_t bytes = 0;
    for (const auto &[address, block] : all.device_memory)
        bytes += block.bytes;
    const auto put = [&](const char *name, uint64_t value) {
        std::fprintf(file, "  \"%s\": %llu,\n", name, static_cast<unsigned long long>(value));
    };
    std::fprintf(file, "{\n");
    put("copies_to_host", s.copies_to_host);
    put("bytes_to_host", s.bytes_to_host);
    put("copies_to_device", s.copies_to_device);
    put("bytes_to_device", s.bytes_to_device);
    put("copies_on_device", s.copies_on_device);
    put("fills", s.fills);
    put("waits", s.waits);
    put("pageable_waits", s.pageable_waits);
    put("allocations", s.allocations);
    put("graph_launches", s.graph_launches);
    put("peak_bytes", s.peak_bytes);
    put("alive_allocations", all.device_memory.size());
    put("alive_bytes", bytes);
    put("alive_pinned", all.pinned.size());
    put("alive_contexts", all.contexts.size());
    put("alive_streams", all.streams.size() - all.default_streams.size());
    put("alive_events", all.events.size());
    put("alive_modules", all.modules.size());
    put("alive_graphs", all.graphs);
    std::fprintf(file, "  \"kernels\": {");
    const char *comma = "";
    for (const auto &[name, k] : s.kernels) {
        std::fprintf(file,
                     "%s\n    \"%s\": {\"launches\": %llu, \"blocks\": %llu, \"matrix_reads\": %llu, "
                     "\"matrix_passes\": %llu, \"seconds\": %.3f}",
                     comma, name.c_str(), static_cast<unsigned long long>(k.launches),
                     static_cast<unsigned long long>(k.blocks),
                     static_cast<unsigned long long>(k.matrix_reads),
                     static_cast<unsigned long long>(k.matrix_passes), k.seconds);
        comma = ",";
    }
    std::fprintf(file, "\n  }\n}\n");
    std::fclose(file);
}

} // namespace

Kernel::Kernel(const char *name_, Body body_, size_t params_, int threads_, int blocks_, const char *file_)
    : name(name_), body(body_), params(params_), threads(threads_), blocks(blocks_), file(file_),
      next(kernels) {
    if (find_kernel(name) != nullptr) {
        std::fprintf(stderr, "clarivid emulator: two kernels are called %s\n", name);
        std::abort();
    }
    kernels = this;
}

const Kernel *find_kernel(const std::string &name) {
    const Kernel *out = kernels;
    while (out != nullptr && name != out->name)
        out = out->next;
    return out;
}

const Settings &settings() {
    static const Settings value = [] {
        Settings out;
        out.device = properties();
        out.devices = static_cast<int>(number("CLARIVID_EMULATOR_DEVICES", 1));
        out.lazy = number("CLARIVID_EMULATOR_LAZY", 0) != 0;
        if (const char *log = std::getenv("CLARIVID_EMULATOR_LOG"))
            out.log = log;
        return out;
    }();
    return value;
}

World &world() {
    // Never destroyed: others' destructors may still call.
    static World *value = [] {
        auto *out = new World;
        out->primaries.resize(static_cast<size_t>(settings().devices));
        out->used.resize(static_cast<size_t>(settings().devices));
        std::atexit(write_log);
        return out;
    }();
    return *value;
}

std::recursive_mutex &mutex() {
    static auto *value = new std::recursive_mutex;
    return *value;
}

std::vector<CUcontext> &context_stack() {
    thread_local std::vector<CUcontext> value;
    return value;
}

void destroy_context(CUcontext context) {
    World &all = world();
    work_off(context);
    for (auto i = all.device_memory.begin(); i != all.device_memory.end();) {
        if (i->second.context != context) {
            ++i;
            continue;
        }
        all.used[static_cast<size_t>(context->device)] -= i->second.bytes;
        free_device(reinterpret_cast<void *>(i->first)); // NOLINT
        i = all.device_memory.erase(i);
    }
    const auto drop = [&](auto &handles) {
        for (auto i = handles.begin(); i != handles.end();) {
            if ((*i)->context == context) {
                delete *i;
                i = handles.erase(i);
            } else
                ++i;
        }
    };
    drop(all.events);
    drop(all.streams);
    drop(all.modules);
    all.default_streams.erase(context);
    all.contexts.erase(context);
    delete context;
}

CUstream stream_of(CUstream handle) {
    const CUcontext context = context_stack().back();
    World &all = world();
    if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
        CUstream &stream = all.default_streams[context];
        if (stream == nullptr) {
            stream = new CUstream_st;
            stream->context = context;
            all.streams.insert(stream);
        }
        return stream;
    }
    return all.streams.count(handle) != 0 && handle->context == context ? handle : nullptr;
}

bool spoils(CUstream stream) {
    if (stream->recording)
        stream->recording->spoilt = true;
    return stream->recording != nullptr;
}

bool spoils() {
    bool found = false;
    for (const CUstream stream : world().streams)
        if (stream->recording && !stream->recording->relaxed &&
            stream->recording->thread == std::this_thread::get_id())
            found = spoils(stream);
    return found;
}

void enqueue(CUstream stream, std::function<void()> work) {
    World &all = world();
    if (stream->recording) {
        stream->recording->work.push_back(std::move(work));
        return;
    }
    if (!settings().lazy) {
        const DeviceAccess access;
        work();
        stream->enqueued++;
        stream->done++;
        return;
    }
    // The default stream waits for all blocking ones before, and they for it.
    std::vector<std::pair<CUstream, uint64_t>> before;
    const CUstream standard = stream_of(nullptr);
    if (stream == standard) {
        for (const CUstream other : all.streams)
            if (other != stream && other->context == stream->context && other->blocking)
                before.emplace_back(other, other->enqueued);
    } else if (stream->blocking)
        before.emplace_back(standard, standard->enqueued);
    stream->work.push_back([before, work = std::move(work)] {
        for (const auto &[other, position] : before)
            if (world().streams.count(other) != 0)
                work_off(other, position);
        work();
    });
    stream->enqueued++;
}

void work_off(CUstream stream, uint64_t position) {
    while (stream->done < position && !stream->work.empty()) {
        const std::function<void()> work = std::move(stream->work.front());
        stream->work.pop_front();
        stream->done++;
        const DeviceAccess access;
        work();
    }
}

void work_off(CUstream stream) {
    work_off(stream, stream->enqueued);
}

void work_off(CUcontext context) {
    for (const CUstream stream : world().streams)
        if (stream->context == context)
            work_off(stream);
}

} // namespace clv::cuda::emulator
