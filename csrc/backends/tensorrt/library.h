// SPDX-License-Identifier: BSD-2-Clause
// libnvinfer, found at run time: this backend is built from TensorRT's headers alone and starts on nodes that
// have no TensorRT.
#pragma once

#include <string>

#include <NvInferRuntime.h>

namespace clv::tensorrt {

/// Loaded once and kept for the life of the process.
struct Library {
    std::string path;
    std::string version; ///< "10.14.1.48", as Python's tensorrt.__version__ and as the key of engines has it
    int number = 0;      ///< 101401 for 10.14.1
    bool lean = false;   ///< it runs only engines that were built version-compatible
    void *(*create_runtime)(void *logger, int32_t version) noexcept = nullptr;
};

/// The first of $CLARIVID_NVINFER, libnvinfer.so.10 and libnvinfer_lean.so.10 that can be loaded. Throws
/// Error(CLV_ERR_BACKEND): there is none, or it is of another major version than the headers that this was
/// built with, too old, or TensorRT for RTX, which is another library with another interface. Calls nothing
/// of TensorRT's but its version numbers: without a CUDA driver more would crash.
const Library &library();

} // namespace clv::tensorrt
