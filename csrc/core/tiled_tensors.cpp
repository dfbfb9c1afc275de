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
template <class Pointer>
struct Tensor {
    Pointer data;
    const TensorShape &shape;
    int64_t element;

    Pointer at(int64_t channel, int64_t row, int64_t column) const {
        return data + ((channel * shape.height + row) * shape.width + column) * element;
    }
    ptrdiff_t stride() const { return static_cast<ptrdiff_t>(shape.width * element); }
};
using Source = Tensor<const std::byte *>;
using Target = Tensor<std::byte *>;

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
        const Source picture{static_cast<const std::byte *>(in), plan_.input, in_bytes()};
        const Target cut{static_cast<std::byte *>(in_->data()), plan_.tile, in_bytes()};
        const Source done{static_cast<const std::byte *>(out_->data()), tile_output_, out_bytes()};
        const Target result{static_cast<std::byte *>(out), output_, out_bytes()};
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

    /// A rectangle of every channel. Channels follow each other without a gap, so that those of full height
    /// are one rectangle.
    void copy(const Source &from, int64_t top, int64_t left, const Target &to, int64_t to_top,
              int64_t to_left, int64_t height, int64_t width) {
        const bool tall = height == from.shape.height && height == to.shape.height;
        const int64_t rows = tall ? height * from.shape.channels : height;
        for (int64_t c = 0; c < (tall ? 1 : from.shape.channels); c++)
            services_.copy(place_, from.at(c, top, left), from.stride(), to.at(c, to_top, to_left),
                           to.stride(), static_cast<size_t>(width * from.element), static_cast<int>(rows));
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
