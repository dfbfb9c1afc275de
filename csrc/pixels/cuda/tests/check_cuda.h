// SPDX-License-Identifier: BSD-2-Clause
// What the checks on a device share: pictures and tensors whose every byte is watched there.
#pragma once

#include "cuda/driver.h"
#include "pixels/half.h"
#include "pixels/tests/harness.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

namespace clv::pixels::test {

/// Rows in device memory, laid out as in the host's.
class DeviceRows {
public:
    DeviceRows(const clv::cuda::Place &place, Rows &like)
        : place_(place), like_(like), memory_(place, size()) {
        clv::cuda::copy_to_device_async(place_, memory_.get(), host(), size());
        clv::cuda::synchronise(place_);
    }
    std::uint8_t *first_row() const { return memory_.get<std::uint8_t>() + like_.layout().before; }
    void fetch() {
        clv::cuda::copy_to_host_async(place_, host(), memory_.get(), size());
        clv::cuda::synchronise(place_);
    }

private:
    std::size_t size() const { return std::max<std::size_t>(1, like_.layout().size()); }
    std::uint8_t *host() const { return like_.row(0) - like_.layout().before; }
    clv::cuda::Place place_;
    Rows &like_;
    clv::cuda::Buffer memory_;
};

/// Strides forward, addresses that are multiples of a sample, otherwise anything; `unit` is often larger, so
/// that the wide accesses are taken too.
inline RowLayout device_layout(Random &random, int rows, std::ptrdiff_t row_bytes, std::ptrdiff_t unit) {
    const std::ptrdiff_t step =
        random.one_in(2) ? std::max<std::ptrdiff_t>(unit, 1 << random.between(1, 5)) : unit;
    RowLayout out{.rows = rows, .row_bytes = row_bytes};
    out.stride = (row_bytes + step - 1) / step * step + step * random.between(0, 9);
    out.before = step * random.between(0, 9);
    out.after = random.one_in(2) ? 0 : random.between(0, 70);
    return out;
}

inline std::vector<RowLayout> device_layouts(const PictureFormat &f, Random &random) {
    std::vector<RowLayout> out;
    for (const auto &[width, height] : plane_sizes(f))
        out.push_back(device_layout(random, height, width * f.bytes_per_sample(), f.bytes_per_sample()));
    return out;
}

/// A picture's planes there.
struct DevicePlanes {
    DevicePlanes(const clv::cuda::Place &place, TestPicture &picture) {
        for (std::size_t i = 0; i < picture.planes.size(); i++) {
            rows.push_back(std::make_unique<DeviceRows>(place, picture.planes[i]));
            view.data[i] = rows[i]->first_row();
            view.stride[i] = picture.planes[i].layout().stride;
        }
    }
    void fetch() {
        for (auto &plane : rows)
            plane->fetch();
    }
    std::vector<std::unique_ptr<DeviceRows>> rows;
    Picture view;
};

inline bool equal(const TestPicture &a, const TestPicture &b) {
    for (std::size_t i = 0; i < a.planes.size(); i++)
        if (!a.planes[i].equals(b.planes[i]))
            return false;
    return true;
}

inline void fill(TestPicture &picture, Random &random) {
    const PictureFormat &f = picture.format;
    const int max_code = (1 << f.bit_depth) - 1;
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < (p ? f.chroma_height() : f.height); y++)
            for (int x = 0; x < (p ? f.chroma_width() : f.width); x++)
                picture.set_code(p, x, y, static_cast<int>(random.bits() & 0xffff) & max_code);
}

/// [channels][height][width] in rows.
struct TestTensor {
    TestTensor(Element e, int c, int h, int w, const RowLayout &layout)
        : element(e), channels(c), height(h), width(w), rows(layout) {}
    static RowLayout layout(Random &random, Element e, int c, int h, int w) {
        const int size = e == Element::f32 ? 4 : 2;
        return device_layout(random, c * h, static_cast<std::ptrdiff_t>(w) * size, size);
    }
    template <typename Void>
    BasicTensor<Void> view(std::uint8_t *first_row) {
        const std::ptrdiff_t stride = rows.layout().stride / (element == Element::f32 ? 4 : 2);
        return {first_row, element, channels, height, width, stride, stride * height};
    }
    /// In row y of all channels' rows; kept as the element.
    void set(int y, int x, float value) {
        if (element == Element::f32) {
            std::memcpy(rows.row(y) + 4 * x, &value, 4);
        } else {
            const std::uint16_t bits = value == value ? f16_from_f32(value) : 0x7e00;
            std::memcpy(rows.row(y) + 2 * x, &bits, 2);
        }
    }
    float value(int y, int x) const {
        float out = 0.0F;
        std::uint16_t bits = 0;
        if (element == Element::f32) {
            std::memcpy(&out, rows.row(y) + 4 * x, 4);
            return out;
        }
        std::memcpy(&bits, rows.row(y) + 2 * x, 2);
        return f32_from_f16(bits);
    }

    Element element;
    int channels, height, width;
    Rows rows;
};

} // namespace clv::pixels::test
