// SPDX-License-Identifier: BSD-2-Clause
#include "core/net_painter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "core/checks.h"
#include "core/error.h"

namespace clv {
namespace {

constexpr int kBestSize = 512; // for nets that do not say theirs
// Width of what the net sees over the width of the hole. More makes all that it sees smaller: 1.5 and 2 are
// equal for holes as high as the picture, and 1.5 is 0.3 dB better for smaller ones (inpaint_v1_fast).
constexpr double kContext = 1.5;
constexpr int kPositionRows = 8;  // of the net, that one task gathers
constexpr int kPictureRows = 16;  // that one task writes
constexpr double kTouches = 1e-6; // of a sample: less of it in an area is a rounding error

int round_up(int value, int multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// code = value * span + offset, in the tensor's values (pixels.h).
struct Scale {
    float span;
    float offset;
};

Scale luma_scale(const pixels::PictureFormat &format) {
    const auto unit = static_cast<float>(1 << (format.bit_depth - 8));
    const auto top = static_cast<float>((1 << format.bit_depth) - 1);
    return format.full_range ? Scale{top, 0.5F * top} : Scale{219 * unit, 16 * unit + 0.5F * 219 * unit};
}

Scale chroma_scale(const pixels::PictureFormat &format) {
    const auto unit = static_cast<float>(1 << (format.bit_depth - 8));
    const auto top = static_cast<float>((1 << format.bit_depth) - 1);
    return {format.full_range ? top : 224 * unit, 128 * unit};
}

/// What one output sample of an average takes: samples [first, first + weights' count).
struct Area {
    int first;
    int count;
    size_t weights; ///< place of the first one in Areas::weights
};

/// Averages over [start + i * step, start + (i + 1) * step) of a row of `size` samples, i = 0..count-1.
/// Beyond its ends the row goes on with its last sample.
class Areas {
public:
    Areas(double start, double step, int count, int size) {
        for (int i = 0; i < count; i++) {
            const double begin = start + i * step;
            const double end = begin + step;
            const int first = std::clamp(static_cast<int>(std::floor(begin + kTouches)), 0, size - 1);
            const int last = std::clamp(static_cast<int>(std::ceil(end - kTouches)) - 1, first, size - 1);
            areas_.push_back({first, last - first + 1, weights_.size()});
            for (int k = first; k <= last; k++) {
                const double from = k == 0 ? begin : std::max<double>(begin, k);
                const double to = k == size - 1 ? end : std::min<double>(end, k + 1);
                weights_.push_back(static_cast<float>(std::max(0.0, to - from) / step));
            }
        }
    }

    int begin() const { return areas_.front().first; }
    int end() const { return areas_.back().first + areas_.back().count; }
    const Area &operator[](int i) const { return areas_[static_cast<size_t>(i)]; }
    const float *weights(const Area &area) const { return weights_.data() + area.weights; }

private:
    std::vector<Area> areas_;
    std::vector<float> weights_;
};

/// Catmull-Rom's cubic at `place` of a row of `size` samples, which goes on with its last sample.
struct Taps {
    int index[4];
    float weight[4];

    Taps(double place, int size) {
        const int base = static_cast<int>(std::floor(place));
        const auto t = static_cast<float>(place - base);
        weight[0] = t * (-0.5F + t * (1.0F - 0.5F * t));
        weight[1] = 1.0F + t * t * (-2.5F + 1.5F * t);
        weight[2] = t * (0.5F + t * (2.0F - 1.5F * t));
        weight[3] = t * t * (-0.5F + 0.5F * t);
        for (int i = 0; i < 4; i++)
            index[i] = std::clamp(base - 1 + i, 0, size - 1);
    }
};

/// out[i] = average of plane rows `rows` and columns `columns` [i], as codes.
template <class Sample>
void average_row(const uint8_t *data, ptrdiff_t stride, const Areas &columns, int count,
                 const float *row_weights, const Area &rows, std::vector<float> &scratch, float *out) {
    const int begin = columns.begin();
    const int width = columns.end() - begin;
    scratch.assign(static_cast<size_t>(width), 0.0F);
    for (int r = 0; r < rows.count; r++) {
        const auto *row = reinterpret_cast<const Sample *>(data + (rows.first + r) * stride) + begin;
        const float weight = row_weights[r];
        for (int x = 0; x < width; x++)
            scratch[static_cast<size_t>(x)] += weight * static_cast<float>(row[x]);
    }
    for (int i = 0; i < count; i++) {
        const Area &area = columns[i];
        const float *weight = columns.weights(area);
        const float *from = scratch.data() + (area.first - begin);
        float sum = 0;
        for (int k = 0; k < area.count; k++)
            sum += weight[k] * from[k];
        out[i] = sum;
    }
}

/// One row of interpolated samples where `hole` says so.
template <class Sample>
void write_row(uint8_t *data, const std::vector<float> &plane, int plane_width, const Taps &rows,
               const std::vector<Taps> &columns, int first, const uint8_t *hole, const Scale &scale,
               float top, std::vector<float> &scratch) {
    scratch.resize(static_cast<size_t>(plane_width));
    const float *from[4];
    for (int i = 0; i < 4; i++)
        from[i] = plane.data() + static_cast<ptrdiff_t>(rows.index[i]) * plane_width;
    for (int x = 0; x < plane_width; x++)
        scratch[static_cast<size_t>(x)] = rows.weight[0] * from[0][x] + rows.weight[1] * from[1][x] +
                                          rows.weight[2] * from[2][x] + rows.weight[3] * from[3][x];
    auto *to = reinterpret_cast<Sample *>(data);
    for (size_t i = 0; i < columns.size(); i++) {
        const ptrdiff_t x = first + static_cast<ptrdiff_t>(i);
        if (!hole[x])
            continue;
        float value = 0;
        for (int k = 0; k < 4; k++)
            value += columns[i].weight[k] * scratch[static_cast<size_t>(columns[i].index[k])];
        const float code = std::floor(value * scale.span + (scale.offset + 0.5F));
        to[x] = static_cast<Sample>(std::clamp(code, 0.0F, top));
    }
}

} // namespace

/// Where the net looks: its luma sample (X, Y) is the area of `step` x `step` samples at
/// (left + X * step, top + Y * step) of the picture.
struct NetPainter::Excerpt {
    int left = 0; ///< even
    int top = 0;
    double step = 1;
};

struct NetPainter::Job {
    const pixels::Picture &picture;
    int width;
    int height;
    const uint8_t *hole;
    ptrdiff_t hole_stride;
    // The hole's bounds, first to one past the last; even at the first.
    int left, right, top, bottom;
    Excerpt excerpt;

    int chroma_width() const { return (width + 1) / 2; }
    int chroma_height() const { return (height + 1) / 2; }
    const uint8_t *hole_row(int y) const { return hole + y * hole_stride; }

    /// False when there is no hole.
    bool find_bounds() {
        left = width, right = 0, top = height, bottom = 0;
        for (int y = 0; y < height; y++) {
            const uint8_t *row = hole_row(y);
            const uint8_t *end = row + width;
            const auto is_hole = [](uint8_t value) { return value != 0; };
            const uint8_t *first = std::find_if(row, end, is_hole);
            if (first == end)
                continue;
            const auto last =
                std::find_if(std::make_reverse_iterator(end), std::make_reverse_iterator(row), is_hole);
            left = std::min(left, static_cast<int>(first - row));
            right = std::max(right, static_cast<int>(last.base() - row));
            top = std::min(top, y);
            bottom = y + 1;
        }
        left &= ~1;
        top &= ~1;
        return right > left;
    }

    void choose_excerpt(int net_width, int net_height) {
        const auto share = [](int samples, int net) { return static_cast<double>(samples) / net; };
        const double wanted =
            kContext * std::max(share(right - left, net_width), share(bottom - top, net_height));
        const double whole = std::max(share(width, net_width), share(height, net_height));
        excerpt.step = std::max(1.0, std::min(wanted, whole));
        const auto place = [&](int first, int last, int size, int net) {
            const double extent = net * excerpt.step;
            const double centred = 0.5 * (first + last) - 0.5 * extent;
            return static_cast<int>(std::clamp(centred, 0.0, std::max(0.0, size - extent))) & ~1;
        };
        excerpt.left = place(left, right, width, net_width);
        excerpt.top = place(top, bottom, height, net_height);
    }
};

NetPainter::NetPainter(clv_context &context, std::shared_ptr<const Bundle> bundle,
                       const pixels::PictureFormat &format, const EngineOptions &options,
                       pixels::ThreadPool &pool, const MakeEngine &make)
    : bundle_(std::move(bundle)), format_(format), pool_(pool) {
    const int best = bundle_->best_size ? bundle_->best_size : kBestSize;
    const double shrink = std::max(1.0, static_cast<double>(std::max(format.width, format.height)) / best);
    const auto side = [&](int size, int least) {
        const int fitting = std::max(static_cast<int>(std::lround(size / shrink)), least);
        return round_up(round_up(fitting, bundle_->multiple_of), 2);
    };
    input_ = {7, side(format.height, bundle_->min_height) / 2, side(format.width, bundle_->min_width) / 2};

    const auto start = std::chrono::steady_clock::now();
    engine_ = make(*bundle_, input_, options);
    const TensorShape wanted = {6, input_.height, input_.width};
    if (engine_.model->output() != wanted || engine_.model->output_type() != ElementType::f32)
        throw Error(CLV_ERR_UNSUPPORTED, "model " + bundle_->name + " gives " +
                                             engine_.model->output().text() + " for " + input_.text() +
                                             ": layout yuv420_s2d_mask needs 6 channels of the same size");
    request_ = engine_.model->create_request();
    const auto positions = static_cast<size_t>(input_.height * input_.width);
    blocks_.resize(positions);
    luma_.resize(4 * positions);
    for (auto &plane : chroma_)
        plane.resize(positions);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    char milliseconds[32];
    std::snprintf(milliseconds, sizeof(milliseconds), "%.0f", took.count());
    context.log(CLV_LOG_INFO, "model " + bundle_->name + ": paints at " +
                                  size_text(net_width(), net_height()) + " for pictures of " +
                                  size_text(format.width, format.height) + " on " + engine_.text() +
                                  ", threads=" + std::to_string(engine_.model->threads()) + ", compiled in " +
                                  milliseconds + " ms");
}

void NetPainter::paint(const pixels::Picture &picture, int width, int height, const uint8_t *hole,
                       ptrdiff_t hole_stride) {
    Job job = {picture, width, height, hole, hole_stride, 0, 0, 0, 0, {}};
    if (!job.find_bounds())
        return;
    job.choose_excerpt(net_width(), net_height());
    gather(job);
    if (std::find(blocks_.begin(), blocks_.end(), 0) == blocks_.end()) {
        fill_grey(job);
        return;
    }
    run();
    put_back(job);
}

/// The excerpt -> the net's tensor, its blocks of hole zeroed.
void NetPainter::gather(const Job &job) {
    const int rows = static_cast<int>(input_.height);
    const int columns = static_cast<int>(input_.width);
    const auto plane = static_cast<size_t>(rows) * static_cast<size_t>(columns);
    const auto chroma_width = static_cast<size_t>(job.chroma_width());
    const Excerpt &excerpt = job.excerpt;
    const Areas luma_columns(excerpt.left, excerpt.step, 2 * columns, job.width);
    const Areas luma_rows(excerpt.top, excerpt.step, 2 * rows, job.height);
    const Areas chroma_columns(excerpt.left / 2, excerpt.step, columns, job.chroma_width());
    const Areas chroma_rows(excerpt.top / 2, excerpt.step, rows, job.chroma_height());

    // A chroma sample is hole when any luma sample of its 2x2 block is; a position of the net when any chroma
    // sample of its area is.
    chroma_hole_.assign(chroma_width * static_cast<size_t>(job.chroma_height()), 0);
    for (int y = job.top; y < job.bottom; y++) {
        const uint8_t *row = job.hole_row(y);
        uint8_t *to = chroma_hole_.data() + static_cast<size_t>(y / 2) * chroma_width;
        for (int x = job.left; x < job.right; x++)
            to[x / 2] |= static_cast<uint8_t>(row[x] != 0);
    }

    float *const tensor = request_->input().data();
    const Scale luma = luma_scale(format_);
    const Scale chroma = chroma_scale(format_);
    const bool wide = format_.bit_depth > 8;
    const auto average = [&](int index, const Areas &across, int count, const Areas &down, int row,
                             std::vector<float> &scratch, float *out) {
        const Area &area = down[row];
        auto *const average_of = wide ? &average_row<uint16_t> : &average_row<uint8_t>;
        average_of(job.picture.data[index], job.picture.stride[index], across, count, down.weights(area),
                   area, scratch, out);
    };
    pool_.parallel_for(0, rows, kPositionRows, [&](int first, int last) {
        std::vector<float> scratch, line(static_cast<size_t>(2 * columns));
        for (int y = first; y < last; y++) {
            uint8_t *block = blocks_.data() + static_cast<size_t>(y) * static_cast<size_t>(columns);
            const Area &down = chroma_rows[y];
            for (int x = 0; x < columns; x++) {
                const Area &across = chroma_columns[x];
                uint8_t any = 0;
                for (int k = 0; k < down.count; k++)
                    for (int i = 0; i < across.count; i++)
                        any |= chroma_hole_[static_cast<size_t>(down.first + k) * chroma_width +
                                            static_cast<size_t>(across.first + i)];
                block[x] = any;
            }
            const size_t place = static_cast<size_t>(y) * static_cast<size_t>(columns);
            for (int r = 0; r < 2; r++) {
                average(0, luma_columns, 2 * columns, luma_rows, 2 * y + r, scratch, line.data());
                float *even = tensor + (2 * static_cast<size_t>(r)) * plane + place;
                float *odd = even + plane;
                for (int x = 0; x < columns; x++) {
                    const float left = (line[static_cast<size_t>(2 * x)] - luma.offset) / luma.span;
                    const float right = (line[static_cast<size_t>(2 * x + 1)] - luma.offset) / luma.span;
                    even[x] = block[x] ? 0.0F : left;
                    odd[x] = block[x] ? 0.0F : right;
                }
            }
            for (int c = 0; c < 2; c++) {
                average(1 + c, chroma_columns, columns, chroma_rows, y, scratch, line.data());
                float *to = tensor + (4 + static_cast<size_t>(c)) * plane + place;
                for (int x = 0; x < columns; x++)
                    to[x] = block[x] ? 0.0F : (line[static_cast<size_t>(x)] - chroma.offset) / chroma.span;
            }
            float *mask = tensor + 6 * plane + place;
            for (int x = 0; x < columns; x++)
                mask[x] = block[x] ? 1.0F : 0.0F;
        }
    });
}

/// One inference; then the planes that are put back: the net's in blocks of hole, the picture's around them.
void NetPainter::run() {
    request_->start();
    request_->wait();
    const auto *painted = static_cast<const float *>(request_->output());
    const float *given = request_->input().data();
    const auto columns = static_cast<size_t>(input_.width);
    const size_t plane = blocks_.size();
    bool finite = true;
    const auto merged = [&](size_t channel, size_t place) {
        const float value = (blocks_[place] ? painted : given)[channel * plane + place];
        finite = finite && std::isfinite(value);
        return value;
    };
    for (size_t place = 0; place < plane; place++) {
        const size_t x = place % columns;
        const size_t corner = place / columns * 4 * columns + 2 * x;
        luma_[corner] = merged(0, place);
        luma_[corner + 1] = merged(1, place);
        luma_[corner + 2 * columns] = merged(2, place);
        luma_[corner + 2 * columns + 1] = merged(3, place);
        chroma_[0][place] = merged(4, place);
        chroma_[1][place] = merged(5, place);
    }
    if (!finite)
        throw Error(CLV_ERR_INFERENCE,
                    "model " + bundle_->name + " painted values that are no numbers: try precision=fp32");
}

void NetPainter::put_back(const Job &job) {
    const auto top = static_cast<float>((1 << format_.bit_depth) - 1);
    const bool wide = format_.bit_depth > 8;
    const Excerpt &excerpt = job.excerpt;
    const auto taps = [&](int first, int last, int origin, int size) {
        std::vector<Taps> list;
        list.reserve(static_cast<size_t>(std::max(0, last - first)));
        for (int i = first; i < last; i++)
            list.emplace_back((i + 0.5 - origin) / excerpt.step - 0.5, size);
        return list;
    };
    const auto write = [&](int index, const std::vector<float> &plane, int plane_width, int plane_height,
                           int divide, const uint8_t *hole, ptrdiff_t hole_stride, const Scale &scale) {
        const int first = job.left / divide;
        const int begin = job.top / divide;
        const auto across =
            taps(first, (job.right + divide - 1) / divide, excerpt.left / divide, plane_width);
        const auto down = taps(begin, (job.bottom + divide - 1) / divide, excerpt.top / divide, plane_height);
        auto *const write_to = wide ? &write_row<uint16_t> : &write_row<uint8_t>;
        pool_.parallel_for(0, static_cast<int>(down.size()), kPictureRows, [&](int from, int to) {
            std::vector<float> scratch;
            for (int i = from; i < to; i++) {
                const ptrdiff_t y = begin + i;
                write_to(job.picture.data[index] + y * job.picture.stride[index], plane, plane_width,
                         down[static_cast<size_t>(i)], across, first, hole + y * hole_stride, scale, top,
                         scratch);
            }
        });
    };
    const int columns = static_cast<int>(input_.width);
    const int rows = static_cast<int>(input_.height);
    write(0, luma_, 2 * columns, 2 * rows, 1, job.hole, job.hole_stride, luma_scale(format_));
    for (int c = 0; c < 2; c++)
        write(1 + c, chroma_[c], columns, rows, 2, chroma_hole_.data(), job.chroma_width(),
              chroma_scale(format_));
}

/// What there is to say when nothing was seen: the middle of the range.
void NetPainter::fill_grey(const Job &job) {
    std::fill(luma_.begin(), luma_.end(), 0.0F);
    for (auto &plane : chroma_)
        std::fill(plane.begin(), plane.end(), 0.0F);
    put_back(job);
}

} // namespace clv
