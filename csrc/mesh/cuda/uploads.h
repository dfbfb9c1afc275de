// SPDX-License-Identifier: BSD-2-Clause
// What a picture takes from the host to the device: written side by side into pinned memory, sent in few
// transfers.
//
//     pinned memory, two sides that take turns      | points | jobs | blocks | nodes ... |      |
//                                                   ^ 0             ^ sent    ^ to send   ^ used
//     the device's, one: its order is the stream's  | points | jobs |
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "cuda/driver.h"

namespace clv::mesh::cuda {

/// A place in pinned memory, and where the device will find what is written there.
template <typename T>
struct Upload {
    T *host = nullptr;
    const T *device = nullptr;
};

class Uploads {
public:
    /// `capacity`: bytes of one picture.
    Uploads(const clv::cuda::Place &place, size_t capacity);

    /// A picture begins. Waits for the transfers of the one before the last, which have long been done where
    /// somebody has waited for the device since.
    void begin();
    template <typename T>
    Upload<T> reserve(size_t count) {
        const size_t at = (used_ + 15) / 16 * 16;
        const size_t end = at + count * sizeof(T);
        if (end > capacity_)
            throw std::logic_error("more is sent to the device for a picture than was planned for");
        used_ = end;
        return {reinterpret_cast<T *>(side().memory.get<uint8_t>() + at),
                reinterpret_cast<const T *>(device_.get<uint8_t>() + at)};
    }
    /// Enqueues what was reserved since the last call, and is written by now.
    void send();
    /// The picture's last transfer has been enqueued.
    void end();

    size_t bytes() const { return 3 * capacity_; }

private:
    struct Side {
        clv::cuda::Pinned memory;
        clv::cuda::Event sent;
    };
    Side &side() { return sides_[turn_]; }

    clv::cuda::Place place_;
    size_t capacity_;
    clv::cuda::Buffer device_;
    Side sides_[2];
    int turn_ = 0;
    bool open_ = false;
    size_t used_ = 0;
    size_t sent_ = 0;
};

} // namespace clv::mesh::cuda
