// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/device_painter.h"

#include "backends/cuda/excerpt_params.h"
#include "core/excerpt.h"
#include "cuda/driver.h"

CLV_CUDA_IMAGE(excerpt);

namespace clv::cuda {
namespace {

size_t bytes_of(const TensorShape &shape, ElementType type) {
    return shape.count() * (type == ElementType::f16 ? 2 : 4);
}

unsigned blocks(int count, int each) {
    return static_cast<unsigned>((count + each - 1) / each);
}

excerpt::Scale scale_of(const CodeScale &scale) {
    return {scale.span, scale.offset};
}

class DevicePainter final : public mesh::DevicePainter {
public:
    DevicePainter(const pixels::PictureFormat &format, const Place &place, TensorModel &net,
                  const TensorShape &input)
        : format_(format), place_(place), net_(net), input_(input), module_(place, clv_image_excerpt),
          gather_(module_.kernel("clv_excerpt_gather")), put_(module_.kernel("clv_excerpt_put")) {
        const TensorShape wanted = {6, input.height, input.width};
        if (input.channels != 7 || net.output() != wanted)
            throw Error(CLV_ERR_UNSUPPORTED, "a painting net gives " + net.output().text() + " for " +
                                                 input.text() +
                                                 ": layout yuv420_s2d_mask takes 7 channels "
                                                 "and gives 6 of the same size");
        in_ = Buffer(place_, bytes_of(input_, net.input_type()));
        out_ = Buffer(place_, bytes_of(wanted, net.output_type()));
        seen_ = Buffer(place_, sizeof(uint32_t));
    }

    void paint(const mesh::DeviceExcerpt &e) override {
        const HoleBounds bounds = hole_bounds(e.hole_host, e.hole_stride, e.width, e.height);
        if (bounds.empty())
            return;
        const excerpt::Params params = params_of(e, bounds);
        const Current current(place_);
        fill_async(place_, seen_.get(), 0, seen_.bytes());
        const dim3 block(excerpt::kAcross, excerpt::kDown);
        gather_.launch(dim3(blocks(params.columns, excerpt::kAcross), blocks(params.rows, excerpt::kDown)),
                       block, params, stream_of(place_));
        net_.enqueue(in_.get(), out_.get());
        put_.launch(dim3(blocks(bounds.right - bounds.left, excerpt::kAcross),
                         blocks(bounds.bottom - bounds.top, excerpt::kDown), 3),
                    block, params, stream_of(place_));
    }

private:
    excerpt::Params params_of(const mesh::DeviceExcerpt &e, const HoleBounds &bounds) const {
        const int rows = static_cast<int>(input_.height);
        const int columns = static_cast<int>(input_.width);
        const Excerpt look = choose_excerpt(bounds, e.width, e.height, 2 * columns, 2 * rows);
        excerpt::Params p = {};
        for (int i = 0; i < 3; i++) {
            p.plane[i] = e.picture.data[i];
            p.stride[i] = e.picture.stride[i];
        }
        p.width = e.width;
        p.height = e.height;
        p.two_bytes = format_.bytes_per_sample() == 2;
        p.hole = e.hole;
        p.hole_stride = e.hole_stride;
        p.left = look.left;
        p.top = look.top;
        p.step = look.step;
        p.rows = rows;
        p.columns = columns;
        p.in = in_.get();
        p.out = out_.get();
        p.in_half = net_.input_type() == ElementType::f16;
        p.out_half = net_.output_type() == ElementType::f16;
        p.seen = seen_.get<uint32_t>();
        p.x0 = bounds.left;
        p.y0 = bounds.top;
        p.x1 = bounds.right;
        p.y1 = bounds.bottom;
        p.luma = scale_of(luma_scale(format_));
        p.chroma = scale_of(chroma_scale(format_));
        p.max_code = static_cast<float>((1 << format_.bit_depth) - 1);
        return p;
    }

    const pixels::PictureFormat format_;
    const Place place_;
    TensorModel &net_;
    const TensorShape input_;
    const Module module_;
    const Kernel gather_;
    const Kernel put_;
    Buffer in_;
    Buffer out_;
    Buffer seen_;
};

} // namespace

std::unique_ptr<mesh::DevicePainter> make_device_painter(const pixels::PictureFormat &format,
                                                         const Place &place, TensorModel &net,
                                                         const TensorShape &input) {
    return std::make_unique<DevicePainter>(format, place, net, input);
}

} // namespace clv::cuda
