// SPDX-License-Identifier: BSD-2-Clause
//
// One zimg graph with its scratch memory. zimg wants aligned rows; pictures come with any stride and
// alignment and tensors with any width. So a graph reads from and writes to rings of a few aligned rows, and
// the caller moves rows between those and the real planes when asked to:
//
//     picture --Feed--> input ring --zimg--> output ring --Drain--> tensor          (and the other way round)
//
// The rings stay in the cache, so this costs little more than the reads and writes that must be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>

#include <zimg.h>

namespace clv::pixels {

struct AlignedFree {
    void operator()(std::byte *p) const { ::operator delete[](p, std::align_val_t{64}); }
};
using AlignedBytes = std::unique_ptr<std::byte[], AlignedFree>;

/// `planes` rings of rows. Rows of subsampled planes are counted in their own units.
class RowRing {
public:
    RowRing(const zimg_image_format &format, unsigned lines);

    std::byte *row(int plane, unsigned line) const {
        const Plane &p = planes_[plane];
        return p.data + static_cast<std::ptrdiff_t>(line & p.mask) * p.stride;
    }
    template <typename Buffer>
    Buffer buffer() const {
        Buffer out{};
        out.version = ZIMG_API_VERSION;
        for (int p = 0; p < count_; p++) {
            out.plane[p].data = planes_[p].data;
            out.plane[p].stride = planes_[p].stride;
            out.plane[p].mask = planes_[p].mask;
        }
        return out;
    }

private:
    struct Plane {
        std::byte *data = nullptr;
        std::ptrdiff_t stride = 0;
        unsigned mask = 0;
    };
    int count_;
    Plane planes_[3];
    AlignedBytes memory_;
};

/// `line` and the columns [left, right) are those of the full-size plane; for 4:2:0 two lines and the chroma
/// line between them are meant. Must not throw.
using MoveRows = std::function<void(const RowRing &ring, unsigned line, unsigned left, unsigned right)>;

class ZimgGraph {
public:
    /// Throws std::runtime_error with zimg's reason.
    ZimgGraph(const zimg_image_format &from, const zimg_image_format &to,
              const zimg_graph_builder_params &params);

    void process(const MoveRows &feed, const MoveRows &drain);

private:
    struct Free {
        void operator()(zimg_filter_graph *graph) const { zimg_filter_graph_free(graph); }
    };
    std::unique_ptr<zimg_filter_graph, Free> graph_;
    AlignedBytes scratch_;
    std::unique_ptr<RowRing> input_;
    std::unique_ptr<RowRing> output_;
};

} // namespace clv::pixels
