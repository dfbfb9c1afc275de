// SPDX-License-Identifier: BSD-2-Clause
#include "core/tiled_tensors.h"

#include "core/error.h"
#include "core/tiled_model.h"

namespace clv {
namespace {

int64_t bytes_of(ElementType type) {
    return type == ElementType::f16 ? 2 : 4;
}

/// A contiguous NCHW tensor.
struct Tensor {
    void *data;
    const TensorShape &shape;
    int64_t element;

    DeviceWindow at(int64_t row, int64_t column) const {
        return {data, static_cast<size_t>(shape.width * element), static_cast<size_t>(shape.height),
                static_cast<size_t>(column * element), static_cast<size_t>(row)};
    }
};

class TiledTensors final : public TensorModel {
public:
    TiledTensors(std::unique_ptr<TensorModel> tile, const TilePlan &plan, const cuda::Place &place,
                 CudaServices &services, const std::string &name)
        : plan_(plan), place_(place), services_(services), tile_(std::move(tile)),
          tile_output_(tile_->output()),
          scale_(tile_scale(plan.tile, tile_output_, name)), output_{tile_output_.channels,
                                                                     plan.input.height * scale_,
                                                                     plan.input.width * scale_},
          in_(services.allocate(place, plan.tile.count() * static_cast<size_t>(in_bytes()))),
          out_(services.allocate(place, tile_output_.count() * static_cast<size_t>(out_bytes()))) {}

    TensorShape output() const override { return output_; }
    ElementType input_type() const override { return tile_->input_type(); }
    ElementType output_type() const override { return tile_->output_type(); }
    clv_precision precision() const override { return tile_->precision(); }
    uint64_t device_bytes() const override {
        return tile_->device_bytes() + uint64_t{in_->bytes()} + out_->bytes();
    }
    std::string text() const override { return tile_->text(); }

    void enqueue(const void *in, void *out) override {
        const Tensor picture{const_cast<void *>(in), plan_.input, in_bytes()};
        const Tensor cut{in_->data(), plan_.tile, in_bytes()};
        const Tensor done{out_->data(), tile_output_, out_bytes()};
        const Tensor result{out, output_, out_bytes()};
        for (const TileSpan &rows : plan_.rows)
            for (const TileSpan &columns : plan_.columns) {
                copy(picture, rows.start, columns.start, cut, 0, 0, plan_.tile.height, plan_.tile.width);
                tile_->enqueue(in_->data(), out_->data());
                copy(done, (rows.first - rows.start) * scale_, (columns.first - columns.start) * scale_,
                     result, rows.first * scale_, columns.first * scale_, (rows.last - rows.first) * scale_,
                     (columns.last - columns.first) * scale_);
            }
    }

private:
    int64_t in_bytes() const { return bytes_of(tile_->input_type()); }
    int64_t out_bytes() const { return bytes_of(tile_->output_type()); }

    /// A rectangle of every channel.
    void copy(const Tensor &from, int64_t top, int64_t left, const Tensor &to, int64_t to_top,
              int64_t to_left, int64_t height, int64_t width) {
        services_.copy_window(place_, from.at(top, left), to.at(to_top, to_left),
                              static_cast<size_t>(width * from.element), static_cast<size_t>(height),
                              static_cast<size_t>(from.shape.channels));
    }

    const TilePlan plan_;
    const cuda::Place place_;
    CudaServices &services_;
    const std::unique_ptr<TensorModel> tile_;
    const TensorShape tile_output_;
    const int64_t scale_;
    const TensorShape output_;
    const std::unique_ptr<DeviceMemory> in_;
    const std::unique_ptr<DeviceMemory> out_;
};

} // namespace

std::unique_ptr<TensorModel> tiled_tensors(std::unique_ptr<TensorModel> tile, const TilePlan &plan,
                                           const cuda::Place &place, CudaServices &services,
                                           const std::string &name) {
    return std::make_unique<TiledTensors>(std::move(tile), plan, place, services, name);
}

} // namespace clv
