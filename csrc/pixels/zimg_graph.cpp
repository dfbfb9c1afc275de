// SPDX-License-Identifier: BSD-2-Clause

#include "zimg_graph.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace clv::pixels {
namespace {

constexpr std::size_t alignment = 64;

std::size_t round_up(std::size_t size) {
    return (size + alignment - 1) / alignment * alignment;
}

AlignedBytes allocate(std::size_t size) {
    const std::size_t rounded = std::max(round_up(size), alignment);
    auto *memory = static_cast<std::byte *>(::operator new[](rounded, std::align_val_t{alignment}));
    std::fill_n(memory, rounded, std::byte{0}); // zimg reads whole vectors: never uninitialised memory
    return AlignedBytes(memory);
}

std::size_t bytes_of(zimg_pixel_type_e type) {
    return type == ZIMG_PIXEL_BYTE ? 1 : type == ZIMG_PIXEL_FLOAT ? 4 : 2;
}

[[noreturn]] void fail(const char *what) {
    char reason[256] = "";
    zimg_get_last_error(reason, sizeof reason);
    throw std::runtime_error(std::string(what) +
                             " failed in zimg: " + (*reason ? reason : "no reason given"));
}

void check(zimg_error_code_e code, const char *what) {
    if (code != ZIMG_ERROR_SUCCESS)
        fail(what);
}

struct Mover {
    const MoveRows *move;
    const RowRing *ring;

    static int call(void *user, unsigned line, unsigned left, unsigned right) {
        const auto *mover = static_cast<const Mover *>(user);
        (*mover->move)(*mover->ring, line, left, right);
        return 0;
    }
};

} // namespace

RowRing::RowRing(const zimg_image_format &format, unsigned lines)
    : count_(format.color_family == ZIMG_COLOR_GREY ? 1 : 3) {
    const unsigned mask = zimg_select_buffer_mask(lines);
    std::size_t offsets[3] = {};
    std::size_t total = 0;
    for (int p = 0; p < count_; p++) {
        const unsigned sub_w = p > 0 ? format.subsample_w : 0;
        const unsigned sub_h = p > 0 ? format.subsample_h : 0;
        const std::size_t stride = round_up((format.width >> sub_w) * bytes_of(format.pixel_type));
        const bool whole = mask == ZIMG_BUFFER_MAX;
        const std::size_t rows = whole ? format.height >> sub_h : (std::size_t{mask} >> sub_h) + 1;
        planes_[p].stride = static_cast<std::ptrdiff_t>(stride);
        planes_[p].mask = whole ? mask : mask >> sub_h;
        offsets[p] = total;
        total += stride * rows;
    }
    memory_ = allocate(total);
    for (int p = 0; p < count_; p++)
        planes_[p].data = memory_.get() + offsets[p];
}

ZimgGraph::ZimgGraph(const zimg_image_format &from, const zimg_image_format &to,
                     const zimg_graph_builder_params &params)
    : graph_(zimg_filter_graph_build(&from, &to, &params)) {
    if (!graph_)
        fail("setting up a colour conversion");
    std::size_t scratch = 0;
    unsigned lines_in = 0;
    unsigned lines_out = 0;
    check(zimg_filter_graph_get_tmp_size(graph_.get(), &scratch), "sizing a colour conversion");
    check(zimg_filter_graph_get_input_buffering(graph_.get(), &lines_in), "sizing a colour conversion");
    check(zimg_filter_graph_get_output_buffering(graph_.get(), &lines_out), "sizing a colour conversion");
    scratch_ = allocate(scratch);
    input_ = std::make_unique<RowRing>(from, lines_in);
    output_ = std::make_unique<RowRing>(to, lines_out);
}

void ZimgGraph::process(const MoveRows &feed, const MoveRows &drain) {
    const auto from = input_->buffer<zimg_image_buffer_const>();
    const auto to = output_->buffer<zimg_image_buffer>();
    Mover feeder{&feed, input_.get()};
    Mover drainer{&drain, output_.get()};
    check(zimg_filter_graph_process(graph_.get(), &from, &to, scratch_.get(), Mover::call, &feeder,
                                    Mover::call, &drainer),
          "a colour conversion");
}

} // namespace clv::pixels
