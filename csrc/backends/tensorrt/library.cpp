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
/// IExecutionContext::setDeviceMemoryV2() is of 10.1; later functions are called where the library has them.
constexpr int kOldest = kMajor * 10000 + 100;

/// 0 where the function is missing.
int number(void *handle, const char *symbol) {
    using Function = int32_t (*)() noexcept;
    const auto function = reinterpret_cast<Function>(dlsym(handle, symbol)); // NOLINT
    return function ? function() : 0;
}

/// "10.14.1" of 101401.
std::string dotted(int version) {
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
}

/// ", but TensorRT 11 is there", or "": what is installed instead of the release that is wanted.
std::string other_releases() {
    std::string text;
    for (const int major : {kMajor + 1, kMajor - 2}) { // there is no TensorRT 9 for servers
        const std::string name = "libnvinfer.so." + std::to_string(major);
        if (void *handle = dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) {
            text += ", but " + name + " is there, TensorRT " + dotted(number(handle, "getInferLibVersion"));
            dlclose(handle);
        }
    }
    return text;
}

/// Refuses what this build cannot call.
void check_release(const std::string &name, int version) {
    const std::string major = std::to_string(kMajor);
    if (version == 0)
        throw Error(CLV_ERR_BACKEND, name +
                                         " is no TensorRT (it has no getInferLibVersion): point "
                                         "CLARIVID_NVINFER at libnvinfer.so." +
                                         major);
    if (name.find("tensorrt_rtx") != std::string::npos || version / 10000 < 2)
        throw Error(CLV_ERR_BACKEND,
                    name + " is TensorRT for RTX " + dotted(version) +
                        ", another library with engines of its own; this build of clarivid runs TensorRT " +
                        major + ": install that, or use backend=cuda for clarivid's own nets");
    if (version / 10000 != kMajor)
        throw Error(CLV_ERR_BACKEND, name + " is TensorRT " + dotted(version) +
                                         ", this build of clarivid runs TensorRT " + major +
                                         ": install that, or point CLARIVID_NVINFER at it");
    if (version < kOldest)
        throw Error(CLV_ERR_BACKEND, name + " is TensorRT " + dotted(version) + ", clarivid needs " +
                                         dotted(kOldest) + " or a later " + major + ": install that");
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
        const int version = found.number = number(handle, "getInferLibVersion");
        check_release(name, version);
        found.version = dotted(version);
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
                "TensorRT " + major + " was not found (" + reasons + ")" + other_releases() +
                    ": install NVIDIA's libnvinfer" + major +
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
