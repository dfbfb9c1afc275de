// SPDX-License-Identifier: BSD-2-Clause
#include "core/checks.h"

#include <charconv>
#include <cstdio>

#include "core/error.h"

namespace clv {

const char *precision_name(clv_precision precision) {
    switch (precision) {
    case CLV_PRECISION_AUTO:
        return "auto";
    case CLV_PRECISION_FP32:
        return "fp32";
    case CLV_PRECISION_FP16:
        return "fp16";
    case CLV_PRECISION_BF16:
        return "bf16";
    case CLV_PRECISION_INT8:
        return "int8";
    }
    return "unknown";
}

std::string size_text(int width, int height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

std::string number_text(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%g", value);
    return text;
}

std::string shortest_text(float value) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
    return {text, end};
}

void check_range(const char *name, int value, int low, int high) {
    if (value < low || value > high)
        throw Error(CLV_ERR_INVALID_ARGUMENT, std::string(name) + "=" + std::to_string(value) +
                                                  " is not in " + std::to_string(low) + ".." +
                                                  std::to_string(high));
}

void check_format(const clv_format &format) {
    check_range("width", format.width, 1, kMaxSize);
    check_range("height", format.height, 1, kMaxSize);
    check_enum("pixel_format", format.pixel_format, CLV_PIXEL_YUV420P, CLV_PIXEL_P010);
    check_enum("memory", format.memory, CLV_MEMORY_HOST, CLV_MEMORY_CUDA);
    check_enum("range", format.range, CLV_RANGE_UNSPECIFIED, CLV_RANGE_FULL);
    check_enum("matrix", format.matrix, CLV_MATRIX_UNSPECIFIED, CLV_MATRIX_BT2020_NCL);
    check_enum("siting", format.siting, CLV_SITING_UNSPECIFIED, CLV_SITING_TOP_LEFT);
}

void check_cuda(const clv_format &format, const clv_cuda_device *cuda) {
    if (format.memory != CLV_MEMORY_CUDA)
        return;
    if (!cuda)
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "the format says CUDA memory, but params.cuda is NULL: give the context and the stream "
                    "that the pictures belong to");
    if (!cuda->context)
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "params.cuda has no context: give the CUcontext that the pictures belong to");
}

} // namespace clv
