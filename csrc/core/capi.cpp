// SPDX-License-Identifier: BSD-2-Clause
// The C ABI over the C++ core: contexts, models, sessions, boxes and backends.
#include "clarivid/clarivid.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "core/backend_loader.h"
#include "core/boxes.h"
#include "core/capi.h"
#include "core/session.h"

struct clv_boxes {
    clv::Boxes boxes;
};

namespace {

using clv::guarded;
using clv::require;

size_t copy_text(const std::string &text, char *buffer, size_t size) {
    if (buffer && size) {
        const size_t length = std::min(text.size(), size - 1);
        std::memcpy(buffer, text.data(), length);
        buffer[length] = '\0';
    }
    return text.size();
}

} // namespace

uint32_t clv_version(void) {
    return CLV_VERSION_INT;
}

const char *clv_version_string(void) {
#define CLV_TEXT_(x) #x
#define CLV_TEXT(x) CLV_TEXT_(x)
    return CLV_TEXT(CLV_VERSION_MAJOR) "." CLV_TEXT(CLV_VERSION_MINOR) "." CLV_TEXT(CLV_VERSION_PATCH);
#undef CLV_TEXT
#undef CLV_TEXT_
}

const char *clv_status_name(int status) {
    switch (status) {
#define CLV_CASE(name)                                                                                       \
    case name:                                                                                               \
        return #name
        CLV_CASE(CLV_OK);
        CLV_CASE(CLV_ERR_INVALID_ARGUMENT);
        CLV_CASE(CLV_ERR_NOT_FOUND);
        CLV_CASE(CLV_ERR_INVALID_MODEL);
        CLV_CASE(CLV_ERR_UNSUPPORTED);
        CLV_CASE(CLV_ERR_BACKEND);
        CLV_CASE(CLV_ERR_INFERENCE);
        CLV_CASE(CLV_ERR_IO);
        CLV_CASE(CLV_ERR_NO_MEMORY);
        CLV_CASE(CLV_ERR_INTERNAL);
        CLV_CASE(CLV_AGAIN);
        CLV_CASE(CLV_EMPTY);
#undef CLV_CASE
    default:
        return "unknown";
    }
}

clv_context *clv_context_create(clv_log_callback callback, void *opaque) {
    return new (std::nothrow) clv_context(callback, opaque);
}

void clv_context_destroy(clv_context **context) {
    if (!context)
        return;
    delete *context;
    *context = nullptr;
}

size_t clv_last_error(const clv_context *context, char *buffer, size_t size) {
    try {
        return copy_text(context ? context->error() : "", buffer, size);
    } catch (const std::bad_alloc &) {
        return copy_text({}, buffer, size);
    }
}

int clv_model_open(clv_context *context, const char *name, clv_model **model) {
    if (!context)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(context, [&] {
        require(name, "name");
        require(model, "model");
        auto opened = std::make_unique<clv_model>();
        opened->bundle = std::make_shared<const clv::Bundle>(clv::Bundle::open(name));
        opened->path = opened->bundle->path.string();
        *model = opened.release();
        return CLV_OK;
    });
}

void clv_model_close(clv_model **model) {
    if (!model)
        return;
    delete *model;
    *model = nullptr;
}

void clv_model_get_info(const clv_model *model, clv_model_info *info) {
    const clv::Bundle &bundle = *model->bundle;
    *info = {bundle.name.c_str(), model->path.c_str(), bundle.task.c_str(), bundle.layout,  bundle.scale,
             bundle.multiple_of,  bundle.min_width,    bundle.min_height,   bundle.has_card};
}

int clv_model_has_strength(const clv_model *model) {
    return model->bundle->has_strength;
}

int clv_model_has_sharpness(const clv_model *model) {
    return model->bundle->perceptual != nullptr;
}

int clv_session_create(clv_context *context, clv_model *model, const clv_format *format,
                       const clv_session_params *params, clv_session **session) {
    if (!context)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(context, [&] {
        require(model, "model");
        require(format, "format");
        require(session, "session");
        const clv_session_params defaults = CLV_SESSION_PARAMS_DEFAULTS;
        const auto full = clv::complete(params, defaults, "CLV_SESSION_PARAMS_DEFAULTS");
        *session = std::make_unique<clv_session>(*context, model->bundle, *format, full).release();
        return CLV_OK;
    });
}

void clv_session_destroy(clv_session **session) {
    if (!session)
        return;
    delete *session;
    *session = nullptr;
}

void clv_session_get_info(const clv_session *session, clv_session_info *info) {
    session->info(*info);
}

int clv_session_submit(clv_session *session, const clv_picture *input, const clv_picture *output,
                       void *opaque) {
    if (!session)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&session->context(), [&] {
        require(input, "input");
        require(output, "output");
        return session->submit(*input, *output, opaque);
    });
}

int clv_session_receive(clv_session *session, int wait, void **opaque) {
    if (!session)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(&session->context(), [&] { return session->receive(wait != 0, opaque); });
}

int clv_session_pending(const clv_session *session) {
    return session->pending();
}

void clv_session_get_device_stats(const clv_session *session, clv_device_stats *stats) {
    *stats = {};
    session->device_stats(*stats);
}

int clv_boxes_create(clv_context *context, const char *text, int is_file, clv_boxes **boxes) {
    if (!context)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(context, [&] {
        require(text, "text");
        require(boxes, "boxes");
        auto made = std::make_unique<clv_boxes>(
            clv_boxes{is_file ? clv::Boxes::read(text) : clv::Boxes::parse(text)});
        if (made->boxes.count() == 0)
            context->log(CLV_LOG_WARNING,
                         std::string("boxes file ") + text + " has no boxes: nothing vanishes because of it");
        *boxes = made.release();
        return CLV_OK;
    });
}

void clv_boxes_destroy(clv_boxes **boxes) {
    if (!boxes)
        return;
    delete *boxes;
    *boxes = nullptr;
}

int clv_boxes_draw(const clv_boxes *boxes, int64_t frame, uint8_t *mask, ptrdiff_t stride, int width,
                   int height) {
    if (!boxes || !mask || width < 1 || height < 1)
        return 0;
    return boxes->boxes.draw(frame, mask, stride, width, height);
}

int clv_backend_probe(clv_context *context, const char *name, char *buffer, size_t size) {
    if (!context)
        return CLV_ERR_INVALID_ARGUMENT;
    return guarded(context, [&] {
        require(name, "name");
        copy_text(clv::load_backend(name)->runtime(), buffer, size);
        return CLV_OK;
    });
}
