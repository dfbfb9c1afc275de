// SPDX-License-Identifier: BSD-2-Clause
// What the checks of the CPU backend's nets share.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <vector>

namespace check {

struct Shape {
    int height;
    int width;
    size_t count(int channels) const {
        return static_cast<size_t>(channels) * static_cast<size_t>(height) * static_cast<size_t>(width);
    }
};

inline std::mt19937 generator(1);
inline int failures = 0;

inline std::vector<float> random_values(size_t count, float size) {
    std::normal_distribution<float> distribution(0.0F, size);
    std::vector<float> values(count);
    for (float &value : values)
        value = distribution(generator);
    return values;
}

inline bool same(const std::vector<float> &a, const std::vector<float> &b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline void expect(bool condition, const std::string &what) {
    if (condition)
        return;
    failures++;
    std::printf("FAIL %s\n", what.c_str());
}

/// Of the calling thread.
inline double processor_seconds() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The fastest of `runs`.
template <class Body>
double fastest(int runs, Body body) {
    double best = 1e9;
    for (int n = 0; n < runs; n++) {
        const double begin = processor_seconds();
        body();
        best = std::min(best, processor_seconds() - begin);
    }
    return best;
}

} // namespace check
