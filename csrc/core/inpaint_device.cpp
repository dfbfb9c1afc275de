// SPDX-License-Identifier: BSD-2-Clause
#include "core/inpaint_device.h"

#include "core/backend_loader.h"
#include "core/cuda_place.h"
#include "core/picture.h"
#include "mesh/hole.h"

namespace clv {

InpaintDevice::InpaintDevice(const clv_cuda_device &device, const clv_format &format)
    : format_(format), place_(cuda_place(device)), services_(load_cuda_services()),
      name_(services_->check(place_)) {}

bool InpaintDevice::take_painter(const Bundle &net, const EngineOptions &options) {
    painter_ = PainterOnDevice::make(net, picture_format(format_), options, place_, *services_);
    return painter_ != nullptr;
}

std::unique_ptr<mesh::PictureOps> InpaintDevice::make_ops(mesh::Painter *host) {
    auto ops = services_->make_picture_ops(picture_format(format_), place_);
    if (painter_)
        ops->use_on_device(&painter_->painter());
    else
        ops->use(host);
    return ops;
}

/// The work of a picture without a memory: in, painted, out.
void InpaintDevice::paint(const clv_picture &picture, const std::vector<uint8_t> &hole, mesh::Painter *host) {
    const auto ops = make_ops(host);
    const auto frame = ops->make_frame();
    ops->import(readable(picture), nullptr, *frame);
    ops->paint(*frame, {0, 0, format_.width, format_.height}, hole.data());
    const mesh::Hole none(frame->shape());
    ops->compose({*frame, *frame, none, 0, false, {}}, writable(picture));
    synchronise(); // what is enqueued uses what goes now
}

clv_picture InpaintDevice::on_host(const clv_picture &picture) {
    size_t bytes = 0;
    for (int i = 0; i < plane_count(format_); i++)
        bytes += static_cast<size_t>(row_bytes(format_, i)) * static_cast<size_t>(plane_rows(format_, i));
    picture_.resize(bytes);
    clv_picture host = {};
    uint8_t *to = picture_.data();
    for (int i = 0; i < plane_count(format_); i++) {
        const ptrdiff_t row = row_bytes(format_, i);
        host.data[i] = to;
        host.stride[i] = row;
        services_->download(place_, picture.data[i], picture.stride[i], to, row, static_cast<size_t>(row),
                            plane_rows(format_, i));
        to += row * plane_rows(format_, i);
    }
    return host;
}

clv_mask InpaintDevice::on_host(const clv_mask &mask) {
    mask_.resize(static_cast<size_t>(mask.width) * static_cast<size_t>(mask.height));
    services_->download(place_, mask.data, mask.stride, mask_.data(), mask.width,
                        static_cast<size_t>(mask.width), mask.height);
    return {mask_.data(), mask.width, mask.width, mask.height, CLV_MEMORY_HOST};
}

void InpaintDevice::clear_stats() {
    clear_work(*place_.counters);
}

clv_device_stats InpaintDevice::stats() const {
    return stats_of(*place_.counters);
}

} // namespace clv
