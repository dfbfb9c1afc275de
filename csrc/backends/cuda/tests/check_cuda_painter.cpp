// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_painter [--seed N] [--rounds N]
// The painter on the device against the one on the host (core/net_painter.h), with the same net around which
// they put their gathering and putting back: random excerpts, holes and formats; the same codes, and the same
// bytes around them. Runs on whatever device the driver has: a GPU, or the emulator.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/device_painter.h"
#include "core/checks.h"
#include "core/excerpt.h"
#include "core/net_painter.h"
#include "device_test.h"

namespace clv::cuda::test {
namespace {

/// Some net: values of the neighbour's channel and place, and of the hole.
void compute(const TensorShape &shape, const float *in, float *out) {
    const auto plane = static_cast<std::size_t>(shape.height * shape.width);
    for (std::size_t c = 0; c < 6; c++)
        for (std::size_t i = 0; i < plane; i++)
            out[c * plane + i] = 0.7F * in[(c + 1) % 6 * plane + (i + 3) % plane] + 0.1F * in[6 * plane + i] +
                                 0.05F * static_cast<float>(c);
}

class HostNet final : public CompiledModel {
public:
    explicit HostNet(const TensorShape &input) : input_(input) {}
    TensorShape output() const override { return {6, input_.height, input_.width}; }
    clv_precision precision() const override { return CLV_PRECISION_FP32; }
    int threads() const override { return 1; }
    std::unique_ptr<InferRequest> create_request() override { return std::make_unique<Request>(input_); }

private:
    class Request final : public InferRequest {
    public:
        explicit Request(const TensorShape &shape) : shape_(shape), in_(shape.count()), out_(shape.count()) {}
        std::span<float> input() override { return in_; }
        void start() override { compute(shape_, in_.data(), out_.data()); }
        bool ready() override { return true; }
        void wait() override {}
        const void *output() override { return out_.data(); }

    private:
        const TensorShape shape_;
        std::vector<float> in_;
        std::vector<float> out_;
    };
    const TensorShape input_;
};

/// The same, by way of the host.
class DeviceNet final : public TensorModel {
public:
    DeviceNet(const Place &place, const TensorShape &input)
        : place_(place), input_(input), in_(input.count()), out_(input.count()) {}
    TensorShape output() const override { return {6, input_.height, input_.width}; }
    ElementType input_type() const override { return ElementType::f32; }
    ElementType output_type() const override { return ElementType::f32; }
    clv_precision precision() const override { return CLV_PRECISION_FP32; }
    std::uint64_t device_bytes() const override { return 0; }
    void enqueue(const void *in, void *out) override {
        copy_to_host_async(place_, in_.data(), in, in_.size() * sizeof(float));
        synchronise(place_);
        compute(input_, in_.data(), out_.data());
        copy_to_device_async(place_, out, out_.data(), output().count() * sizeof(float));
    }

private:
    const Place place_;
    const TensorShape input_;
    std::vector<float> in_;
    std::vector<float> out_;
};

} // namespace
} // namespace clv::cuda::test

namespace clv {

// Of what NetPainter needs of core, this program has its own.
Engine make_engine(const Bundle &, const TensorShape &input, const EngineOptions &) {
    Engine engine;
    engine.model = std::make_unique<cuda::test::HostNet>(input);
    return engine;
}
std::string Engine::text() const {
    return backend_name;
}
std::string size_text(int width, int height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

} // namespace clv

namespace clv::cuda::test {
namespace {

std::vector<std::uint8_t> random_hole(Random &random, int width, int height) {
    std::vector<std::uint8_t> hole(static_cast<std::size_t>(width * height));
    if (random.one_in(8)) {
        std::fill(hole.begin(), hole.end(), std::uint8_t{255});
        return hole;
    }
    for (int i = random.between(0, 3); i > 0; i--) {
        const int x0 = random.between(0, width - 1);
        const int y0 = random.between(0, height - 1);
        const int x1 = random.between(x0, std::min(width - 1, x0 + width / 2));
        const int y1 = random.between(y0, std::min(height - 1, y0 + height / 2));
        for (int y = y0; y <= y1; y++)
            for (int x = x0; x <= x1; x++)
                hole[static_cast<std::size_t>(y * width + x)] = random.one_in(9) ? 0 : 1;
    }
    return hole;
}

void check_once(Report &report, const Place &place, Random &random) {
    PictureFormat format = pixels::test::random_format(random, random.one_in(3) ? 300 : 120);
    format.width = std::max(format.width, 2);
    format.height = std::max(format.height, 2);
    format.semi_planar = false;
    format.msb_aligned = false;
    auto bundle = std::make_shared<clv::Bundle>();
    bundle->name = "test";
    bundle->multiple_of = 16;
    bundle->min_width = bundle->min_height = 32;
    bundle->best_size = random.between(32, 128);

    clv_context context(nullptr, nullptr);
    pixels::ThreadPool pool(1);
    NetPainter on_host(context, bundle, format, {}, pool);
    const TensorShape input = painter_input(*bundle, format);
    DeviceNet net(place, input);
    const auto on_device = make_device_painter(format, place, net, input);

    for (int i = 0; i < 2; i++) { // any size: the second excerpt is a smaller one
        PictureFormat excerpt = format;
        if (i == 1) {
            excerpt.width = random.between(1, format.width);
            excerpt.height = random.between(1, format.height);
        }
        const auto layouts = device_layouts(excerpt, random);
        TestPicture wanted = TestPicture::blank(excerpt, layouts);
        TestPicture got = TestPicture::blank(excerpt, layouts);
        Random twice(random.bits());
        Random again = twice;
        draw(wanted, twice);
        draw(got, again);
        const auto hole = random_hole(random, excerpt.width, excerpt.height);
        on_host.paint(wanted.view(), excerpt.width, excerpt.height, hole.data(), excerpt.width);
        DevicePlanes planes(place, got);
        const Buffer there(place, hole.size());
        copy_to_device_async(place, there.get(), hole.data(), hole.size());
        on_device->paint({planes.view, excerpt.width, excerpt.height, there.get<const std::uint8_t>(),
                          excerpt.width, hole.data()});
        planes.fetch();
        bool same = true;
        for (std::size_t p = 0; p < got.planes.size(); p++)
            same = same && got.planes[p].equals(wanted.planes[p]);
        report.expect(same, pixels::test::describe(excerpt) + " painted by a net of " + input.text());
    }
}

} // namespace
} // namespace clv::cuda::test

int main(int argc, char **argv) {
    using namespace clv::cuda::test;
    return run_rounds(argc, argv, "check_cuda_painter", 40,
                      [](const clv::cuda::Place &place, std::uint64_t seed, int rounds) {
                          Report report;
                          for (int i = 0; i < rounds; i++) {
                              Random random(seed + static_cast<std::uint64_t>(i));
                              check_once(report, place, random);
                          }
                          return report.finish();
                      });
}
