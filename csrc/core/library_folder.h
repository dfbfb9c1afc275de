// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <filesystem>

namespace clv {

/// The folder that holds libclarivid.so, however the process loaded it. Throws Error(CLV_ERR_INTERNAL).
std::filesystem::path library_folder();

} // namespace clv
