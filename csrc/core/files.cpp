// SPDX-License-Identifier: BSD-2-Clause
#include "core/files.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "core/error.h"

namespace clv {

std::vector<std::byte> read_file(const std::filesystem::path &path) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
    if (!file) {
        const int error = errno;
        throw Error(error == ENOENT ? CLV_ERR_NOT_FOUND : CLV_ERR_IO,
                    "cannot open " + path.string() + ": " + std::strerror(error));
    }
    std::vector<std::byte> bytes;
    size_t used = 0;
    for (;;) {
        bytes.resize(used + (size_t{1} << 20));
        const size_t got = std::fread(bytes.data() + used, 1, bytes.size() - used, file.get());
        used += got;
        if (got == 0)
            break;
    }
    if (std::ferror(file.get()))
        throw Error(CLV_ERR_IO, "cannot read " + path.string() + ": " + std::strerror(errno));
    bytes.resize(used);
    return bytes;
}

std::vector<std::filesystem::path> folders_from_environment(const char *variable) {
    std::vector<std::filesystem::path> folders;
    const char *value = std::getenv(variable); // NOLINT(concurrency-mt-unsafe): read only
    std::string rest = value ? value : "";
    while (!rest.empty()) {
        const size_t colon = rest.find(':');
        if (colon != 0)
            folders.emplace_back(rest.substr(0, colon));
        rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
    }
    return folders;
}

} // namespace clv
