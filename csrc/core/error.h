// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stdexcept>
#include <string>

#include "clarivid/clarivid.h"

namespace clv {

/// A failure with the status that the C ABI returns and the sentence that clv_last_error() gives.
/// The sentence names what failed, with which value, and what to do.
class Error : public std::runtime_error {
public:
    Error(clv_status status, const std::string &sentence) : std::runtime_error(sentence), status_(status) {}
    clv_status status() const noexcept { return status_; }

private:
    clv_status status_;
};

} // namespace clv
