// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/cuda/uploads.h"

namespace clv::mesh::cuda {

Uploads::Uploads(const clv::cuda::Place &place, size_t capacity)
    : place_(place), capacity_(capacity), device_(place, capacity) {
    for (Side &one : sides_) {
        one.memory = clv::cuda::Pinned(place, capacity);
        one.sent = clv::cuda::Event(place);
    }
}

void Uploads::begin() {
    if (open_) // a picture that failed
        end();
    turn_ = 1 - turn_;
    if (!side().sent.done())
        clv::cuda::synchronise(side().sent);
    used_ = sent_ = 0;
    open_ = true;
}

void Uploads::send() {
    if (used_ == sent_)
        return;
    clv::cuda::copy_to_device_async(place_, device_.get<uint8_t>() + sent_,
                                    side().memory.get<uint8_t>() + sent_, used_ - sent_);
    sent_ = used_;
}

void Uploads::end() {
    side().sent.record();
    open_ = false;
}

} // namespace clv::mesh::cuda
