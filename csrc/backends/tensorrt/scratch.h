// SPDX-License-Identifier: BSD-2-Clause
// Memory for activations, one block for all the nets that run on one stream.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "cuda/driver.h"

namespace clv::tensorrt {

/// Nets on one stream run one after the other, and no activation outlives its run: one block, as large as the
/// largest net asks for, serves all of them. It lies where the first one's place is, and goes with the last.
class Scratch {
public:
    /// That of the place's stream. Streams that differ from thread to thread share nothing.
    static std::shared_ptr<Scratch> of(const cuda::Place &place);

    explicit Scratch(cuda::Place place) : place_(std::move(place)) {}

    /// Held while a net is enqueued: another thread's layers between its own would overwrite its activations.
    std::mutex &mutex() { return mutex_; }
    /// At least so many bytes, with the mutex held. Growing waits for the device, and the block moves: who
    /// recorded its address must look again. Throws Error(CLV_ERR_NO_MEMORY), and then is as it was or empty.
    void reserve(size_t bytes);
    const cuda::Buffer &memory() const { return memory_; }

private:
    const cuda::Place place_;
    std::mutex mutex_;
    cuda::Buffer memory_;
};

} // namespace clv::tensorrt
