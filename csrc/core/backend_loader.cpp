// SPDX-License-Identifier: BSD-2-Clause
#include "core/backend_loader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <dlfcn.h>
#include <filesystem>
#include <optional>
#include <string_view>
#include <type_traits>

#include "core/files.h"
#include "core/library_folder.h"

namespace clv {
namespace {

namespace fs = std::filesystem;

struct KnownBackend {
    std::string_view name;
    std::string_view remedy; ///< when its library is not there
};

// Every backend of the design, so that a missing one is told from a misspelt one.
constexpr std::array kBackends = {
    KnownBackend{"openvino", "build clarivid with OpenVINO (pip install openvino, then build again)"},
    KnownBackend{"cpu", "install libclarivid_cpu.so beside libclarivid.so"},
    KnownBackend{"dummy", "install libclarivid_dummy.so beside libclarivid.so"},
    KnownBackend{"tensorrt", "this build of clarivid has no TensorRT backend; on software frames use "
                             "backend=openvino"},
    KnownBackend{"cuda", "this build of clarivid has no CUDA backend (-DCLARIVID_CUDA=ON builds it); on "
                         "software frames use backend=openvino"}};

std::string known_names() {
    std::string names;
    for (const auto &known : kBackends)
        names += (names.empty() ? "" : ", ") + std::string(known.name);
    return names;
}

bool is_plain_name(const std::string &name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::islower(c) || std::isdigit(c) || c == '_';
    });
}

std::string file_of(const std::string &name) {
    return "libclarivid_" + name + ".so";
}

std::optional<fs::path> find_library(const std::string &name) {
    if (!is_plain_name(name))
        return std::nullopt;
    auto folders = folders_from_environment("CLARIVID_BACKEND_PATH");
    // Debian's packages keep what nobody links with in a folder of its own.
    folders.push_back(library_folder() / "clarivid");
    folders.push_back(library_folder());
    std::error_code ignored;
    for (const auto &folder : folders)
        if (fs::exists(folder / file_of(name), ignored))
            return folder / file_of(name);
    return std::nullopt;
}

} // namespace

bool has_backend(const std::string &name) {
    return find_library(name).has_value();
}

namespace {

/// What `symbol` of backend `name` makes.
template <class Create>
auto create_from(const std::string &name, const char *symbol) {
    const auto found = find_library(name);
    if (!found) {
        const auto known = std::find_if(kBackends.begin(), kBackends.end(),
                                        [&](const KnownBackend &backend) { return backend.name == name; });
        if (known == kBackends.end())
            throw Error(CLV_ERR_NOT_FOUND,
                        "backend \"" + name + "\" is unknown: it is one of auto, " + known_names());
        throw Error(CLV_ERR_BACKEND, "backend " + name + " is not installed (no " + file_of(name) + " in " +
                                         library_folder().string() + "): " + std::string(known->remedy));
    }

    const fs::path &path = *found;
    void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        const char *why = dlerror(); // NOLINT(concurrency-mt-unsafe): glibc keeps it per thread
        throw Error(CLV_ERR_BACKEND, "backend " + name +
                                         " cannot be loaded, its runtime is missing or does not fit: " +
                                         (why ? why : path.string()));
    }
    const auto create = reinterpret_cast<Create>(dlsym(library, symbol));
    if (!create)
        throw Error(CLV_ERR_BACKEND,
                    path.string() + " is no clarivid backend: remove it from CLARIVID_BACKEND_PATH");
    std::unique_ptr<std::remove_pointer_t<std::invoke_result_t<Create, uint32_t>>> made(create(kBackendAbi));
    if (!made)
        throw Error(CLV_ERR_BACKEND,
                    path.string() + " belongs to another release of clarivid: install both from one build");
    return made;
}

} // namespace

std::unique_ptr<Backend> load_backend(const std::string &name) {
    return create_from<decltype(&clarivid_backend_create)>(name, "clarivid_backend_create");
}

std::unique_ptr<CudaServices> load_cuda_services() {
    return create_from<decltype(&clarivid_cuda_services_create)>("cuda", "clarivid_cuda_services_create");
}

} // namespace clv
