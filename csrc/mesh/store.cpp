// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/store.h"

#include <algorithm>
#include <mutex>

namespace clv::mesh {
namespace {

constexpr int kRows = 64; ///< rows of luma that a thread takes at once

/// Rows begin on multiples of 32 samples, the border's first one included.
ptrdiff_t stride_of(const Shape &shape, int plane) {
    return (shape.plane_width(plane) + 2 * kBorder + 31) / 32 * 32;
}

/// Callers' planes need no alignment.
template <typename Sample>
Sample load(const uint8_t *from) {
    Sample sample;
    std::memcpy(&sample, from, sizeof sample);
    return sample;
}

/// `step`: samples from one to the next in `from`; `shift`: bits below the code.
template <typename Sample>
void read_row(const uint8_t *from, int step, int shift, int count, Sample *to) {
    if (step == 1 && shift == 0)
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(Sample));
    else
        for (int x = 0; x < count; x++, from += static_cast<size_t>(step) * sizeof(Sample))
            to[x] = static_cast<Sample>(load<Sample>(from) >> shift);
}

template <typename Sample>
void write_row(const Sample *from, int step, int shift, int count, uint8_t *to) {
    if (step == 1 && shift == 0) {
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(Sample));
        return;
    }
    for (int x = 0; x < count; x++, to += static_cast<size_t>(step) * sizeof(Sample)) {
        const auto sample = static_cast<Sample>(from[x] << shift);
        std::memcpy(to, &sample, sizeof sample);
    }
}

/// Where a plane of a picture begins, in which steps its samples follow.
struct Access {
    int plane;
    int first;
    int step;
};

Access access(const pixels::PictureFormat &format, int plane) {
    if (plane == 0 || !format.semi_planar)
        return {plane, 0, 1};
    return {1, plane - 1, 2};
}

template <typename Body>
void each_row(const pixels::PictureFormat &format, const Shape &shape, pixels::ThreadPool &pool,
              Body &&body) {
    const int shift = format.msb_aligned ? 16 - format.bit_depth : 0;
    pool.parallel_for(0, shape.plane_height(1), kRows / 2, [&](int first, int last) {
        for (int plane = 0; plane < 3; plane++) {
            const int times = plane == 0 ? 2 : 1;
            const Access at = access(format, plane);
            for (int y = first * times; y < std::min(last * times, shape.plane_height(plane)); y++)
                body(plane, y, at, shift, shape.plane_width(plane));
        }
    });
}

template <typename Sample>
void import_samples(const pixels::PictureFormat &format, const pixels::ConstPicture &picture, Frame &frame,
                    pixels::ThreadPool &pool) {
    constexpr int bytes = sizeof(Sample);
    each_row(format, frame.shape(), pool, [&](int plane, int y, const Access &at, int shift, int count) {
        const uint8_t *from = picture.data[at.plane] + y * picture.stride[at.plane] + at.first * bytes;
        read_row(from, at.step, shift, count, frame.row<Sample>(plane, y));
    });
}

template <typename Sample>
void export_samples(const Frame &frame, const pixels::PictureFormat &format, const pixels::Picture &picture,
                    pixels::ThreadPool &pool) {
    constexpr int bytes = sizeof(Sample);
    each_row(format, frame.shape(), pool, [&](int plane, int y, const Access &at, int shift, int count) {
        uint8_t *to = picture.data[at.plane] + y * picture.stride[at.plane] + at.first * bytes;
        write_row(frame.row<Sample>(plane, y), at.step, shift, count, to);
    });
}

template <typename Sample>
void pad_samples(Frame &frame, pixels::ThreadPool &pool) {
    const Shape &shape = frame.shape();
    pool.parallel_for(0, 3, 1, [&](int first, int last) {
        for (int plane = first; plane < last; plane++) {
            const int width = shape.plane_width(plane);
            const int height = shape.plane_height(plane);
            for (int y = 0; y < height; y++) {
                Sample *row = frame.row<Sample>(plane, y);
                std::fill(row - kBorder, row, row[0]);
                std::fill(row + width, row + width + kBorder, row[width - 1]);
            }
            const size_t bytes = static_cast<size_t>(width + 2 * kBorder) * sizeof(Sample);
            for (int y = 1; y <= kBorder; y++) {
                std::memcpy(frame.row<Sample>(plane, -y) - kBorder, frame.row<Sample>(plane, 0) - kBorder,
                            bytes);
                std::memcpy(frame.row<Sample>(plane, height - 1 + y) - kBorder,
                            frame.row<Sample>(plane, height - 1) - kBorder, bytes);
            }
        }
    });
}

} // namespace

void Box::include(int x, int y) {
    if (empty()) {
        *this = {x, y, x + 1, y + 1};
        return;
    }
    x0 = std::min(x0, x);
    y0 = std::min(y0, y);
    x1 = std::max(x1, x + 1);
    y1 = std::max(y1, y + 1);
}

Box Box::united(const Box &other) const {
    if (empty())
        return other;
    if (other.empty())
        return *this;
    return {std::min(x0, other.x0), std::min(y0, other.y0), std::max(x1, other.x1), std::max(y1, other.y1)};
}

Box Box::grown(int by, int width, int height) const {
    if (empty())
        return {};
    return {std::max(x0 - by, 0), std::max(y0 - by, 0), std::min(x1 + by, width), std::min(y1 + by, height)};
}

Frame::Frame(const Shape &shape) // samples are not touched: the system gives pages as they are used
    : Frame(shape,
            std::shared_ptr<uint8_t>(new uint8_t[sample_bytes(shape)], std::default_delete<uint8_t[]>())) {}

Frame::Frame(const Shape &shape, std::shared_ptr<uint8_t> data)
    : shape_(shape), columns_(static_cast<size_t>(shape.block_columns())), bytes_(sample_bytes(shape)),
      data_(std::move(data)) {
    ptrdiff_t samples = 0;
    for (size_t plane = 0; plane < 3; plane++) {
        const int index = static_cast<int>(plane);
        stride_[plane] = stride_of(shape, index);
        offset_[plane] = samples + kBorder * stride_[plane] + kBorder;
        samples += stride_[plane] * (shape.plane_height(index) + 2 * kBorder);
    }
    origins_.assign(shape.blocks(), Origin::unknown);
}

size_t Frame::sample_bytes(const Shape &shape) {
    ptrdiff_t samples = 0;
    for (int plane = 0; plane < 3; plane++)
        samples += stride_of(shape, plane) * (shape.plane_height(plane) + 2 * kBorder);
    return static_cast<size_t>(samples) * (shape.wide() ? 2 : 1);
}

pixels::Picture Frame::picture() {
    pixels::Picture view;
    const int bytes = shape_.wide() ? 2 : 1;
    for (int plane = 0; plane < 3; plane++) {
        view.data[plane] =
            shape_.wide() ? reinterpret_cast<uint8_t *>(row<uint16_t>(plane, 0)) : row<uint8_t>(plane, 0);
        view.stride[plane] = stride(plane) * bytes;
    }
    return view;
}

void Frame::copy_from(const Frame &other) {
    std::memcpy(data_.get(), other.data_.get(), bytes_);
    copy_knowledge(other);
}

void Frame::copy_knowledge(const Frame &other) {
    origins_ = other.origins_;
    time = other.time;
}

void Frame::pad(pixels::ThreadPool &pool) {
    if (shape_.wide())
        pad_samples<uint16_t>(*this, pool);
    else
        pad_samples<uint8_t>(*this, pool);
}

struct FramePool::Shelf {
    explicit Shelf(Make maker) : make(std::move(maker)) {}

    const Make make;
    mutable std::mutex mutex;
    std::vector<std::unique_ptr<Frame>> free;
    size_t bytes = 0;
};

FramePool::FramePool(Make make) : shelf_(std::make_shared<Shelf>(std::move(make))) {}

FramePtr FramePool::take() {
    std::unique_ptr<Frame> frame;
    {
        const std::lock_guard lock(shelf_->mutex);
        if (!shelf_->free.empty()) {
            frame = std::move(shelf_->free.back());
            shelf_->free.pop_back();
        }
    }
    if (!frame) {
        frame = shelf_->make();
        const std::lock_guard lock(shelf_->mutex);
        shelf_->bytes += frame->bytes();
    }
    return {frame.release(), [shelf = shelf_](Frame *back) {
                std::unique_ptr<Frame> owned(back);
                const std::lock_guard lock(shelf->mutex);
                shelf->free.push_back(std::move(owned));
            }};
}

void FramePool::reserve(int count) {
    std::vector<FramePtr> frames;
    for (int i = 0; i < count; i++)
        frames.push_back(take());
}

size_t FramePool::bytes() const {
    const std::lock_guard lock(shelf_->mutex);
    return shelf_->bytes;
}

void import_picture(const pixels::PictureFormat &format, const pixels::ConstPicture &picture, Frame &frame,
                    pixels::ThreadPool &pool) {
    if (frame.shape().wide())
        import_samples<uint16_t>(format, picture, frame, pool);
    else
        import_samples<uint8_t>(format, picture, frame, pool);
    frame.pad(pool);
}

void export_picture(const Frame &frame, const pixels::PictureFormat &format, const pixels::Picture &picture,
                    pixels::ThreadPool &pool) {
    if (frame.shape().wide())
        export_samples<uint16_t>(frame, format, picture, pool);
    else
        export_samples<uint8_t>(frame, format, picture, pool);
}

} // namespace clv::mesh
