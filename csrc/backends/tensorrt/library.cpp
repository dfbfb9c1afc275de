// SPDX-License-Identifier: BSD-2-Clause
#include "backends/tensorrt/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <optional>
#include <vector>

#include "core/error.h"

namespace clv::tensorrt {
namespace {

constexpr int kMajor = NV_TENSORRT_MAJOR;

/// 0 where the function is missing.
int number(void *handle, const char *symbol) {
    using Function = int32_t (*)() noexcept;
    const auto function = reinterpret_cast<Function>(dlsym(handle, symbol)); // NOLINT
    return function ? function() : 0;
}

Library load() {
    const std::string major = std::to_string(kMajor);
    std::vector<std::string> names;
    if (const char *named = std::getenv("CLARIVID_NVINFER"); named && *named)
        names.emplace_back(named);
    else
        names = {"libnvinfer.so." + major, "libnvinfer_lean.so." + major};
    std::string reasons;
    for (const std::string &name : names) {
        void *handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!handle) {
            const char *reason = dlerror();
            reasons += (reasons.empty() ? "" : "; ") + std::string(reason ? reason : name);
            continue;
        }
        Library found;
        found.path = name;
        // 10.14.1 is 101401.
        const int version = number(handle, "getInferLibVersion");
        const int found_major = version / 10000;
        if (found_major != kMajor)
            throw Error(CLV_ERR_BACKEND, name + " is TensorRT " + std::to_string(found_major) +
                                             ", this build of clarivid runs TensorRT " + major +
                                             ": install that, or point CLARIVID_NVINFER at it");
        found.version = std::to_string(found_major) + "." + std::to_string(version / 100 % 100) + "." +
                        std::to_string(version % 100);
        if (const int build = number(handle, "getInferLibBuildVersion"))
            found.version += "." + std::to_string(build);
        found.lean = name.find("nvinfer_lean") != std::string::npos;
        found.create_runtime = reinterpret_cast<decltype(found.create_runtime)>( // NOLINT
            dlsym(handle, "createInferRuntime_INTERNAL"));
        if (!found.create_runtime)
            throw Error(CLV_ERR_BACKEND,
                        name + " has no createInferRuntime_INTERNAL: it is no TensorRT runtime");
        return found;
    }
    throw Error(CLV_ERR_BACKEND,
                "TensorRT " + major + " was not found (" + reasons + "): install NVIDIA's libnvinfer" +
                    major +
                    ", set CLARIVID_NVINFER to its path, or use backend=cuda for clarivid's own "
                    "nets");
}

} // namespace

const Library &library() {
    static std::mutex mutex;
    static std::optional<Library> loaded;
    const std::lock_guard lock(mutex);
    if (!loaded)
        loaded = load(); // a failure is tried again at the next call
    return *loaded;
}

} // namespace clv::tensorrt
