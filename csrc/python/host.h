// SPDX-License-Identifier: BSD-2-Clause
// What the parts of clarivid._core share: the C ABI's context with its log and errors, and pictures in
// arrays.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "clarivid/clarivid.h"

namespace clv::python {

namespace py = pybind11;

/// Becomes the subclass of clarivid.errors.Error that fits the status.
struct CoreError {
    int status;
    std::string sentence;
};

using Log = std::function<void(int, std::string)>;

/// A clv_context whose messages go to a Python callable.
class Context {
public:
    explicit Context(Log log) : log_(std::move(log)), context_(clv_context_create(&Context::forward, this)) {
        if (!context_)
            throw std::bad_alloc();
    }
    ~Context() { clv_context_destroy(&context_); }
    Context(const Context &) = delete;
    Context &operator=(const Context &) = delete;

    clv_context *get() const { return context_; }
    void check(int status) const {
        if (status == CLV_OK)
            return;
        std::string sentence(clv_last_error(context_, nullptr, 0) + 1, '\0');
        clv_last_error(context_, sentence.data(), sentence.size());
        sentence.pop_back();
        throw CoreError{status, sentence};
    }

private:
    static void forward(void *opaque, clv_log_level level, const char *message) {
        const auto *self = static_cast<const Context *>(opaque);
        const py::gil_scoped_acquire gil;
        if (!self->log_)
            return;
        try {
            self->log_(level, message);
        } catch (py::error_already_set &error) {
            error.discard_as_unraisable("clarivid log callback");
        }
    }

    Log log_;
    clv_context *context_;
};

/// Python has addresses as numbers.
inline void *pointer_of(uintptr_t address) {
    return reinterpret_cast<void *>(address); // NOLINT(performance-no-int-to-ptr)
}

/// Arrays of numpy, or of a device: whatever has __cuda_array_interface__ (tensors of PyTorch and CuPy).
using Planes = std::vector<py::object>;

/// The planes as the C ABI takes them; raises ValueError or TypeError when they do not fit the format.
clv_picture view(const Planes &planes, const clv_format &format, bool writeable);

void bind_colour(py::module_ &module);
void bind_dlpack(py::module_ &module);

} // namespace clv::python
