// SPDX-License-Identifier: BSD-2-Clause
// What the functions of the C ABI share: every exception is caught, its sentence kept in the context, its
// status returned.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "clarivid/clarivid.h"
#include "core/context.h"
#include "core/error.h"
#include "core/model.h"

struct clv_model {
    std::shared_ptr<const clv::Bundle> bundle;
    std::string path;
};

namespace clv {

template <class Body>
int guarded(clv_context *context, Body body) noexcept {
    try {
        return body();
    } catch (const Error &error) {
        context->set_error(error.what());
        return error.status();
    } catch (const std::bad_alloc &) {
        context->set_error("memory ran out: use smaller pictures or fewer frames in flight");
        return CLV_ERR_NO_MEMORY;
    } catch (const std::exception &error) {
        context->set_error(error.what());
        return CLV_ERR_INTERNAL;
    } catch (...) {
        context->set_error("a failure without a name");
        return CLV_ERR_INTERNAL;
    }
}

inline void require(const void *argument, const char *name) {
    if (!argument)
        throw Error(CLV_ERR_INVALID_ARGUMENT, std::string("argument ") + name + " is NULL");
}

/// The fields that the host knows, and the defaults of the others. `params` may be null.
template <class Params>
Params complete(const Params *params, const Params &defaults, const char *macro) {
    Params full = defaults;
    if (params) {
        if (params->struct_size < sizeof(params->struct_size))
            throw Error(CLV_ERR_INVALID_ARGUMENT,
                        std::string("params.struct_size is not set: start from ") + macro);
        std::memcpy(&full, params, std::min<size_t>(params->struct_size, sizeof(full)));
    }
    return full;
}

} // namespace clv
