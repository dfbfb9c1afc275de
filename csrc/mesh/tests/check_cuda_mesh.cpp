// SPDX-License-Identifier: BSD-2-Clause
// The inpainter with its samples on a device gives what it gives in host memory, bit by bit; each operation
// by itself, then all of it. Runs on the first device that the driver shows; ctest gives it the emulator.
//
// check_cuda_mesh [--rounds N]    N below 4: every kernel, few pictures; for tools that slow all down

#include <cmath>
#include <cstring>
#include <exception>

#include "core/error.h"
#include "device_video.h"
#include "mesh/diffuse.h"
#include "mesh/host_ops.h"
#include "mesh/luma.h"

namespace clv::mesh::test {
namespace {

pixels::PictureFormat format_of(int width, int height, int depth, bool semi_planar) {
    pixels::PictureFormat format;
    format.width = width;
    format.height = height;
    format.bit_depth = depth;
    format.semi_planar = semi_planar;
    format.msb_aligned = semi_planar && depth > 8;
    return format;
}

std::string name_of(const pixels::PictureFormat &format) {
    return std::to_string(format.width) + "x" + std::to_string(format.height) + " " +
           std::to_string(format.bit_depth) + " bit" + (format.semi_planar ? " semi-planar" : "");
}

/// A video of everything: motion by parts of samples, a light that fades, a hole that walks over the border,
/// a cut.
struct Clip {
    pixels::PictureFormat format;
    int length;

    Image picture(int time, const Mask &mask) const {
        Image image = Waves(time < 2 * length / 3 ? 8 : 9)
                          .show(format, 2.3 * time, 3 * std::sin(0.4 * time), 1 - 0.012 * time, 0.3 * time);
        cover(image, mask, static_cast<uint32_t>(time));
        return image;
    }
    Mask mask(int time) const {
        Mask mask(format.width, format.height);
        mask.ellipse((0.05 + 0.06 * time) * format.width, 0.5 * format.height, 0.12 * format.width,
                     0.35 * format.height);
        if (time % 4 == 1)
            mask.box(format.width - 9, format.height - 11, format.width, format.height);
        return mask;
    }
};

void all_of_it_is_the_same(Report &report, const Device &device, const pixels::PictureFormat &format,
                           const InpainterOptions &options, int length, Painter *painter,
                           const std::string &what) {
    const Clip clip{format, length};
    Machine host(format, options, painter);
    DeviceMachine other(device, format, options, painter);
    int differ = 0;
    int received = 0;
    bool guards = true;
    for (int time = 0; time < length || host.inpainter.pending() > 0; time++) {
        const bool more = time < length;
        const Mask mask = clip.mask(more ? time : 0);
        const clv_mask view = mask.view();
        const Image image = clip.picture(more ? time : 0, mask);
        if (more)
            host.inpainter.submit(image.view(), &view);
        Image wanted(format);
        const int status = host.inpainter.receive(!more, wanted.view());
        Image shown(format);
        const bool got = other.run(more ? &image : nullptr, &view, shown);
        if (got != (status == CLV_OK))
            differ++;
        if (!got)
            continue;
        received++;
        differ += !(shown == wanted);
        guards = guards && shown.guards_intact();
    }
    clv_inpaint_stats a{};
    clv_inpaint_stats b{};
    host.inpainter.stats(a);
    other.inpainter->stats(b);
    report.expect(received == length && differ == 0, what + ", " + name_of(format) + ": " +
                                                         std::to_string(differ) + " of " +
                                                         std::to_string(received) + " pictures differ");
    report.expect(guards, what + ", " + name_of(format) + ": nothing but the picture is written");
    report.expect(a.paintings == b.paintings && a.cuts == b.cuts && a.features == b.features &&
                      a.residual == b.residual,
                  what + ", " + name_of(format) + ": the same is followed, painted and cut");
}

void whole_inpainters_agree(Report &report, const Device &device) {
    InpainterOptions plain;
    for (const int depth : {8, 10})
        for (const bool semi_planar : {false, true}) {
            all_of_it_is_the_same(report, device, format_of(161, 99, depth, semi_planar), plain, 14, nullptr,
                                  "odd sizes");
            all_of_it_is_the_same(report, device, format_of(128, 72, depth, semi_planar), plain, 12, nullptr,
                                  "even sizes");
        }
    InpainterOptions wide = plain;
    wide.lookahead = 3;
    wide.dilate = 11;
    wide.feather = 9;
    all_of_it_is_the_same(report, device, format_of(162, 101, 8, true), wide, 14, nullptr, "lookahead");
    Diffusion painter(10);
    all_of_it_is_the_same(report, device, format_of(130, 97, 10, true), plain, 8, &painter,
                          "a painter on the host");
    for (const auto show : {CLV_SHOW_MASK, CLV_SHOW_MESH, CLV_SHOW_TRACKS, CLV_SHOW_AGE}) {
        InpainterOptions drawn = plain;
        drawn.show = show;
        all_of_it_is_the_same(report, device, format_of(98, 75, show % 2 ? 8 : 10, show % 2), drawn, 4,
                              nullptr, "show=" + std::to_string(show));
    }
    for (const auto &[width, height] : {std::pair{1, 1}, {2, 1}, {1, 7}, {17, 33}, {64, 2}})
        all_of_it_is_the_same(report, device, format_of(width, height, 10, true), plain, 3, nullptr,
                              "tiny pictures");
    // A wide hole needs levels of their own launches, and more slots than there are.
    all_of_it_is_the_same(report, device, format_of(640, 120, 8, false), plain, 5, nullptr, "a wide hole");
}

void slots_are_gathered_alike(Report &report, const Device &device) {
    const auto format = format_of(320, 34, 8, true);
    InpainterOptions options;
    Machine host(format, options);
    DeviceMachine other(device, format, options);
    bool same = true;
    for (int time = 0; time < 110; time++) { // the hole widens: each strip of it was seen at another time
        Image picture = Waves(5).show(format, 0.31 * time, 0);
        Mask mask(format.width, format.height);
        if (time > 0)
            mask.box(150 - time, 4, 152 + time, 30);
        cover(picture, mask, static_cast<uint32_t>(time));
        const clv_mask view = mask.view();
        Image shown(format);
        other.run(&picture, &view, shown);
        same = same && shown == host.run(picture, &mask);
    }
    report.expect(same, "gathering and padding are the same");
}

void masks_may_be_on_the_device(Report &report, const Device &device) {
    const auto format = format_of(161, 99, 8, true);
    for (const auto &[width, height] : {std::pair{161, 99}, {40, 25}, {97, 200}}) {
        DeviceMachine one(device, format, {});
        DeviceMachine two(device, format, {});
        bool same = true;
        for (int time = 0; time < 4; time++) {
            Mask mask(width, height);
            mask.ellipse(0.5 * width + time, 0.5 * height, 0.2 * width, 0.3 * height);
            const Image picture = Waves(4).show(format, time, 0);
            const size_t pitch = static_cast<size_t>(width) + 5;
            const Buffer memory(two.place, pitch * static_cast<size_t>(height));
            clv::cuda::copy_to_device_2d(two.place, memory.get(), pitch, mask.data.data(),
                                         static_cast<size_t>(width), static_cast<size_t>(width),
                                         static_cast<size_t>(height));
            const clv_mask on_host = mask.view();
            const clv_mask on_device{memory.get<uint8_t>(), static_cast<ptrdiff_t>(pitch), width, height,
                                     CLV_MEMORY_CUDA};
            Image a(format);
            Image b(format);
            same = same && one.run(&picture, &on_host, a) && two.run(&picture, &on_device, b) && a == b;
        }
        report.expect(same, "a mask of " + std::to_string(width) + "x" + std::to_string(height) +
                                " may be on the device");
    }
}

// ---------------------------------------------------------------------------------- operation by operation

/// The same frame on both sides.
struct Twins {
    std::unique_ptr<Frame> host;
    std::unique_ptr<Frame> device;
};

struct Sides {
    Sides(const Device &device, const pixels::PictureFormat &picture_format)
        : place(device.place()), pool(2), format(picture_format), shape(shape_of(format)),
          host(make_host_ops(format, pool)), device_ops(cuda::make_cuda_ops(format, place)) {}

    Place place;
    pixels::ThreadPool pool;
    pixels::PictureFormat format;
    Shape shape;
    std::unique_ptr<PictureOps> host;
    std::unique_ptr<PictureOps> device_ops;

    Twins import(const Image &image) {
        Twins twins{host->make_frame(), device_ops->make_frame()};
        const DeviceImage on_device(place, image);
        host->import(image.view(), nullptr, *twins.host);
        device_ops->import(on_device.view(), nullptr, *twins.device);
        clv::cuda::synchronise(place);
        for (Frame *frame : {twins.host.get(), twins.device.get()})
            for (int row = 0; row < shape.block_rows(); row++)
                std::fill_n(frame->origins(row), shape.block_columns(), Origin::seen);
        return twins;
    }
    /// Samples with their border.
    bool same(const Twins &twins) const {
        Frame read(shape);
        clv::cuda::copy_to_host_async(place, read.data(), twins.device->data(), read.sample_bytes());
        clv::cuda::synchronise(place);
        for (int plane = 0; plane < 3; plane++)
            for (int y = -kBorder; y < shape.plane_height(plane) + kBorder; y++) {
                const size_t count = static_cast<size_t>(shape.plane_width(plane) + 2 * kBorder);
                const bool equal =
                    shape.wide() ? std::memcmp(read.row<uint16_t>(plane, y) - kBorder,
                                               twins.host->row<uint16_t>(plane, y) - kBorder, 2 * count) == 0
                                 : std::memcmp(read.row<uint8_t>(plane, y) - kBorder,
                                               twins.host->row<uint8_t>(plane, y) - kBorder, count) == 0;
                if (!equal)
                    return false;
            }
        return true;
    }
};

Image noise(const pixels::PictureFormat &format, uint32_t seed) {
    Image image(format);
    Mask all(format.width, format.height);
    all.box(0, 0, format.width, format.height);
    cover(image, all, seed);
    return image;
}

/// Blocks of hole and skirt that refer to slots 0, 1, 2 or none.
Blocks blocks_of(const Shape &shape, Random &random) {
    Blocks blocks;
    const Box box{shape.block_columns() / 5, shape.block_rows() / 6, shape.block_columns(),
                  std::max(shape.block_rows() - 2, 1)};
    blocks.resize(box);
    for (int row = box.y0; row < box.y1; row++)
        for (int column = 0; column < box.width(); column++) {
            const uint32_t kind = random() % 8;
            const uint8_t slot = static_cast<uint8_t>((column / 5 + row / 7) % 4);
            blocks.row(row)[column] = static_cast<uint8_t>(
                kind == 0 ? 0U : (kind < 3 ? Blocks::kSkirt : Blocks::kHole) | static_cast<unsigned>(slot));
        }
    return blocks;
}

void each_operation_agrees(Report &report, const Device &device, const pixels::PictureFormat &format) {
    Random random(static_cast<uint32_t>(format.width));
    Sides sides(device, format);
    const Shape shape = sides.shape;
    const auto expect = [&](bool good, const std::string &what) {
        report.expect(good, what + " is the host's, " + name_of(format));
    };

    // import, reduce
    const Image image = Waves(3).show(format, 1, 2);
    const Twins now = sides.import(image);
    expect(sides.same(now), "what is imported");
    const int reduction = reduction_of(format.width, format.height);
    const size_t reduced = static_cast<size_t>(reduced_size(format.width, reduction)) *
                           static_cast<size_t>(reduced_size(format.height, reduction));
    std::vector<uint8_t> luma(reduced);
    std::vector<uint8_t> luma_device(reduced);
    sides.host->reduced_luma(image.view(), luma.data());
    sides.device_ops->reduced_luma({}, luma_device.data());
    expect(luma == luma_device, "reduced luma");

    // lights, draw
    std::vector<Twins> pasts;
    std::vector<Field> fields;
    for (int i = 0; i < 3; i++) {
        pasts.push_back(sides.import(i == 2 ? noise(format, 3) : Waves(3).show(format, 2 + i, 1, 0.9, 6)));
        Field field(shape, Mesh({}, shape.width, shape.height,
                                motion(shape.width, shape.height, -1.0 - i, 0.37 * i, 0.4 * i, 1.01), {}));
        if (i == 0) {
            field = Field(shape);
            field.shift(Point(-1, 1)); // whole samples
        }
        fields.push_back(field);
    }
    const Twins canvas{sides.host->make_frame(), sides.device_ops->make_frame()};
    sides.host->copy(*now.host, *canvas.host);
    sides.device_ops->copy(*now.device, *canvas.device);
    expect(sides.same(canvas), "a copy");
    for (int round = 0; round < 3; round++) {
        for (PictureOps *ops : {sides.host.get(), sides.device_ops.get()}) {
            const bool host = ops == sides.host.get();
            const auto frame = [host](const Twins &twins) {
                return host ? twins.host.get() : twins.device.get();
            };
            std::vector<LightTask> tasks;
            std::array<Source, kSlots> sources;
            for (int i = 0; i < 3; i++) {
                const auto at = static_cast<size_t>(i);
                sources[at] = {frame(pasts[at]), &fields[at]};
                if (round == 0)
                    ops->reset_light(i);
                tasks.push_back({i, sources[at], (i + round) % 3 != 0});
            }
            ops->match_lights(*frame(now), round == 2 ? nullptr : frame(pasts[1]), fields[1], tasks);
            Random same_for_both(static_cast<uint32_t>(round));
            ops->draw(blocks_of(shape, same_for_both), sources, *frame(canvas));
        }
        expect(sides.same(canvas), "what is drawn in round " + std::to_string(round));
    }

    // overlay, pad, membrane, diffusion, paint, compose
    const Blocks blocks = blocks_of(shape, random);
    const Twins picture = sides.import(image);
    Hole hole(shape);
    Mask mask(format.width, format.height);
    mask.ellipse(0.4 * format.width, 0.5 * format.height, 0.4 * format.width, 0.3 * format.height);
    mask.box(0, 0, format.width / 7, format.height);
    const clv_mask view = mask.view();
    hole.read(&view, 2, 3, *picture.host);
    const Box box{0, 2 * (format.height / 6), format.width, format.height};
    std::vector<uint8_t> holes(static_cast<size_t>(box.width()) * static_cast<size_t>(box.height()));
    for (uint8_t &one : holes)
        one = random() % 3 == 0 ? 255 : 0;
    Diffusion painter(format.bit_depth);
    const Field &back = fields[2];
    const auto both = [&](const auto &act) {
        act(*sides.host, *now.host, *canvas.host, *picture.host);
        act(*sides.device_ops, *now.device, *canvas.device, *picture.device);
    };
    both([&](PictureOps &ops, Frame &one, Frame &, Frame &) { ops.match_lights(one, nullptr, back, {}); });
    both([&](PictureOps &ops, Frame &, Frame &drawn, Frame &to) { ops.overlay(blocks, drawn, to); });
    both([&](PictureOps &ops, Frame &, Frame &, Frame &to) { ops.pad(to); });
    expect(sides.same(picture), "what is overlaid and padded");
    for (int round = 0; round < 2; round++)
        both([&](PictureOps &ops, Frame &one, Frame &drawn, Frame &) {
            ops.update_membrane(blocks, drawn, one, back);
        });
    both([&](PictureOps &ops, Frame &one, Frame &drawn, Frame &) { ops.diffuse(blocks, one, drawn); });
    expect(sides.same(canvas), "what is diffused");
    for (Painter *by : {static_cast<Painter *>(nullptr), static_cast<Painter *>(&painter)}) {
        both([&](PictureOps &ops, Frame &, Frame &, Frame &to) {
            ops.use(by);
            ops.paint(to, box, holes.data());
        });
        both([&](PictureOps &ops, Frame &, Frame &, Frame &to) { ops.pad(to); });
        expect(sides.same(picture), by ? "what the host paints" : "what is painted smoothly");
    }
    Image wanted(format);
    sides.host->compose({*now.host, *canvas.host, hole, 4, true, {}}, wanted.view());
    DeviceImage output(sides.place, Image(format));
    sides.device_ops->compose({*now.device, *canvas.device, hole, 4, true, {}}, output.view());
    const Image shown = output.read();
    expect(shown == wanted && shown.guards_intact(), "the result");
}

void few_of_it_agree(Report &report, const Device &device) {
    for (const int depth : {8, 10}) {
        each_operation_agrees(report, device, format_of(203, 131, depth, depth > 8));
        all_of_it_is_the_same(report, device, format_of(161, 99, depth, depth == 8), {}, 4, nullptr,
                              "odd sizes");
    }
    each_operation_agrees(report, device, format_of(534, 301, 8, true)); // pyramids of many levels
}

void operations_agree(Report &report, const Device &device) {
    for (const int depth : {8, 10})
        for (const bool semi_planar : {false, true})
            for (const auto &[width, height] : {std::pair{96, 64}, {203, 131}, {6, 5}, {1, 3}})
                each_operation_agrees(report, device, format_of(width, height, depth, semi_planar));
    each_operation_agrees(report, device, format_of(534, 301, 8, true)); // reduced to half its size
}

// ------------------------------------------------------------------------------------------- what it costs

void transfers_are_few_and_small(Report &report, const Device &device) {
    const auto format = format_of(240, 136, 8, true);
    DeviceMachine machine(device, format, {});
    const Image background = Waves(7).show(format, 0, 0);
    Mask mask(format.width, format.height);
    mask.box(100, 40, 140, 90);
    const clv_mask view = mask.view();
    Image shown(format);
    machine.run(&background, nullptr, shown);
    machine.run(&background, &view, shown);
    const clv::cuda::Counters &counters = *machine.place.counters;
    const uint64_t held = counters.device_bytes;
    constexpr uint64_t kPictures = 12;
    uint64_t back = 0;
    uint64_t copies = 0;
    uint64_t waits = 0;
    uint64_t there = 0;
    for (uint64_t i = 0; i < kPictures; i++) {
        const DeviceImage input(machine.place, background);
        const DeviceImage output(machine.place, background);
        const uint64_t before[] = {counters.bytes_to_host, counters.copies_to_host, counters.synchronisations,
                                   counters.bytes_to_device};
        machine.inpainter->submit(input.view(), &view);
        machine.inpainter->receive(false, output.view());
        back += counters.bytes_to_host - before[0];
        copies += counters.copies_to_host - before[1];
        waits += counters.synchronisations - before[2];
        there += counters.bytes_to_device - before[3];
    }
    std::printf("a picture of %s: %llu bytes to the host, %llu to the device\n", name_of(format).c_str(),
                static_cast<unsigned long long>(back / kPictures),
                static_cast<unsigned long long>(there / kPictures));
    report.expect(copies == kPictures && back == kPictures * 240 * 136,
                  "one read-back a picture, of the reduced luma");
    report.expect(waits == kPictures, "one wait a picture: " + std::to_string(waits));
    report.expect(there < kPictures * 40000, "little is sent");
    report.expect(counters.device_bytes == held, "the device's memory does not grow");
}

void running_out_of_memory_is_survived(Report &report, const Device &device) {
    const auto format = format_of(2048, 1024, 10, false);
    const Place place = device.place();
    if (clv::cuda::device_info(place).memory_bytes > (size_t{128} << 20)) {
        std::printf("a device of so much memory does not run out of it: not tried\n");
        return;
    }
    bool said = false;
    try {
        const DeviceMachine machine(device, format, {});
    } catch (const clv::Error &error) {
        said = error.status() == CLV_ERR_NO_MEMORY;
        std::printf("out of memory: %s\n", error.what());
    }
    report.expect(said, "running out of the device's memory is said");
    all_of_it_is_the_same(report, device, format_of(64, 48, 8, true), {}, 2, nullptr,
                          "after the memory ran out");
}

/// On the device: one colour.
class Plain final : public DevicePainter {
public:
    explicit Plain(Place place) : place_(std::move(place)) {}
    void paint(const DeviceExcerpt &excerpt) override {
        calls++;
        holes = 0;
        for (int y = 0; y < excerpt.height; y++)
            for (int x = 0; x < excerpt.width; x++)
                holes += excerpt.hole_host[y * excerpt.hole_stride + x] != 0;
        for (int y = 0; y < excerpt.height; y++)
            clv::cuda::fill_async(place_, excerpt.picture.data[0] + y * excerpt.picture.stride[0], 77,
                                  static_cast<size_t>(excerpt.width));
    }
    int calls = 0;
    int64_t holes = 0;

private:
    Place place_;
};

void painters_on_the_device_paint(Report &report, const Device &device) {
    const auto format = format_of(160, 90, 8, true);
    const Place place = device.place();
    Plain painter(place);
    auto ops = cuda::make_cuda_ops(format, place);
    ops->use_on_device(&painter);
    pixels::ThreadPool pool(1);
    Inpainter inpainter(format, {}, std::move(ops), pool, [](clv_log_level, const std::string &) {});
    Mask mask(format.width, format.height);
    mask.box(60, 30, 100, 60);
    const clv_mask view = mask.view();
    const Image background = Waves(7).show(format, 0, 0);
    const DeviceImage input(place, background);
    DeviceImage output(place, background);
    const uint64_t waits = place.counters->synchronisations;
    inpainter.submit(input.view(), &view);
    inpainter.receive(false, output.view());
    report.expect(place.counters->synchronisations == waits + 1, "a painter on the device is not waited for");
    report.expect(painter.calls == 1 && painter.holes >= 48 * 38, "a painter on the device is called");
    report.expect(output.read().get(0, 80, 45) == 77, "and what it paints is shown");
}

} // namespace
} // namespace clv::mesh::test

int main(int argc, char **argv) {
    using namespace clv::mesh::test;
    try {
        bool few = false;
        for (int i = 1; i + 1 < argc; i++)
            if (std::strcmp(argv[i], "--rounds") == 0)
                few = std::strtol(argv[i + 1], nullptr, 10) < 4;
        Report report;
        const Device device;
        masks_may_be_on_the_device(report, device);
        painters_on_the_device_paint(report, device);
        if (few) {
            few_of_it_agree(report, device);
            return report.finish();
        }
        operations_agree(report, device);
        whole_inpainters_agree(report, device);
        slots_are_gathered_alike(report, device);
        transfers_are_few_and_small(report, device);
        running_out_of_memory_is_survived(report, device);
        return report.finish();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "check_cuda_mesh: %s\n", error.what());
        return EXIT_FAILURE;
    }
}
