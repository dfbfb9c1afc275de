// SPDX-License-Identifier: BSD-2-Clause
#include "core/library_folder.h"

#include <dlfcn.h>
#include <system_error>

#include "clarivid/clarivid.h"
#include "core/error.h"

namespace clv {

std::filesystem::path library_folder() {
    Dl_info info = {};
    if (!dladdr(reinterpret_cast<const void *>(&clv_version), &info) || !info.dli_fname)
        throw Error(CLV_ERR_INTERNAL, "the loader does not know where libclarivid.so lies");
    std::error_code ignored;
    const auto real = std::filesystem::canonical(info.dli_fname, ignored);
    return (real.empty() ? std::filesystem::path(info.dli_fname) : real).parent_path();
}

} // namespace clv
