// SPDX-License-Identifier: BSD-2-Clause
#include "core/inpaint_device.h"

#include "core/backend_loader.h"
#include "core/cuda_place.h"
#include "core/device_requests.h"
#include "core/picture.h"

namespace clv {

InpaintDevice::InpaintDevice(const clv_cuda_device &device, const clv_format &format)
    : format_(format), place_(cuda_place(device)), services_(load_cuda_services()),
      name_(services_->check(place_)) {}

std::unique_ptr<mesh::PictureOps> InpaintDevice::make_ops() {
    return services_->make_picture_ops(picture_format(format_), place_);
}

MakeEngine InpaintDevice::make_engine() {
    return [this](const Bundle &bundle, const TensorShape &input, const EngineOptions &options) {
        return make_engine_at(place_, *services_, bundle, input, options);
    };
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

void InpaintDevice::put_back(const clv_picture &host, const clv_picture &picture) {
    for (int i = 0; i < plane_count(format_); i++)
        services_->upload(place_, host.data[i], host.stride[i], picture.data[i], picture.stride[i],
                          static_cast<size_t>(row_bytes(format_, i)), plane_rows(format_, i));
}

void InpaintDevice::clear_stats() {
    clear_work(*place_.counters);
}

clv_device_stats InpaintDevice::stats() const {
    return stats_of(*place_.counters);
}

std::string InpaintDevice::text() const {
    return work_text(*place_.counters);
}

} // namespace clv
