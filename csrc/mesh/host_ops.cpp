// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/host_ops.h"

#include <algorithm>

#include "core/error.h"
#include "mesh/blend.h"
#include "mesh/diffuse.h"
#include "mesh/light.h"
#include "mesh/luma.h"

namespace clv::mesh {
namespace {

constexpr int kRows = 8; ///< rows of blocks that a thread takes at once

class HostOps final : public PictureOps {
public:
    HostOps(const pixels::PictureFormat &format, pixels::ThreadPool &pool)
        : format_(format), shape_(shape_of(format)), pool_(pool), smooth_(format.bit_depth),
          painter_(&smooth_), membrane_(shape_), result_(shape_) {}

    std::unique_ptr<Frame> make_frame() override { return std::make_unique<Frame>(shape_); }
    void use(Painter *painter) override { painter_ = painter ? painter : &smooth_; }

    void use_on_device(DevicePainter * /*painter*/) override {
        throw Error(CLV_ERR_UNSUPPORTED,
                    "a painter for pictures on a device was given pictures in host memory");
    }

    void import(const pixels::ConstPicture &picture, const clv_mask * /*mask*/, Frame &frame) override {
        import_picture(format_, picture, frame, pool_);
    }
    const clv_mask *host_mask() override { return nullptr; }
    void reduced_luma(const pixels::ConstPicture &picture, uint8_t *to) override {
        const int reduction = reduction_of(shape_.width, shape_.height);
        reduce_luma(format_, picture, reduction, to, reduced_size(shape_.width, reduction), pool_);
    }

    void copy(const Frame &from, Frame &to) override { to.copy_from(from); }
    void pad(Frame &frame) override { frame.pad(pool_); }

    void reset_light(int slot) override { lights_[static_cast<size_t>(slot)] = {}; }
    void match_lights(const Frame &now, const Frame *previous, const Field &back,
                      std::span<const LightTask> tasks) override;
    void draw(const Blocks &blocks, std::span<const Source, kSlots> slots, Frame &canvas) override;
    void overlay(const Blocks &blocks, const Frame &canvas, Frame &picture) override;
    void diffuse(const Blocks &blocks, const Frame &now, Frame &canvas) override;
    void paint(Frame &picture, const Box &box, const uint8_t *hole) override;

    void reset_membrane() override { membrane_.reset(); }
    void update_membrane(const Blocks &blocks, const Frame &canvas, const Frame &now,
                         const Field &back) override {
        membrane_.update(blocks, canvas, now, back);
    }
    void compose(const Composition &composition, const pixels::Picture &output) override;

    size_t bytes() const override { return membrane_.bytes() + result_.bytes(); }

private:
    template <typename Sample>
    void draw_row(const Blocks &blocks, std::span<const Source, kSlots> slots, int row, Frame &canvas) const;
    template <typename Sample>
    void diffuse_plane(const Blocks &blocks, const Box &box, int plane, const Frame &now, Frame &canvas);

    const pixels::PictureFormat format_;
    const Shape shape_;
    pixels::ThreadPool &pool_;
    Diffusion smooth_;
    Painter *painter_;
    std::array<Lights, kSlots> lights_;
    Membrane membrane_;
    Blender blender_;
    PullPush surface_;
    Frame result_;
};

void HostOps::match_lights(const Frame &now, const Frame *previous, const Field &back,
                           std::span<const LightTask> tasks) {
    if (tasks.empty())
        return;
    Lights step;
    const bool stepped = previous && mesh::match_lights(*previous, back, now, step);
    pool_.parallel_for(0, static_cast<int>(tasks.size()), 1, [&](int first, int last) {
        for (int i = first; i < last; i++) {
            const LightTask &task = tasks[static_cast<size_t>(i)];
            Lights &to = lights_[static_cast<size_t>(task.slot)];
            Lights lights;
            if (task.match && mesh::match_lights(*task.source.frame, *task.source.field, now, lights))
                to = lights;
            else if (stepped)
                to = chained(to, step);
        }
    });
}

template <typename Sample>
void HostOps::draw_row(const Blocks &blocks, std::span<const Source, kSlots> slots, int row,
                       Frame &canvas) const {
    const uint8_t *here = blocks.row(row) - blocks.box().x0;
    for (int column = blocks.box().x0; column < blocks.box().x1;) {
        const int slot = Blocks::slot(here[column]);
        const int first = column++;
        if (slot < 0)
            continue;
        while (column < blocks.box().x1 && Blocks::slot(here[column]) == slot)
            column++;
        const Source &from = slots[static_cast<size_t>(slot)];
        const Lights &lights = lights_[static_cast<size_t>(slot)];
        for (int y = 2 * row; y < std::min(2 * row + 2, shape_.height); y++)
            resample_luma(*from.frame, *from.field, lights[0], y, 2 * first,
                          std::min(2 * column, shape_.width), canvas.row<Sample>(0, y));
        resample_chroma(*from.frame, *from.field, lights[1], lights[2], row, first, column,
                        canvas.row<Sample>(1, row), canvas.row<Sample>(2, row));
    }
}

void HostOps::draw(const Blocks &blocks, std::span<const Source, kSlots> slots, Frame &canvas) {
    pool_.parallel_for(blocks.box().y0, blocks.box().y1, kRows, [&](int first, int last) {
        for (int row = first; row < last; row++)
            if (shape_.wide())
                draw_row<uint16_t>(blocks, slots, row, canvas);
            else
                draw_row<uint8_t>(blocks, slots, row, canvas);
    });
}

void HostOps::overlay(const Blocks &blocks, const Frame &canvas, Frame &picture) {
    const int bytes = shape_.wide() ? 2 : 1;
    const pixels::Picture from = const_cast<Frame &>(canvas).picture();
    const pixels::Picture to = picture.picture();
    const auto copy_samples = [&](int plane, int y, int first, int last) {
        std::memcpy(to.data[plane] + y * to.stride[plane] + first * bytes,
                    from.data[plane] + y * from.stride[plane] + first * bytes,
                    static_cast<size_t>(last - first) * static_cast<size_t>(bytes));
    };
    const Box &box = blocks.box();
    for (int row = box.y0; row < box.y1; row++) {
        const uint8_t *here = blocks.row(row) - box.x0;
        for (int column = box.x0; column < box.x1;) {
            const int first = column++;
            if (!Blocks::drawn(here[first]))
                continue;
            while (column < box.x1 && Blocks::drawn(here[column]))
                column++;
            for (int y = 2 * row; y < std::min(2 * row + 2, shape_.height); y++)
                copy_samples(0, y, 2 * first, std::min(2 * column, shape_.width));
            for (int plane = 1; plane < 3; plane++)
                copy_samples(plane, row, first, column);
        }
    }
}

template <typename Sample>
void HostOps::diffuse_plane(const Blocks &blocks, const Box &box, int plane, const Frame &now,
                            Frame &canvas) {
    const int scale = plane == 0 ? 2 : 1;
    const int x0 = scale * box.x0;
    const int y0 = scale * box.y0;
    const int width = std::min(scale * box.x1, shape_.plane_width(plane)) - x0;
    const int height = std::min(scale * box.y1, shape_.plane_height(plane)) - y0;
    surface_.resize(width, height);
    for (int y = 0; y < height; y++) {
        const Sample *seen = now.row<Sample>(plane, y0 + y) + x0;
        const Sample *drawn = canvas.row<Sample>(plane, y0 + y) + x0;
        const int row = (y0 + y) / scale;
        for (int x = 0; x < width; x++) {
            const uint8_t block = blocks.at((x0 + x) / scale, row);
            const size_t at = static_cast<size_t>(y) * width + x;
            surface_.values()[at] = static_cast<float>(block & Blocks::kHole ? drawn[x] : seen[x]);
            surface_.weights()[at] = Blocks::unknown(block) ? 0.F : 1.F;
        }
    }
    surface_.fill(static_cast<float>(1 << (shape_.bit_depth - 1)));
    for (int y = 0; y < height; y++) {
        Sample *to = canvas.row<Sample>(plane, y0 + y) + x0;
        const int row = (y0 + y) / scale;
        for (int x = 0; x < width; x++)
            if (Blocks::unknown(blocks.at((x0 + x) / scale, row)))
                to[x] = code_of<Sample>(surface_.values()[static_cast<size_t>(y) * width + x]);
    }
}

void HostOps::diffuse(const Blocks &blocks, const Frame &now, Frame &canvas) {
    const Box box = blocks.unknown_box().grown(kDiffuseAround, shape_.block_columns(), shape_.block_rows());
    for (int plane = 0; plane < 3; plane++)
        if (shape_.wide())
            diffuse_plane<uint16_t>(blocks, box, plane, now, canvas);
        else
            diffuse_plane<uint8_t>(blocks, box, plane, now, canvas);
}

void HostOps::paint(Frame &picture, const Box &box, const uint8_t *hole) {
    pixels::Picture view = picture.picture();
    const int bytes = shape_.wide() ? 2 : 1;
    for (int plane = 0; plane < 3; plane++) {
        const int divide = plane == 0 ? 1 : 2;
        view.data[plane] += box.y0 / divide * view.stride[plane] + box.x0 / divide * bytes;
    }
    painter_->paint(view, box.width(), box.height(), hole, box.width());
}

void HostOps::compose(const Composition &composition, const pixels::Picture &output) {
    result_.copy_from(composition.now);
    if (composition.fill)
        blender_.blend(composition.canvas, membrane_, composition.hole, composition.feather, result_, pool_);
    if (composition.annotate)
        composition.annotate(result_);
    export_picture(result_, format_, output, pool_);
}

} // namespace

Shape shape_of(const pixels::PictureFormat &format) {
    return {format.width, format.height, format.bit_depth};
}

std::unique_ptr<PictureOps> make_host_ops(const pixels::PictureFormat &format, pixels::ThreadPool &pool) {
    return std::make_unique<HostOps>(format, pool);
}

} // namespace clv::mesh
