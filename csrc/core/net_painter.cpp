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
#include "core/excerpt.h"

namespace clv {
namespace {

constexpr int kPositionRows = 8; // of the net, that one task gathers
constexpr int kPictureRows = 16; // that one task writes

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
               const std::vector<Taps> &columns, int first, const uint8_t *hole, const CodeScale &scale,
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

struct NetPainter::Job {
    const pixels::Picture &picture;
    int width;
    int height;
    const uint8_t *hole;
    ptrdiff_t hole_stride;
    HoleBounds bounds;
    Excerpt excerpt;

    int chroma_width() const { return (width + 1) / 2; }
    int chroma_height() const { return (height + 1) / 2; }
    const uint8_t *hole_row(int y) const { return hole + y * hole_stride; }
};

NetPainter::NetPainter(clv_context &context, std::shared_ptr<const Bundle> bundle,
                       const pixels::PictureFormat &format, const EngineOptions &options,
                       pixels::ThreadPool &pool)
    : bundle_(std::move(bundle)), format_(format), pool_(pool) {
    input_ = painter_input(*bundle_, format);

    const auto start = std::chrono::steady_clock::now();
    engine_ = make_engine(*bundle_, input_, options);
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
    const HoleBounds bounds = hole_bounds(hole, hole_stride, width, height);
    if (bounds.empty())
        return;
    const Job job = {picture,
                     width,
                     height,
                     hole,
                     hole_stride,
                     bounds,
                     choose_excerpt(bounds, width, height, net_width(), net_height())};
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
    const Areas chroma_columns(0.5 * excerpt.left, excerpt.step, columns, job.chroma_width());
    const Areas chroma_rows(0.5 * excerpt.top, excerpt.step, rows, job.chroma_height());

    // A chroma sample is hole when any luma sample of its 2x2 block is; a position of the net when any chroma
    // sample of its area is.
    chroma_hole_.assign(chroma_width * static_cast<size_t>(job.chroma_height()), 0);
    for (int y = job.bounds.top; y < job.bounds.bottom; y++) {
        const uint8_t *row = job.hole_row(y);
        uint8_t *to = chroma_hole_.data() + static_cast<size_t>(y / 2) * chroma_width;
        for (int x = job.bounds.left; x < job.bounds.right; x++)
            to[x / 2] |= static_cast<uint8_t>(row[x] != 0);
    }

    float *const tensor = request_->input().data();
    const CodeScale luma = luma_scale(format_);
    const CodeScale chroma = chroma_scale(format_);
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
    const auto write = [&](int index, const std::vector<float> &plane, int plane_width, int plane_height,
                           int divide, const uint8_t *hole, ptrdiff_t hole_stride, const CodeScale &scale) {
        const int first = job.bounds.left / divide;
        const int begin = job.bounds.top / divide;
        const auto across = taps_of(first, (job.bounds.right + divide - 1) / divide, excerpt.left / divide,
                                    excerpt.step, plane_width);
        const auto down = taps_of(begin, (job.bounds.bottom + divide - 1) / divide, excerpt.top / divide,
                                  excerpt.step, plane_height);
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
