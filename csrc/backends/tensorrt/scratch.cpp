// SPDX-License-Identifier: BSD-2-Clause
#include "backends/tensorrt/scratch.h"

#include <map>
#include <utility>

namespace clv::tensorrt {

std::shared_ptr<Scratch> Scratch::of(const cuda::Place &place) {
    if (cuda::stream_of(place) == CU_STREAM_PER_THREAD)
        return std::make_shared<Scratch>(place);
    static std::mutex mutex;
    static auto *known = new std::map<std::pair<void *, void *>, std::weak_ptr<Scratch>>;
    // Two names of one stream.
    void *stream = cuda::stream_of(place) == CU_STREAM_LEGACY ? nullptr : place.stream;
    const std::lock_guard lock(mutex);
    std::weak_ptr<Scratch> &entry = (*known)[{place.context, stream}];
    std::shared_ptr<Scratch> found = entry.lock();
    if (!found)
        entry = found = std::make_shared<Scratch>(place);
    return found;
}

void Scratch::reserve(size_t bytes) {
    if (bytes <= memory_.bytes())
        return;
    const size_t before = memory_.bytes();
    memory_ = {}; // first, so that never both are needed
    try {
        memory_ = cuda::Buffer(place_, bytes);
    } catch (const Error &) {
        memory_ = cuda::Buffer(place_, before);
        throw;
    }
}

} // namespace clv::tensorrt
