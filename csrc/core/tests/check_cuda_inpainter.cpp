// SPDX-License-Identifier: BSD-2-Clause
// What inpainters of pictures in CUDA memory promise to their hosts, through the C ABI and the dummy
// backend's net. Runs on the first device that the driver shows; ctest gives it the emulator.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "core/tests/cuda_test.h"
#include "core/tests/inpaint_test.h"

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

namespace {

constexpr clv_pixel_format kFormats[] = {CLV_PIXEL_YUV420P, CLV_PIXEL_NV12, CLV_PIXEL_YUV420P10,
                                         CLV_PIXEL_P010};

clv_inpaint_params on(const clv_cuda_device &handles, const char *device = "") {
    clv_inpaint_params params = dummy(device);
    params.cuda = &handles;
    return params;
}

clv_device_stats stats_of(const Inpainter &run) {
    clv_device_stats stats;
    clv_inpainter_get_device_stats(run.inpainter, &stats);
    return stats;
}

/// A mask in device memory, with some bytes between the rows.
class DeviceMask {
public:
    DeviceMask(const Device &device, const Mask &mask)
        : width_(mask.width), height_(mask.height), pitch_(static_cast<size_t>(mask.width) + 13),
          memory_(device.place(), pitch_ * static_cast<size_t>(mask.height)) {
        clv::cuda::copy_to_device_2d(device.place(), memory_.get(), pitch_, mask.data.data(),
                                     static_cast<size_t>(width_), static_cast<size_t>(width_),
                                     static_cast<size_t>(height_));
        device.wait();
    }
    clv_mask view() const {
        return {memory_.get<uint8_t>(), static_cast<ptrdiff_t>(pitch_), width_, height_, CLV_MEMORY_CUDA};
    }

private:
    const int width_, height_;
    const size_t pitch_;
    const clv::cuda::Buffer memory_;
};

/// How far two pictures' codes are apart: at most, and on average over all samples.
struct Distance {
    int most = 0;
    double mean = 0;
};

Distance distance(const HostPicture &a, const HostPicture &b) {
    const bool wide = a.format.pixel_format == CLV_PIXEL_YUV420P10 || a.format.pixel_format == CLV_PIXEL_P010;
    const int unit = a.format.pixel_format == CLV_PIXEL_P010 ? 64 : 1;
    Distance out;
    double sum = 0, count = 0;
    for (size_t p = 0; p < 3; p++)
        for (size_t i = 0; i < a.planes[p].size(); i += wide ? 2 : 1) {
            const auto sample = [&](const std::vector<uint8_t> &plane) {
                return wide ? plane[i] | plane[i + 1] << 8 : plane[i];
            };
            const int apart = std::abs(sample(a.planes[p]) - sample(b.planes[p])) / unit;
            out.most = std::max(out.most, apart);
            sum += apart;
            count++;
        }
    out.mean = sum / count;
    return out;
}

void a_painted_picture_is_that_of_host_memory(const Folder &folder) {
    const auto bundle = painter_bundle(folder, 64);
    const Device device;
    const auto handles = device.handles();
    unsigned seed = 0;
    for (const auto &model : {bundle, std::string()}) // the net; what is diffused without one
        for (const auto pixel_format : kFormats)
            for (const auto &[w, h] : {std::pair{64, 48}, {75, 53}}) {
                Host host;
                clv_format look = look_of(w, h, pixel_format);
                look.range = seed % 2 ? CLV_RANGE_FULL : CLV_RANGE_LIMITED;
                HostPicture source(look);
                source.randomise(seed++);
                const auto mask = Mask(w, h).box(9, 8, 20, 14).box(w - 1, h - 1, 1, 1);
                const clv_mask hole = mask.view();

                HostPicture wanted = source;
                Inpainter reference(host, model, wanted.format, dummy());
                const clv_picture planes = wanted.view();
                EXPECT(clv_inpainter_paint(reference.inpainter, &planes, &hole) == CLV_OK);

                Inpainter run(host, model, look, on(handles));
                expect(run.status == CLV_OK, host.error(), __LINE__);
                if (run.status != CLV_OK)
                    continue;
                DevicePicture picture(device, look);
                picture.upload(source);
                const clv_picture view = picture.view();
                const DeviceMask there(device, mask);
                const clv_mask there_view = there.view();
                expect(clv_inpainter_paint(run.inpainter, &view, seed % 3 ? &hole : &there_view) == CLV_OK,
                       host.error(), __LINE__);
                const Distance apart = distance(picture.download(), wanted);
                expect(apart.most <= 1 && apart.mean < 0.01,
                       "codes differ by " + std::to_string(apart.most) + ", " + std::to_string(apart.mean) +
                           " on average (" + (model.empty() ? "diffused" : "painted") + ")",
                       __LINE__);
            }
}

/// A texture that moves by (2, 1) samples a picture, and a square that moves otherwise.
HostPicture scene(const clv_format &look, int index) {
    HostPicture picture(look);
    const bool semi = clv::is_semi_planar(look.pixel_format);
    for (int p = 0; p < clv::plane_count(look); p++) {
        const int columns = static_cast<int>(clv::row_bytes(look, p)), rows = clv::plane_rows(look, p);
        const double share = p == 0 ? 1 : 2;
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++) {
                const double column = (p && semi ? x / 2 : x) * share + 2 * index;
                const double row = y * share + index;
                double value = 128 + 40 * std::sin(column / 5.3) * std::cos(row / 4.1) +
                               25 * std::sin((column + 2 * row) / 3.7);
                if (p == 0 && std::abs(x - 40 + index) < 6 && std::abs(y - 30) < 6)
                    value = 235;
                picture.planes[static_cast<size_t>(p)][static_cast<size_t>(y * columns + x)] =
                    static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
            }
    }
    return picture;
}

/// The pictures of a scene through an inpainter in host memory.
std::vector<HostPicture> through_host(const std::string &model, const clv_format &look, int count,
                                      const std::function<Mask(int)> &mask_of, clv_inpaint_params params) {
    Host host;
    params.cuda = nullptr;
    HostPicture like(look);
    Inpainter run(host, model, like.format, params);
    std::vector<HostPicture> out(static_cast<size_t>(count), like);
    int received = 0;
    const auto receive = [&](bool flush) {
        while (clv_inpainter_receive(run.inpainter, flush, nullptr) == CLV_OK)
            received++;
    };
    for (int i = 0; i < count; i++) {
        HostPicture in = scene(look, i);
        const Mask mask = mask_of(i);
        const clv_mask hole = mask.view();
        const clv_picture from = in.view(), to = out[static_cast<size_t>(i)].view();
        EXPECT(clv_inpainter_submit(run.inpainter, &from, &hole, &to, nullptr) == CLV_OK);
        receive(false);
    }
    receive(true);
    EXPECT(received == count);
    return out;
}

Mask moving_box(const clv_format &look, int index) {
    return Mask(look.width, look.height).box(30 - index, 20, 20, 20);
}

void a_video_is_that_of_host_memory(const Folder &folder) {
    const auto model = painter_bundle(folder, 64);
    const Device device;
    const auto handles = device.handles();
    constexpr int count = 8;
    for (const auto &[pixel_format, lookahead] :
         {std::pair{CLV_PIXEL_NV12, 0}, {CLV_PIXEL_YUV420P, 2}, {CLV_PIXEL_NV12, 2}}) {
        const clv_format look = look_of(96, 64, pixel_format);
        auto params = on(handles);
        params.lookahead = lookahead;
        const auto mask_of = [&](int i) { return moving_box(look, i); };
        const auto wanted = through_host(model, look, count, mask_of, params);
        Host host;
        Inpainter run(host, model, look, params);
        expect(run.status == CLV_OK, host.error(), __LINE__);
        int received = 0;
        const auto receive = [&](bool flush) {
            void *opaque = nullptr;
            while (clv_inpainter_receive(run.inpainter, flush, &opaque) == CLV_OK) {
                auto *out = static_cast<DevicePicture *>(opaque);
                const Distance apart = distance(out->download(), wanted[static_cast<size_t>(received)]);
                expect(apart.mean < 0.02,
                       "picture " + std::to_string(received) + ": codes differ by " +
                           std::to_string(apart.most) + ", " + std::to_string(apart.mean) + " on average",
                       __LINE__);
                received++;
            }
        };
        std::vector<std::unique_ptr<DevicePicture>> ins, outs;
        for (int i = 0; i < count; i++) {
            ins.push_back(std::make_unique<DevicePicture>(device, look));
            outs.push_back(std::make_unique<DevicePicture>(device, look, 6));
            HostPicture source = scene(look, i);
            ins.back()->upload(source);
            const Mask mask = mask_of(i);
            const DeviceMask there(device, mask);
            const clv_mask hole = i % 2 ? there.view() : mask.view();
            const clv_picture from = ins.back()->view(), to = outs.back()->view();
            EXPECT(clv_inpainter_submit(run.inpainter, &from, &hole, &to, outs.back().get()) == CLV_OK);
            receive(false);
        }
        receive(true);
        EXPECT(received == count);
        clv_inpaint_stats stats;
        clv_inpainter_get_stats(run.inpainter, &stats);
        EXPECT(stats.pictures == count && stats.paintings > 0);
    }
}

void each_picture_costs_one_small_copy_and_one_wait(const Folder &folder) {
    const auto model = painter_bundle(folder, 64);
    const Device device;
    const auto handles = device.handles();
    const clv_format look = look_of(96, 64, CLV_PIXEL_NV12);
    for (const bool mask_on_device : {false, true}) {
        Host host;
        Inpainter run(host, model, look, on(handles));
        DevicePicture in(device, look), out(device, look);
        const Mask mask = moving_box(look, 0);
        const DeviceMask there(device, mask);
        const clv_mask hole = mask_on_device ? there.view() : mask.view();
        EXPECT(idle(stats_of(run))); // creating it does not count
        clv_device_stats before = {};
        for (int i = 0; i < 12; i++) {
            HostPicture source = scene(look, i);
            in.upload(source);
            const clv_picture from = in.view(), to = out.view();
            EXPECT(clv_inpainter_submit(run.inpainter, &from, &hole, &to, nullptr) == CLV_OK);
            EXPECT(clv_inpainter_receive(run.inpainter, 1, nullptr) == CLV_OK);
            const clv_device_stats now = stats_of(run);
            if (i >= 2) {
                EXPECT(now.copies_to_host - before.copies_to_host == 1);
                EXPECT(now.synchronisations - before.synchronisations == 1);
                EXPECT(now.bytes_to_host - before.bytes_to_host <= 96 * 64 * 5 / 4);
                EXPECT(now.copies_to_device - before.copies_to_device <= 4);
            }
            if (i >= 10)
                EXPECT(now.device_bytes == before.device_bytes);
            before = now;
        }
        EXPECT(before.device_bytes > 0);
    }
}

void logs_say_where_it_works(const Folder &folder) {
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format look = look_of(96, 64, CLV_PIXEL_NV12);
    {
        const Inpainter run(host, painter_bundle(folder, 64), look, on(handles));
        EXPECT(run.status == CLV_OK);
    }
    EXPECT_SAYS(host.logged, "paints at 64x48 for pictures of 96x64 on dummy");
    EXPECT_SAYS(host.logged, "pictures on ");
}

void a_failed_painting_leaves_the_picture_as_it_was(const Folder &folder) {
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format look = look_of(50, 40, CLV_PIXEL_NV12);
    Inpainter run(host, painter_bundle(folder, 64), look, on(handles, "fail=1"));
    DevicePicture picture(device, look);
    HostPicture source(look);
    source.randomise(3);
    picture.upload(source);
    const clv_picture view = picture.view();
    const auto mask = Mask(50, 40).box(4, 4, 8, 8);
    const clv_mask hole = mask.view();
    EXPECT(clv_inpainter_paint(run.inpainter, &view, &hole) == CLV_ERR_INFERENCE);
    EXPECT_SAYS(host.error(), "inference 1 failed");
    EXPECT(picture.download().planes == source.planes);
    EXPECT(clv_inpainter_paint(run.inpainter, &view, &hole) == CLV_OK);
    EXPECT(picture.download().planes != source.planes);
}

void bad_options_and_masks_get_one_sentence_each(const Folder &folder) {
    const auto model = painter_bundle(folder, 64);
    const Device device;
    const auto handles = device.handles();
    const clv_format look = look_of(64, 48, CLV_PIXEL_NV12);
    struct Case {
        std::function<void(clv_inpaint_params &)> change;
        int status;
        std::string says;
    };
    const Case cases[] = {
        {[](auto &p) { p.cuda = nullptr; }, CLV_ERR_INVALID_ARGUMENT, "params.cuda is NULL"},
        {[](auto &p) { p.backend = "cuda"; }, CLV_ERR_UNSUPPORTED, "does not know the architecture"},
        {[](auto &p) { p.precision = CLV_PRECISION_BF16; }, CLV_ERR_UNSUPPORTED, "fp32 only"},
    };
    for (const auto &item : cases) {
        Host host;
        auto params = on(handles);
        item.change(params);
        const Inpainter run(host, model, look, params);
        expect(run.status == item.status, std::string(clv_status_name(run.status)) + ": " + host.error(),
               __LINE__);
        EXPECT_SAYS(host.error(), item.says);
    }
    Host host;
    HostPicture on_host(look);
    Inpainter run(host, model, look, on(handles)), other(host, model, on_host.format, dummy());
    DevicePicture in(device, look), out(device, look);
    const DeviceMask there(device, Mask(64, 48));
    const clv_picture from = in.view(), to = out.view(), planes = on_host.view();
    clv_mask hole = there.view();
    EXPECT(clv_inpainter_submit(other.inpainter, &planes, &hole, &planes, nullptr) ==
           CLV_ERR_INVALID_ARGUMENT);
    EXPECT_SAYS(host.error(), "the mask is in CUDA memory and the pictures are in host memory");
    hole.stride = -hole.stride;
    EXPECT(clv_inpainter_submit(run.inpainter, &from, &hole, &to, nullptr) == CLV_ERR_INVALID_ARGUMENT);
    EXPECT_SAYS(host.error(), "from top to bottom");
    EXPECT(clv_inpainter_pending(run.inpainter) == 0);
}

void without_memory_there_is_a_sentence_and_all_goes_on(const Folder &folder) {
    const auto model = painter_bundle(folder, 64);
    const Device device;
    const auto handles = device.handles();
    Host host;
    {
        const auto all = fill(device, size_t{8} << 20);
        const Inpainter run(host, model, look_of(3840, 2160, CLV_PIXEL_P010), on(handles));
        EXPECT(run.status == CLV_ERR_NO_MEMORY);
        EXPECT_SAYS(host.error(), "MiB");
    }
    const Inpainter after(host, model, look_of(96, 64, CLV_PIXEL_NV12), on(handles));
    expect(after.status == CLV_OK, host.error(), __LINE__);
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(a_painted_picture_is_that_of_host_memory);
    RUN(a_video_is_that_of_host_memory);
    RUN(each_picture_costs_one_small_copy_and_one_wait);
    RUN(logs_say_where_it_works);
    RUN(a_failed_painting_leaves_the_picture_as_it_was);
    RUN(bad_options_and_masks_get_one_sentence_each);
    RUN(without_memory_there_is_a_sentence_and_all_goes_on);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
