// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace clv {

/// The whole file. Throws Error: CLV_ERR_NOT_FOUND, CLV_ERR_IO.
std::vector<std::byte> read_file(const std::filesystem::path &path);

/// The folders of a ':'-separated environment variable, empty ones left out; none when it is not set.
std::vector<std::filesystem::path> folders_from_environment(const char *variable);

} // namespace clv
