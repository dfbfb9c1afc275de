// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/cuda/surfaces.h"

#include <algorithm>

#include "mesh/light.h"

namespace clv::mesh::cuda {
namespace {

constexpr int kTop = 4096; ///< elements of a level that one block of threads does in good time
constexpr unsigned kTopThreads = 512;

} // namespace

const Pyramids &DevicePullPush::plan(const int (&width)[3], const int (&height)[3]) {
    size_t elements = 0;
    for (int plane = 0; plane < 3; plane++) {
        int w = width[plane];
        int h = height[plane];
        int count = 0;
        int wide = -1;
        for (;; w = (w + 1) / 2, h = (h + 1) / 2) {
            pyramids_.levels[plane][count] = {w, h, static_cast<uint32_t>(elements)};
            if (wide < 0 && int64_t{w} * h <= kTop)
                wide = count;
            elements += static_cast<size_t>(w) * static_cast<size_t>(h);
            count++;
            if (w <= 1 && h <= 1)
                break;
        }
        pyramids_.count[plane] = count;
        pyramids_.wide[plane] = wide;
    }
    if (2 * elements * sizeof(float) > memory_.bytes()) {
        memory_ = {}; // not two at a time
        memory_ = clv::cuda::Buffer(place_, 2 * elements * sizeof(float));
    }
    pyramids_.values = memory_.get<float>();
    pyramids_.weights = pyramids_.values + elements;
    return pyramids_;
}

void DevicePullPush::fill(float otherwise) {
    const int wide = *std::max_element(pyramids_.wide, pyramids_.wide + 3);
    const auto widest = [&](int level, int Level::*size) {
        int most = 0;
        for (int plane = 0; plane < 3; plane++)
            if (level < pyramids_.count[plane])
                most = std::max(most, pyramids_.levels[plane][level].*size);
        return most;
    };
    for (int level = 0; level < wide; level++)
        launch(kernels_.pull, widest(level + 1, &Level::width), widest(level + 1, &Level::height), 3,
               PullParams{pyramids_, level}, place_);
    kernels_.top.launch(dim3(3), dim3(kTopThreads), TopParams{pyramids_, otherwise},
                        clv::cuda::stream_of(place_));
    for (int level = wide - 1; level >= 0; level--)
        launch(kernels_.push, widest(level, &Level::width), widest(level, &Level::height), 3,
               PushParams{pyramids_, level}, place_);
}

DeviceMembrane::DeviceMembrane(const clv::cuda::Place &place, const Shape &shape, const Kernels &kernels)
    : place_(place), shape_(shape), kernels_(kernels),
      columns_((shape.block_columns() + Membrane::kCell - 1) / Membrane::kCell),
      rows_((shape.block_rows() + Membrane::kCell - 1) / Membrane::kCell),
      memory_(place,
              size_t{2} * 3 * static_cast<size_t>(columns_) * static_cast<size_t>(rows_) * sizeof(float)) {
    clv::cuda::fill_async(place_, memory_.get(), 0, memory_.bytes());
}

void DeviceMembrane::clear() {
    clv::cuda::fill_async(place_, side(turn_), 0, memory_.bytes() / 2);
}

void DeviceMembrane::reset() {
    warm_ = false;
    clear();
}

void DeviceMembrane::update(const BlockMap &map, const Frame &canvas, const Frame &now, const Field &back,
                            DevicePullPush &pyramids, Uploads &uploads) {
    constexpr int kCell = Membrane::kCell;
    turn_ = 1 - turn_;
    const Box last = cells_;
    cells_ = Box{map.box.x0 / kCell, map.box.y0 / kCell, (map.box.x1 + kCell - 1) / kCell,
                 (map.box.y1 + kCell - 1) / kCell}
                 .grown(1, columns_, rows_);
    clear();
    if (cells_.empty()) {
        warm_ = false;
        return;
    }
    const int width = cells_.width();
    const int height = cells_.height();
    const Pyramids &levels = pyramids.plan({width, width, width}, {height, height, height});
    launch(kernels_.cells, width, height, 1,
           CellParams{map, area_of(cells_), canvas.data(), now.data(), layout_of(now), shape_.unit(), levels},
           place_);
    pyramids.fill(0);

    const Box luma{2 * kCell * cells_.x0, 2 * kCell * cells_.y0, 2 * kCell * cells_.x1,
                   2 * kCell * cells_.y1};
    const NodeBox nodes(back, luma);
    const Upload<Way> ways = uploads.reserve<Way>(nodes.count());
    nodes.copy(back, ways.host);
    uploads.send();
    launch(kernels_.mix, width, height, 3,
           MixParams{levels, area_of(cells_), area_of(last), warm_, columns_, rows_, nodes.at(ways.device),
                     back.columns(), back.rows(), side(1 - turn_), side(turn_)},
           place_);
    warm_ = true;
}

} // namespace clv::mesh::cuda
