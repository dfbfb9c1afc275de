// SPDX-License-Identifier: BSD-2-Clause
// What every object of the C ABI asks of its arguments, and how sentences show values.
#pragma once

#include <cstring>
#include <string>

#include "clarivid/clarivid.h"

namespace clv {

inline constexpr int kMaxSize = 32768;
inline constexpr int kMaxThreads = 1024;

const char *precision_name(clv_precision precision);
std::string size_text(int width, int height);
std::string number_text(double value);
/// The shortest decimal that reads as the same float again: for commands that name an exact value.
std::string shortest_text(float value);

/// Throws Error(CLV_ERR_INVALID_ARGUMENT) when `value` is not in low..high.
void check_range(const char *name, int value, int low, int high);

/// A host may have written any number into an enum of C: its bytes are looked at before it is used as one.
template <class Enum>
void check_enum(const char *name, const Enum &value, int low, int high) {
    int number;
    static_assert(sizeof(value) == sizeof(number));
    std::memcpy(&number, &value, sizeof(number));
    check_range(name, number, low, high);
}

/// Throws Error(CLV_ERR_INVALID_ARGUMENT).
void check_format(const clv_format &format);

/// CUDA memory needs a device. Throws Error(CLV_ERR_INVALID_ARGUMENT).
void check_cuda(const clv_format &format, const clv_cuda_device *cuda);

} // namespace clv
