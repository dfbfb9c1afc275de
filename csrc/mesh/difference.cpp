// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/difference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace clv::mesh {

Difference::Difference(int width, int height)
    : width_(width), height_(height),
      luma_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height)), hole_(luma_.size()) {}

void Difference::reset() {
    first_ = true;
    histogram_known_ = false;
}

void Difference::compare(const GrayView &luma, const GrayView &hole, Tracks &tracks) {
    std::array<uint32_t, 256> counts{};
    uint64_t difference = 0, compared = 0, visible = 0;
    for (int y = 0; y < height_; y++) {
        const uint8_t *a = luma.data + y * luma.stride;
        const uint8_t *no = hole.data + y * hole.stride;
        uint8_t *b = luma_.data() + static_cast<ptrdiff_t>(y) * width_;
        uint8_t *last_no = hole_.data() + static_cast<ptrdiff_t>(y) * width_;
        uint32_t row_difference = 0, row_compared = 0;
        for (int x = 0; x < width_; x++) {
            const unsigned both = (no[x] | last_no[x]) ? 0U : 1U;
            const int d = a[x] - b[x];
            row_difference += both * static_cast<unsigned>(d < 0 ? -d : d);
            row_compared += both;
        }
        difference += row_difference;
        compared += row_compared;
        // Every other sample says as much about the histogram.
        for (int x = y & 1; x < width_; x += 2)
            if (!no[x]) {
                counts[a[x]]++;
                visible++;
            }
        std::memcpy(b, a, static_cast<std::size_t>(width_));
        std::memcpy(last_no, no, static_cast<std::size_t>(width_));
    }

    // 64 bins of 4 codes, each sample shared between the two nearest: a small change of light moves little.
    std::array<float, 64> histogram{};
    for (std::size_t code = 0; code < 256; code++) {
        if (!counts[code])
            continue;
        const float at = std::clamp((static_cast<float>(code) - 1.5F) / 4, 0.0F, 63.0F);
        const auto bin = static_cast<std::size_t>(at);
        const float t = at - static_cast<float>(bin);
        const float share = static_cast<float>(counts[code]) / static_cast<float>(visible);
        histogram[bin] += (1 - t) * share;
        histogram[std::min<std::size_t>(bin + 1, 63)] += t * share;
    }
    if (!first_ && compared)
        tracks.difference =
            static_cast<float>(static_cast<double>(difference) / static_cast<double>(compared));
    if (histogram_known_ && visible) {
        float ab = 0, aa = 0, bb = 0;
        for (std::size_t i = 0; i < histogram.size(); i++) {
            const float a = histogram[i] - 1.0F / 64, b = histogram_[i] - 1.0F / 64;
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
        tracks.histogram_correlation = aa * bb > 0 ? ab / std::sqrt(aa * bb) : 1.0F;
    }
    if (visible) {
        histogram_ = histogram;
        histogram_known_ = true;
    }
    first_ = false;
}

} // namespace clv::mesh
