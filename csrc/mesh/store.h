// SPDX-License-Identifier: BSD-2-Clause
// Pictures as the memory keeps them: planar, in plain codes, with a border, so that kernels need not ask
// where they are. The samples are in host memory or in that of a device, with the same layout; what blocks
// are worth is always the host's.
//
//     plane of a frame            kBorder samples on every side repeat the edge; 8 bit pictures have one byte
//     a
//     +----------------------+    sample, all others two. Chroma planes have ceil(width / 2) x ceil(height /
//     2) |  +----------------+  |    samples; one of them and the 2x2 samples of luma that it belongs to are
//     a |  | width x height |  |    *block*: maps and regions count in blocks. |  +----------------+  |
//     +----------------------+
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "pixels/pixels.h"
#include "pixels/thread_pool.h"

namespace clv::mesh {

inline constexpr int kBorder = 8;

/// Without a call: std::floor is one where the processor may be any.
inline int floor_of(float value) {
    const int whole = static_cast<int>(value);
    return whole - (static_cast<float>(whole) > value ? 1 : 0);
}

/// The nearest whole number; `value` is not negative.
template <typename Code>
Code code_of(float value) {
    // NOLINTNEXTLINE(bugprone-incorrect-roundings): what lies 3e-8 below a half may go up
    return static_cast<Code>(value + 0.5F);
}

/// How much a block of a frame is worth as background, in rising order.
enum class Origin : uint8_t {
    unknown, ///< the object
    painted, ///< invented
    skirt,   ///< seen, but close to the object: its edge or its shadow may reach here
    seen
};

struct Shape {
    int width = 0;
    int height = 0;
    int bit_depth = 8;

    bool wide() const { return bit_depth > 8; }
    int maximum() const { return (1 << bit_depth) - 1; }
    /// One code of an 8 bit picture.
    float unit() const { return static_cast<float>(1 << (bit_depth - 8)); }
    int plane_width(int plane) const { return plane == 0 ? width : (width + 1) / 2; }
    int plane_height(int plane) const { return plane == 0 ? height : (height + 1) / 2; }
    int block_columns() const { return plane_width(1); }
    int block_rows() const { return plane_height(1); }
    size_t blocks() const { return static_cast<size_t>(block_columns()) * static_cast<size_t>(block_rows()); }
};

/// Half-open, in blocks or samples.
struct Box {
    int x0 = 0;
    int y0 = 0;
    int x1 = 0;
    int y1 = 0;

    bool empty() const { return x0 >= x1 || y0 >= y1; }
    int width() const { return x1 - x0; }
    int height() const { return y1 - y0; }
    void include(int x, int y);
    Box united(const Box &other) const;
    Box grown(int by, int width, int height) const;
};

class Frame {
public:
    explicit Frame(const Shape &shape);
    /// With samples in memory of somebody else's, sample_bytes() of it: such as a device's.
    Frame(const Shape &shape, std::shared_ptr<uint8_t> data);

    static size_t sample_bytes(const Shape &shape);

    const Shape &shape() const { return shape_; }
    /// Samples from one row to the next.
    ptrdiff_t stride(int plane) const { return stride_[static_cast<size_t>(plane)]; }
    /// Samples from the beginning of the memory to sample (0, 0).
    ptrdiff_t offset(int plane) const { return offset_[static_cast<size_t>(plane)]; }
    template <typename Sample>
    Sample *row(int plane, int y) {
        return reinterpret_cast<Sample *>(data_.get()) + offset_[static_cast<size_t>(plane)] +
               y * stride(plane);
    }
    template <typename Sample>
    const Sample *row(int plane, int y) const {
        return const_cast<Frame *>(this)->row<Sample>(plane, y);
    }
    /// The planes, without the border.
    pixels::Picture picture();

    Origin *origins(int block_row) { return &origins_[static_cast<size_t>(block_row) * columns_]; }
    const Origin *origins(int block_row) const {
        return &origins_[static_cast<size_t>(block_row) * columns_];
    }

    void copy_from(const Frame &other);
    /// Repeats the planes' edges into the border.
    void pad(pixels::ThreadPool &pool);

    /// Origins and time.
    void copy_knowledge(const Frame &other);

    int64_t time = 0; ///< index of the picture that it shows

    uint8_t *data() const { return data_.get(); }
    size_t sample_bytes() const { return bytes_; }
    size_t bytes() const { return bytes_ + origins_.size() + sizeof(*this); }

private:
    Shape shape_;
    size_t columns_ = 0;
    std::array<ptrdiff_t, 3> stride_{};
    std::array<ptrdiff_t, 3> offset_{};
    size_t bytes_ = 0;
    std::shared_ptr<uint8_t> data_;
    std::vector<Origin> origins_;
};

using FramePtr = std::shared_ptr<Frame>;

/// Frames to be used again and again. A frame goes back when nobody holds it; the pool may go first.
class FramePool {
public:
    using Make = std::function<std::unique_ptr<Frame>()>;
    explicit FramePool(Make make);

    /// Contents are whatever was there. Throws what making one throws.
    FramePtr take();
    /// Makes sure that there are this many.
    void reserve(int count);
    /// Of all frames made so far, in use or not.
    size_t bytes() const;

private:
    struct Shelf;
    std::shared_ptr<Shelf> shelf_;
};

/// Reads a picture of any 4:2:0 format into a frame, and pads it.
void import_picture(const pixels::PictureFormat &format, const pixels::ConstPicture &picture, Frame &frame,
                    pixels::ThreadPool &pool);
/// Writes it back.
void export_picture(const Frame &frame, const pixels::PictureFormat &format, const pixels::Picture &picture,
                    pixels::ThreadPool &pool);

} // namespace clv::mesh
