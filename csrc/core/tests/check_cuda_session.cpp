// SPDX-License-Identifier: BSD-2-Clause
// What sessions on pictures in CUDA memory promise to their hosts, through the C ABI and the dummy backend's
// kernel. Runs on the first device that the driver shows; ctest gives it the emulator.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "clarivid/clarivid.h"
#include "core/tests/cuda_test.h"

namespace {

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

const std::vector<std::pair<std::string, std::string>> kS2d = {{"clarivid.layout", "yuv420_s2d"},
                                                               {"clarivid.scale", "2"}};
constexpr clv_pixel_format kFormats[] = {CLV_PIXEL_YUV420P, CLV_PIXEL_NV12, CLV_PIXEL_YUV420P10,
                                         CLV_PIXEL_P010};

std::string lowrank_onnx() {
    return onnx({1, 6, -1, -1},
                {{"clarivid.layout", "yuv420_s2d"}, {"clarivid.scale", "1"}, {"clarivid.task", "lowrank"}},
                body(11, tensor_value("strength", {1})));
}

clv_session_params dummy(const clv_cuda_device *cuda, const char *device = "", int in_flight = 1) {
    clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
    params.backend = "dummy";
    params.device = device;
    params.in_flight = in_flight;
    params.threads = 1;
    params.cuda = cuda;
    return params;
}

HostPicture on_host(Host &host, const std::string &path, HostPicture &in, clv_session_params params) {
    params.cuda = nullptr;
    const Run run(host, path, in.format, params);
    expect(run.status == CLV_OK, host.error(), __LINE__);
    HostPicture out(run.info().output);
    const clv_picture from = in.view(), to = out.view();
    EXPECT(clv_session_submit(run.session, &from, &to, nullptr) == CLV_OK);
    EXPECT(clv_session_receive(run.session, 1, nullptr) == CLV_OK);
    return out;
}

void pictures_are_those_of_host_memory(const Folder &folder) {
    const std::string models[] = {folder.write("x2.onnx", onnx({1, 6, -1, -1}, kS2d)),
                                  folder.write("x1.onnx", lowrank_onnx()),
                                  folder.write("y1.onnx", onnx({1, 1, -1, -1}, {{"clarivid.scale", "1"}})),
                                  folder.write("y2.onnx", onnx({1, 1, -1, -1}, {{"clarivid.scale", "2"}})),
                                  folder.write("y3.onnx", onnx({1, 1, -1, -1}, {{"clarivid.scale", "3"}}))};
    const Device device;
    const auto handles = device.handles();
    unsigned seed = 0;
    for (const auto &path : models)
        for (const auto pixel_format : kFormats)
            for (const auto &[w, h] : {std::pair{64, 48}, {75, 53}, {1, 1}}) {
                Host host;
                auto params = dummy(&handles);
                params.dither = seed % 2 ? CLV_DITHER_ORDERED : CLV_DITHER_NONE;
                clv_format look = look_of(w, h, pixel_format);
                look.range = seed % 3 ? CLV_RANGE_LIMITED : CLV_RANGE_FULL;
                HostPicture source(look);
                source.randomise(seed++);
                HostPicture wanted = on_host(host, path, source, params);
                const Run run(host, path, look, params);
                expect(run.status == CLV_OK, host.error(), __LINE__);
                if (run.status != CLV_OK)
                    continue;
                EXPECT(run.info().output.memory == CLV_MEMORY_CUDA);
                DevicePicture in(device, look), out(device, run.info().output, 6);
                in.upload(source);
                EXPECT(run.process(in.view(), out.view()) == CLV_OK);
                EXPECT(out.download().planes == wanted.planes);
                EXPECT(in.download().planes == source.planes);
            }
}

/// Samples that differ, in how many codes at most.
struct Difference {
    size_t samples = 0, apart = 0;
    int most = 0;
    void count(const HostPicture &a, const HostPicture &b) {
        const bool wide =
            a.format.pixel_format == CLV_PIXEL_YUV420P10 || a.format.pixel_format == CLV_PIXEL_P010;
        const int shift = a.format.pixel_format == CLV_PIXEL_P010 ? 6 : 0;
        for (size_t p = 0; p < 3; p++)
            for (size_t i = 0; i < a.planes[p].size(); i += wide ? 2 : 1) {
                uint16_t x = a.planes[p][i], y = b.planes[p][i];
                if (wide) {
                    std::memcpy(&x, &a.planes[p][i], 2);
                    std::memcpy(&y, &b.planes[p][i], 2);
                }
                const int off = std::abs((x >> shift) - (y >> shift));
                samples++;
                apart += off != 0;
                most = std::max(most, off);
            }
    }
};

void rgb_pictures_are_those_of_host_memory_within_a_code(const Folder &folder) {
    const Device device;
    const auto handles = device.handles();
    Difference difference;
    unsigned seed = 0;
    for (const char *scale : {"1", "2", "3", "4"}) {
        const auto path = folder.write("rgb.onnx", onnx({1, 3, -1, -1}, {{"clarivid.scale", scale}}));
        for (const auto matrix : {CLV_MATRIX_BT601, CLV_MATRIX_BT709, CLV_MATRIX_BT2020_NCL})
            for (const auto site : {CLV_SITING_LEFT, CLV_SITING_CENTRE, CLV_SITING_TOP_LEFT}) {
                Host host;
                auto params = dummy(&handles);
                params.dither = seed % 5 ? CLV_DITHER_NONE : CLV_DITHER_ORDERED;
                clv_format look = look_of(seed % 2 ? 75 : 62, seed % 3 ? 49 : 36, kFormats[seed % 4]);
                look.range = seed % 7 < 4 ? CLV_RANGE_LIMITED : CLV_RANGE_FULL;
                look.matrix = matrix;
                look.siting = site;
                HostPicture source(look);
                source.randomise(seed++);
                const HostPicture wanted = on_host(host, path, source, params);
                const Run run(host, path, look, params);
                expect(run.status == CLV_OK, host.error(), __LINE__);
                if (run.status != CLV_OK)
                    continue;
                DevicePicture in(device, look), out(device, run.info().output, 6);
                in.upload(source);
                EXPECT(run.process(in.view(), out.view()) == CLV_OK);
                difference.count(out.download(), wanted);
                EXPECT(idle(stats_of(run.session)));
            }
    }
    std::printf("     %zu of %zu samples differ, by %d at most\n", difference.apart, difference.samples,
                difference.most);
    EXPECT(difference.samples > 0 && difference.most <= 1);
    EXPECT(difference.apart * 1000 < difference.samples);
}

void strength_0_copies_samples_and_others_scale_the_change(const Folder &folder) {
    const auto path = folder.write("strength.onnx", lowrank_onnx());
    const Device device;
    const auto handles = device.handles();
    const clv_format look = look_of(33, 17, CLV_PIXEL_P010);
    HostPicture source(look);
    source.randomise(5);
    for (const double strength : {0.0, 0.25, 1.0}) {
        Host host;
        auto params = dummy(&handles);
        params.strength = strength;
        HostPicture wanted = on_host(host, path, source, params);
        EXPECT((wanted.planes == source.planes) == (strength == 0.0));
        const Run run(host, path, look, params);
        DevicePicture in(device, look), out(device, look, 0);
        in.upload(source);
        EXPECT(run.process(in.view(), out.view()) == CLV_OK);
        EXPECT(out.download().planes == wanted.planes);
        EXPECT(idle(stats_of(run.session)));
    }
}

void nothing_is_copied_or_waited_for_and_memory_is_constant(const Folder &folder) {
    const auto path = folder.write("steady.onnx", onnx({1, 6, -1, -1}, kS2d));
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format look = look_of(64, 48, CLV_PIXEL_NV12);
    const Run run(host, path, look, dummy(&handles));
    DevicePicture in(device, look), out(device, run.info().output);
    const uint64_t held = stats_of(run.session).device_bytes;
    EXPECT(held > 0 && run.info().tensor_bytes == held);
    for (int i = 0; i < 50; i++)
        EXPECT(run.process(in.view(), out.view()) == CLV_OK);
    EXPECT(idle(stats_of(run.session)));
    EXPECT(stats_of(run.session).device_bytes == held);
    // A host that works in its own memory sees zeros.
    HostPicture source(look);
    const Run other(host, path, source.format, dummy(nullptr));
    EXPECT(idle(stats_of(other.session)) && stats_of(other.session).device_bytes == 0);
}

void logs_say_what_was_chosen(const Folder &folder) {
    const auto path = folder.write("logs.onnx", onnx({1, 6, -1, -1}, kS2d));
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format look = look_of(64, 48, CLV_PIXEL_NV12);
    const Run run(host, path, look, dummy(&handles));
    EXPECT_SAYS(host.logged, "model logs: 64x48 -> 128x96 on dummy");
    EXPECT_SAYS(host.logged, "backend=dummy, as asked");
    EXPECT_SAYS(host.logged, "(sm_");
    EXPECT_SAYS(host.logged, "MiB of device memory");
}

void receive_returns_at_once_in_order_and_in_flight_bounds(const Folder &folder) {
    const auto path = folder.write("order.onnx", onnx({1, 6, -1, -1}, kS2d));
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format look = look_of(16, 16, CLV_PIXEL_YUV420P);
    const Run run(host, path, look, dummy(&handles, "", 3));
    DevicePicture in(device, look), out(device, run.info().output);
    const clv_picture from = in.view(), to = out.view();
    int marks[3];
    EXPECT(clv_session_receive(run.session, 0, nullptr) == CLV_EMPTY);
    for (int &mark : marks)
        EXPECT(clv_session_submit(run.session, &from, &to, &mark) == CLV_OK);
    EXPECT(clv_session_pending(run.session) == 3);
    EXPECT(clv_session_submit(run.session, &from, &to, nullptr) == CLV_AGAIN);
    for (int &mark : marks) {
        void *opaque = nullptr;
        EXPECT(clv_session_receive(run.session, 0, &opaque) == CLV_OK);
        EXPECT(opaque == &mark);
    }
    EXPECT(clv_session_receive(run.session, 1, nullptr) == CLV_EMPTY);
}

void a_failed_inference_is_an_error_and_the_session_goes_on(const Folder &folder) {
    const auto path = folder.write("fail.onnx", onnx({1, 6, -1, -1}, kS2d));
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format look = look_of(16, 16, CLV_PIXEL_NV12);
    const Run run(host, path, look, dummy(&handles, "fail=2"));
    DevicePicture in(device, look), out(device, run.info().output);
    EXPECT(run.process(in.view(), out.view()) == CLV_OK);
    EXPECT(run.process(in.view(), out.view()) == CLV_ERR_INFERENCE);
    EXPECT_SAYS(host.error(), "inference 2 failed");
    EXPECT(clv_session_pending(run.session) == 0);
    EXPECT(run.process(in.view(), out.view()) == CLV_OK);
}

void sessions_on_streams_and_contexts_work_side_by_side(const Folder &folder) {
    const auto path = folder.write("side.onnx", onnx({1, 6, -1, -1}, kS2d));
    Device first;
    const Device second(false); // another context
    const clv_cuda_device places[] = {first.handles(), first.another_stream(), second.handles()};
    const Device *owners[] = {&first, &first, &second};
    std::vector<std::thread> threads;
    std::atomic<int> wrong = 0;
    for (unsigned t = 0; t < 3; t++)
        threads.emplace_back([&, t] {
            Host host;
            const clv_format look = look_of(32 + 2 * static_cast<int>(t), 24, CLV_PIXEL_NV12);
            const auto params = dummy(&places[t]);
            HostPicture source(look);
            source.randomise(t);
            HostPicture wanted = on_host(host, path, source, params);
            const Run run(host, path, look, params);
            DevicePicture in(*owners[t], look), out(*owners[t], run.info().output);
            in.upload(source);
            for (int i = 0; i < 5; i++) {
                wrong += run.process(in.view(), out.view()) != CLV_OK;
                owners[t]->wait(places[t]);
                wrong += out.download().planes != wanted.planes;
            }
            wrong += !idle(stats_of(run.session));
        });
    for (auto &thread : threads)
        thread.join();
    EXPECT(wrong == 0);
    CUcontext current = nullptr;
    clv::cuda::driver().cuCtxGetCurrent(&current);
    EXPECT(current == nullptr); // each call leaves what was current
}

void bad_options_get_one_sentence_each(const Folder &folder) {
    const auto s2d = folder.write("options.onnx", onnx({1, 6, -1, -1}, kS2d));
    const auto luma = folder.write("luma.onnx", onnx({1, 1, -1, -1}, {{"clarivid.scale", "2"}}));
    const Device device;
    const auto handles = device.handles();
    const clv_cuda_device nowhere = {nullptr, nullptr};
    struct Case {
        std::string path;
        std::function<void(clv_format &, clv_session_params &)> change;
        int status;
        std::string says;
    };
    const Case cases[] = {
        {s2d, [](auto &, auto &p) { p.cuda = nullptr; }, CLV_ERR_INVALID_ARGUMENT, "params.cuda is NULL"},
        {s2d, [&](auto &, auto &p) { p.cuda = &nowhere; }, CLV_ERR_INVALID_ARGUMENT, "has no context"},
        {s2d, [](auto &, auto &p) { p.backend = "cpu"; }, CLV_ERR_UNSUPPORTED,
         "backend cpu takes pictures in host memory only"},
        {s2d, [](auto &, auto &p) { p.backend = "cpu"; }, CLV_ERR_UNSUPPORTED, "hwdownload"},
        {s2d, [](auto &, auto &p) { p.backend = "auto"; }, CLV_ERR_UNSUPPORTED,
         "clarivid's CUDA kernels know the architectures lowrank_chain and sr_luma"},
        {s2d, [](auto &, auto &p) { p.backend = "nonsense"; }, CLV_ERR_NOT_FOUND, "one of auto"},
        {s2d, [](auto &, auto &p) { p.precision = CLV_PRECISION_BF16; }, CLV_ERR_UNSUPPORTED, "fp32 only"},
        {s2d, [](auto &, auto &p) { p.in_flight = 0; }, CLV_ERR_INVALID_ARGUMENT, "in_flight=0"},
        {luma, [](auto &, auto &p) { p.backend = "auto"; }, CLV_ERR_UNSUPPORTED, "hwdownload"},
        {s2d,
         [](auto &f, auto &p) {
             f.memory = CLV_MEMORY_HOST;
             p.backend = "cuda";
         },
         CLV_ERR_UNSUPPORTED, "pictures in CUDA memory only"},
    };
    for (const auto &item : cases) {
        Host host;
        clv_format look = look_of(64, 48, CLV_PIXEL_NV12);
        auto params = dummy(&handles);
        item.change(look, params);
        const Run run(host, item.path, look, params);
        expect(run.status == item.status, std::string(clv_status_name(run.status)) + ": " + host.error(),
               __LINE__);
        EXPECT_SAYS(host.error(), item.says);
        EXPECT(run.session == nullptr);
    }
}

void bad_planes_are_refused_before_anything_is_enqueued(const Folder &folder) {
    const auto path = folder.write("planes.onnx", onnx({1, 6, -1, -1}, kS2d));
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format look = look_of(16, 16, CLV_PIXEL_P010);
    const Run run(host, path, look, dummy(&handles));
    DevicePicture in(device, look), out(device, run.info().output);
    struct Case {
        std::function<void(clv_picture &, clv_picture &)> change;
        std::string says;
    };
    const Case cases[] = {
        {[](auto &i, auto &) { i.data[0] = nullptr; }, "input plane 0 is NULL"},
        {[](auto &, auto &o) { o.data[1] = nullptr; }, "output plane 1 is NULL"},
        {[](auto &i, auto &) { i.stride[0] = 31; }, "input plane 0 has a stride of 31 bytes, a row has 32"},
        {[](auto &i, auto &) { i.stride[0] = -66; }, "from top to bottom"},
        {[](auto &i, auto &) { i.stride[0] = 67; }, "align both to 2 bytes"},
        {[](auto &, auto &o) { o.data[0] = static_cast<char *>(o.data[0]) + 1; }, "align both to 2 bytes"},
    };
    for (const auto &item : cases) {
        clv_picture from = in.view(), to = out.view();
        item.change(from, to);
        EXPECT(clv_session_submit(run.session, &from, &to, nullptr) == CLV_ERR_INVALID_ARGUMENT);
        EXPECT_SAYS(host.error(), item.says);
    }
    EXPECT(clv_session_pending(run.session) == 0);
}

void without_memory_there_is_a_sentence_and_all_goes_on(const Folder &folder) {
    const auto path = folder.write("memory.onnx", onnx({1, 6, -1, -1}, kS2d));
    const Device device;
    const auto handles = device.handles();
    Host host;
    const clv_format small = look_of(64, 48, CLV_PIXEL_NV12), large = look_of(1920, 1080, CLV_PIXEL_NV12);
    const Run before(host, path, small, dummy(&handles));
    DevicePicture in(device, small), out(device, before.info().output);
    {
        const auto all = fill(device, size_t{8} << 20);
        const Run run(host, path, large, dummy(&handles)); // 60 MiB of tensors
        EXPECT(run.status == CLV_ERR_NO_MEMORY);
        EXPECT(run.session == nullptr);
        EXPECT_SAYS(host.error(), "MiB");
        std::printf("     %s\n", host.error().c_str());
        EXPECT(before.process(in.view(), out.view()) == CLV_OK);
    }
    const Run after(host, path, look_of(640, 360, CLV_PIXEL_NV12), dummy(&handles));
    expect(after.status == CLV_OK, host.error(), __LINE__);
    EXPECT(before.process(in.view(), out.view()) == CLV_OK);
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(pictures_are_those_of_host_memory);
    RUN(rgb_pictures_are_those_of_host_memory_within_a_code);
    RUN(strength_0_copies_samples_and_others_scale_the_change);
    RUN(nothing_is_copied_or_waited_for_and_memory_is_constant);
    RUN(logs_say_what_was_chosen);
    RUN(receive_returns_at_once_in_order_and_in_flight_bounds);
    RUN(a_failed_inference_is_an_error_and_the_session_goes_on);
    RUN(sessions_on_streams_and_contexts_work_side_by_side);
    RUN(bad_options_get_one_sentence_each);
    RUN(bad_planes_are_refused_before_anything_is_enqueued);
    RUN(without_memory_there_is_a_sentence_and_all_goes_on);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
