// SPDX-License-Identifier: BSD-2-Clause
// Counts promises kept and broken.
#pragma once

#include <cstdio>
#include <exception>
#include <string>

#include "core/error.h"

namespace clv::cuda::test {

class Report {
public:
    void expect(bool good, const std::string &what) {
        checked_++;
        if (good)
            return;
        broken_++;
        std::fprintf(stderr, "broken: %s\n", what.c_str());
    }
    void contains(const std::string &text, const std::string &part) {
        expect(text.find(part) != std::string::npos, "\"" + text + "\" says \"" + part + "\"");
    }
    /// The sentence of the error that `call` throws, which must be of that status.
    template <class Call>
    std::string throws(clv_status status, const Call &call) {
        try {
            call();
        } catch (const Error &error) {
            expect(error.status() == status,
                   std::string(error.what()) + " has status " + std::to_string(error.status()));
            return error.what();
        }
        expect(false, "an error of status " + std::to_string(status) + " is thrown");
        return "";
    }
    /// What main() returns.
    int result(const char *program) const {
        std::printf("%s: %d promises, %d broken\n", program, checked_, broken_);
        return broken_ == 0 ? 0 : 1;
    }

private:
    int checked_ = 0, broken_ = 0;
};

} // namespace clv::cuda::test
