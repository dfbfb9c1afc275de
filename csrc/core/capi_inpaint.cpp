// SPDX-License-Identifier: BSD-2-Clause
// The C ABI over the C++ core: boxes and inpainters.
#include "clarivid/clarivid.h"

#include "core/boxes.h"
#include "core/capi.h"

struct clv_boxes {
    clv::Boxes boxes;
};

using clv::guarded;
using clv::require;

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
