// SPDX-License-Identifier: BSD-2-Clause
// What the nets of the CPU backend share: bands of rows, scratch memory, the transform of weights.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "kernels.h"

namespace clv::cpu {

constexpr size_t kAlignment = 64;
constexpr int kAlignedFloats = static_cast<int>(kAlignment / sizeof(float));

inline int round_up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

struct Release {
    void operator()(float *memory) const { ::operator delete (memory, std::align_val_t{kAlignment}); }
};
using Memory = std::unique_ptr<float, Release>;

/// Aligned, so that no vector of a row lies on two lines of the cache.
inline Memory zeros(size_t count) {
    auto *memory = static_cast<float *>(::operator new (count * sizeof(float), std::align_val_t{kAlignment}));
    std::memset(memory, 0, count * sizeof(float));
    return Memory(memory);
}

/// Scratch memory that no thread works in at the moment.
template <class Scratch>
class Idle {
public:
    /// One of those, or what `make` gives.
    template <class Make>
    std::unique_ptr<Scratch> take(Make make) {
        {
            const std::lock_guard lock(mutex_);
            if (!idle_.empty()) {
                auto found = std::move(idle_.back());
                idle_.pop_back();
                return found;
            }
        }
        return make();
    }
    void put(std::unique_ptr<Scratch> scratch) {
        const std::lock_guard lock(mutex_);
        idle_.push_back(std::move(scratch));
    }

private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Scratch>> idle_;
};

/// A net whose layers are fused over rows. Immutable but for its scratch memory; any number of threads may
/// run it.
class FusedNet {
public:
    FusedNet() = default;
    virtual ~FusedNet() = default;
    FusedNet(const FusedNet &) = delete;
    FusedNet &operator=(const FusedNet &) = delete;

    virtual int out_channels() const = 0;
    /// How much higher and wider the output is than the input.
    virtual int scale() const = 0;
    /// Bands for each thread: with more of them none waits long for the last one, with fewer of them fewer
    /// rows are computed twice.
    virtual int bands() const = 0;
    /// What rows first .. last - 1 of the input become in the output, [channels, scale height, scale width],
    /// from all of the input; `first` is a multiple of kQuad, so that the result does not depend on the
    /// bands.
    virtual void run(const float *input, float *output, int first, int last) = 0;
};

/// G of Winograd's F(4, 3), kernels.h.
inline constexpr double kTransform[kQuadTaps][3] = {{1 / 4.0, 0, 0},
                                                    {-1 / 6.0, -1 / 6.0, -1 / 6.0},
                                                    {-1 / 6.0, 1 / 6.0, -1 / 6.0},
                                                    {1 / 24.0, 1 / 12.0, 1 / 6.0},
                                                    {1 / 24.0, -1 / 12.0, 1 / 6.0},
                                                    {0, 0, 1}};

} // namespace clv::cpu
