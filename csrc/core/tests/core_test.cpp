// SPDX-License-Identifier: BSD-2-Clause
// What core promises to its hosts, through the C ABI and the dummy backend. The models are ONNX files made
// here, byte by byte, so that no runtime and no data are needed.
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "clarivid/clarivid.h"
#include "core/error.h"
#include "core/onnx_inspect.h"
#include "core/sha256.h"
#include "core/tests/core_test.h"

namespace {

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

clv_session_params dummy(const char *device = "", int in_flight = 1) {
    clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
    params.backend = "dummy";
    params.device = device;
    params.in_flight = in_flight;
    params.threads = 2;
    return params;
}

const std::vector<std::pair<std::string, std::string>> kS2d = {{"clarivid.layout", "yuv420_s2d"},
                                                               {"clarivid.scale", "2"}};

/// A net of scale 1 with a strength.
std::string lowrank_onnx(const std::vector<int> &strength = {1}) {
    return onnx({1, 6, -1, -1},
                {{"clarivid.layout", "yuv420_s2d"}, {"clarivid.scale", "1"}, {"clarivid.task", "lowrank"}},
                body(11, tensor_value("strength", strength)));
}

// ---- promises
// ---------------------------------------------------------------------------------------------------

void sha256_gives_the_standards_digests(const Folder &) {
    // FIPS 180-4 examples (NIST, "SHA256.pdf") and one longer than two blocks.
    EXPECT(clv::sha256_hex(as_bytes("abc")) ==
           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT(clv::sha256_hex({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT(clv::sha256_hex(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT(clv::sha256_hex(as_bytes(std::string(1000000, 'a'))) ==
           "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

void onnx_summary_names_shapes_and_metadata(const Folder &) {
    const auto summary = clv::inspect_onnx(as_bytes(onnx({1, 6, -1, -1}, kS2d)), "model");
    EXPECT(summary.inputs.size() == 1 && summary.inputs[0].name == "input");
    EXPECT((summary.inputs[0].shape == std::vector<int64_t>{1, 6, -1, -1}));
    EXPECT(summary.metadata.at("clarivid.layout") == "yuv420_s2d");
}

void damaged_onnx_is_refused_and_never_crashes(const Folder &) {
    const std::string good = onnx({1, 6, -1, -1}, kS2d);
    std::mt19937 random(7);
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        std::string bad = good;
        if (i % 2)
            bad.resize(random() % good.size());
        for (unsigned flips = random() % 4; flips > 0 && !bad.empty(); flips--)
            bad[random() % bad.size()] = static_cast<char>(random());
        try {
            clv::inspect_onnx(as_bytes(bad), "model");
        } catch (const clv::Error &error) {
            refused += error.status() == CLV_ERR_INVALID_MODEL;
        }
    }
    EXPECT(refused > 5000);
}

void dummy_backend_gives_the_nearest_neighbour_picture(const Folder &folder) {
    const std::string models[] = {folder.write("s2d.onnx", onnx({1, 6, -1, -1}, kS2d)),
                                  folder.write("y.onnx", onnx({1, 1, -1, -1}, {{"clarivid.scale", "2"}}))};
    for (const auto &path : models)
        for (const auto &[w, h] : {std::pair{64, 48}, {63, 47}, {1, 1}, {2, 33}}) {
            Host host;
            Run run(host, path, yuv420p(w, h), dummy());
            EXPECT(run.status == CLV_OK);
            if (run.status != CLV_OK) {
                std::fprintf(stderr, "  %s\n", host.error().c_str());
                continue;
            }
            Planes in(w, h), out(2 * w, 2 * h);
            std::mt19937 random(1);
            for (auto &sample : in.data)
                sample = static_cast<uint8_t>(random());
            const auto in_view = in.view(), out_view = out.view();
            EXPECT(clv_session_submit(run.session, &in_view, &out_view, nullptr) == CLV_OK);
            EXPECT(clv_session_receive(run.session, 1, nullptr) == CLV_OK);
            int wrong = 0;
            for (int y = 0; y < 2 * h; y++)
                for (int x = 0; x < 2 * w; x++)
                    wrong += out.data[static_cast<size_t>(y * 2 * w + x)] !=
                             in.data[static_cast<size_t>(y / 2 * w + x / 2)];
            EXPECT(wrong == 0);
        }
}

void pictures_come_back_in_order_whatever_is_in_flight(const Folder &folder) {
    const auto path = folder.write("order.onnx", onnx({1, 6, -1, -1}, kS2d));
    for (const int in_flight : {1, 2, 7}) {
        Host host;
        Run run(host, path, yuv420p(16, 16), dummy("delay=3", in_flight));
        EXPECT(run.status == CLV_OK);
        constexpr int count = 20;
        std::vector<Planes> ins(count, Planes(16, 16)), outs(count, Planes(32, 32));
        int received = 0;
        const auto receive = [&](bool wait) {
            void *opaque = nullptr;
            const int status = clv_session_receive(run.session, wait, &opaque);
            if (status == CLV_OK) {
                EXPECT(opaque == &outs[static_cast<size_t>(received)]);
                EXPECT(outs[static_cast<size_t>(received)].data[0] == received);
                received++;
            }
            return status;
        };
        for (int i = 0; i < count; i++) {
            auto &in = ins[static_cast<size_t>(i)], &out = outs[static_cast<size_t>(i)];
            std::fill(in.data.begin(), in.data.end(), static_cast<uint8_t>(i));
            const auto in_view = in.view(), out_view = out.view();
            while (clv_session_submit(run.session, &in_view, &out_view, &out) == CLV_AGAIN)
                EXPECT(receive(true) == CLV_OK);
            EXPECT(clv_session_pending(run.session) <= in_flight);
        }
        while (receive(true) == CLV_OK) {
        }
        EXPECT(received == count);
        EXPECT(clv_session_receive(run.session, 1, nullptr) == CLV_EMPTY);
    }
}

void a_failed_inference_is_an_error_and_the_session_goes_on(const Folder &folder) {
    const auto path = folder.write("fail.onnx", onnx({1, 6, -1, -1}, kS2d));
    Host host;
    Run run(host, path, yuv420p(8, 8), dummy("fail=2"));
    Planes in(8, 8), out(16, 16);
    const auto in_view = in.view(), out_view = out.view();
    for (const int wanted :
         {static_cast<int>(CLV_OK), static_cast<int>(CLV_ERR_INFERENCE), static_cast<int>(CLV_OK)}) {
        EXPECT(clv_session_submit(run.session, &in_view, &out_view, &in) == CLV_OK);
        void *opaque = nullptr;
        EXPECT(clv_session_receive(run.session, 1, &opaque) == wanted);
        EXPECT(opaque == &in);
    }
    EXPECT_SAYS(host.error(), "inference 2 failed");
}

void a_session_that_is_destroyed_waits_for_its_pictures(const Folder &folder) {
    const auto path = folder.write("destroy.onnx", onnx({1, 6, -1, -1}, kS2d));
    Host host;
    Planes in(8, 8), out(16, 16);
    Run run(host, path, yuv420p(8, 8), dummy("delay=20,fail=2", 3));
    const auto in_view = in.view(), out_view = out.view();
    for (int i = 0; i < 3; i++)
        EXPECT(clv_session_submit(run.session, &in_view, &out_view, nullptr) == CLV_OK);
    clv_session_destroy(&run.session);
    EXPECT(run.session == nullptr);
    EXPECT_SAYS(host.logged, "inference 2 failed");
}

void sessions_run_in_parallel_without_touching_each_other(const Folder &folder) {
    const auto path = folder.write("parallel.onnx", onnx({1, 6, -1, -1}, kS2d));
    Host host;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; t++)
        threads.emplace_back([&, t] {
            const int w = 16 + 7 * t, h = 9 + 3 * t;
            Run run(host, path, yuv420p(w, h), dummy());
            Planes in(w, h), out(2 * w, 2 * h);
            const auto in_view = in.view(), out_view = out.view();
            for (int i = 0; i < 50; i++) {
                std::fill(in.data.begin(), in.data.end(), static_cast<uint8_t>(16 * t + i));
                if (clv_session_submit(run.session, &in_view, &out_view, nullptr) != CLV_OK ||
                    clv_session_receive(run.session, 1, nullptr) != CLV_OK)
                    wrong++;
                for (const auto sample : out.data)
                    wrong += sample != static_cast<uint8_t>(16 * t + i);
            }
        });
    for (auto &thread : threads)
        thread.join();
    EXPECT(wrong == 0);
}

/// One picture through the dummy backend at a strength; a host that knows no strength sends `struct_size`
/// bytes.
Planes through(const std::string &path, Planes in, double strength,
               size_t struct_size = sizeof(clv_session_params)) {
    Host host;
    auto params = dummy();
    params.strength = strength;
    params.struct_size = static_cast<uint32_t>(struct_size);
    Run run(host, path, yuv420p(in.width, in.height), params);
    expect(run.status == CLV_OK, host.error(), __LINE__);
    Planes out(in.width, in.height);
    const auto in_view = in.view(), out_view = out.view();
    EXPECT(clv_session_submit(run.session, &in_view, &out_view, nullptr) == CLV_OK);
    EXPECT(clv_session_receive(run.session, 1, nullptr) == CLV_OK);
    return out;
}

void strength_scales_the_change_and_0_gives_the_input(const Folder &folder) {
    const auto path = folder.write("lowrank.onnx", lowrank_onnx());
    Planes in(33, 17);
    std::mt19937 random(3);
    for (auto &sample : in.data)
        sample = static_cast<uint8_t>(random());
    for (const double strength : {0.0, 0.25, 0.5, 1.0}) {
        const Planes out = through(path, in, strength);
        int wrong = 0;
        for (size_t i = 0; i < in.data.size(); i++) {
            const double span = i < size_t{33} * 17 ? 219 : 224; // dummy.cpp: 0.22 of it is taken away
            const double wanted = std::max(0.0, std::floor(in.data[i] - 0.22 * strength * span + 0.5));
            wrong += out.data[i] != static_cast<uint8_t>(wanted);
        }
        EXPECT(wrong == 0);
    }
}

void a_host_that_knows_no_strength_gets_the_whole_change(const Folder &folder) {
    const auto path = folder.write("older.onnx", lowrank_onnx());
    Planes in(8, 8);
    std::fill(in.data.begin(), in.data.end(), uint8_t{200});
    EXPECT(through(path, in, 0.0, offsetof(clv_session_params, strength)).data ==
           through(path, in, 1.0).data);
}

void models_say_whether_they_have_a_strength(const Folder &folder) {
    Host host;
    for (const bool has : {false, true}) {
        clv_model *model = nullptr;
        const auto path = folder.write("has.onnx", has ? lowrank_onnx() : onnx({1, 6, -1, -1}, kS2d));
        EXPECT(clv_model_open(host.context, path.c_str(), &model) == CLV_OK);
        EXPECT(clv_model_has_strength(model) == (has ? 1 : 0));
        clv_model_close(&model);
    }
}

void bad_models_get_one_sentence_each(const Folder &folder) {
    struct Case {
        std::string name;
        int status;
        std::string says;
    };
    const std::string good = onnx({1, 6, -1, -1}, kS2d);
    const std::string card = R"({"schema":1,"name":"x","task":"sr","layout":"yuv420_s2d","scale":2,)"
                             R"("normalisation":"ycbcr_unit_centred","files":{"model.onnx":{"sha256":")";
    folder.write("digest/model.onnx", good);
    folder.write("digest/card.json", card + std::string(64, '0') + "\"}}}");
    folder.write("schema/model.onnx", good);
    folder.write("schema/card.json", R"({"schema":99})");
    folder.write("json/model.onnx", good);
    folder.write("json/card.json", "{\"schema\":1,");
    folder.write("layout/model.onnx", good);
    folder.write("layout/card.json", R"({"schema":1,"name":"x","task":"sr","layout":"hsv","scale":2})");
    folder.write("absent/card.json", card + std::string(64, '0') + "\"}}}");
    folder.write("escape/card.json", R"({"schema":1,"name":"x","task":"sr","layout":"rgb","scale":2,)"
                                     R"("files":{"model.onnx":{},"../model.onnx":{}}})");
    fs::create_directories(folder.path() + "/folder");
    const std::string lowrank = lowrank_onnx();
    folder.write("unlisted/model.onnx", lowrank);
    folder.write("unlisted/card.json", card + clv::sha256_hex(as_bytes(lowrank)) + "\"}}}");
    folder.write("promised/model.onnx", good);
    folder.write("promised/card.json",
                 card + clv::sha256_hex(as_bytes(good)) + "\"}},\"controls\":{\"strength\":{}}}");
    const Case cases[] = {
        {"no_such_model", CLV_ERR_NOT_FOUND, "no_such_model"},
        {folder.path() + "/nowhere.onnx", CLV_ERR_NOT_FOUND, "does not exist"},
        {folder.path() + "/folder", CLV_ERR_NOT_FOUND, "model.onnx"},
        {"", CLV_ERR_INVALID_ARGUMENT, "no model is named"},
        {folder.write("text.onnx", "this is no model"), CLV_ERR_INVALID_MODEL, "no ONNX"},
        {folder.write("empty.onnx", ""), CLV_ERR_INVALID_MODEL, "no ONNX"},
        {folder.write("cut.onnx", good.substr(0, good.size() - 5)), CLV_ERR_INVALID_MODEL, "truncated"},
        {folder.write("four.onnx", onnx({1, 4, -1, -1})), CLV_ERR_UNSUPPORTED, "input channels"},
        {folder.write("rank.onnx", onnx({1, 6})), CLV_ERR_UNSUPPORTED, "four dimensions"},
        {folder.write("scale.onnx", onnx({1, 3, -1, -1}, {{"clarivid.scale", "9"}})), CLV_ERR_INVALID_MODEL,
         "scale"},
        {folder.path() + "/digest", CLV_ERR_INVALID_MODEL, "SHA-256"},
        {folder.path() + "/digest/model.onnx", CLV_ERR_INVALID_MODEL, "SHA-256"},
        {folder.path() + "/schema", CLV_ERR_INVALID_MODEL, "update clarivid"},
        {folder.path() + "/json", CLV_ERR_INVALID_MODEL, "JSON"},
        {folder.path() + "/layout", CLV_ERR_INVALID_MODEL, "hsv"},
        {folder.path() + "/absent", CLV_ERR_NOT_FOUND, "model.onnx"},
        {folder.path() + "/escape", CLV_ERR_INVALID_MODEL, "no plain file name"},
        {folder.write("vector.onnx", lowrank_onnx({3})), CLV_ERR_UNSUPPORTED, "a strength has the shape [1]"},
        {folder.write("inputs.onnx", onnx({1, 6, -1, -1}, kS2d, body(11, tensor_value("gain", {1})))),
         CLV_ERR_UNSUPPORTED, "2 inputs"},
        {folder.write("none.onnx", onnx({}, kS2d)), CLV_ERR_UNSUPPORTED, "four dimensions"},
        {folder.path() + "/unlisted", CLV_ERR_INVALID_MODEL, "its card does not list"},
        {folder.path() + "/promised", CLV_ERR_INVALID_MODEL, "its card lists it"},
    };
    for (const auto &item : cases) {
        Host host;
        clv_model *model = nullptr;
        const int status = clv_model_open(host.context, item.name.c_str(), &model);
        expect(status == item.status, item.name + " gave " + clv_status_name(status) + ": " + host.error(),
               __LINE__);
        EXPECT_SAYS(host.error(), item.says);
        EXPECT(host.error().find('\n') == std::string::npos);
        EXPECT(model == nullptr);
        clv_model_close(&model);
    }
}

void bad_options_get_one_sentence_each(const Folder &folder) {
    const auto path = folder.write("options.onnx", onnx({1, 6, -1, -1}, kS2d));
    struct Case {
        std::function<void(clv_format &, clv_session_params &)> change;
        int status;
        std::string says;
    };
    const Case cases[] = {
        {[](auto &, auto &p) { p.backend = "nonsense"; }, CLV_ERR_NOT_FOUND, "one of auto"},
        {[](auto &, auto &p) { p.backend = "../x"; }, CLV_ERR_NOT_FOUND, "unknown"},
        {[](auto &, auto &p) { p.device = "nonsense"; }, CLV_ERR_UNSUPPORTED, "no device"},
        {[](auto &, auto &p) { p.threads = -1; }, CLV_ERR_INVALID_ARGUMENT, "threads=-1"},
        {[](auto &, auto &p) { p.in_flight = 0; }, CLV_ERR_INVALID_ARGUMENT, "in_flight=0"},
        {[](auto &, auto &p) { p.precision = static_cast<clv_precision>(99); }, CLV_ERR_INVALID_ARGUMENT,
         "precision"},
        {[](auto &, auto &p) { p.precision = CLV_PRECISION_BF16; }, CLV_ERR_UNSUPPORTED, "fp32 only"},
        {[](auto &, auto &p) { p.strength = 1.01; }, CLV_ERR_INVALID_ARGUMENT, "strength=1.01"},
        {[](auto &, auto &p) { p.strength = -1e-9; }, CLV_ERR_INVALID_ARGUMENT, "strength=-1e-09"},
        {[](auto &, auto &p) { p.strength = std::nan(""); }, CLV_ERR_INVALID_ARGUMENT, "strength=nan"},
        {[](auto &, auto &p) { p.strength = 0.5; }, CLV_ERR_UNSUPPORTED, "has no strength"},
        {[](auto &, auto &p) { p.struct_size = 0; }, CLV_ERR_INVALID_ARGUMENT, "struct_size"},
        {[](auto &f, auto &) { f.width = 0; }, CLV_ERR_INVALID_ARGUMENT, "width=0"},
        {[](auto &f, auto &) { f.height = 1 << 20; }, CLV_ERR_INVALID_ARGUMENT, "height"},
        {[](auto &f, auto &) { f.pixel_format = static_cast<clv_pixel_format>(0); }, CLV_ERR_INVALID_ARGUMENT,
         "pixel_format"},
        {[](auto &f, auto &) { f.memory = static_cast<clv_memory>(2); }, CLV_ERR_INVALID_ARGUMENT,
         "memory=2"},
        {[](auto &f, auto &) { f.memory = CLV_MEMORY_CUDA; }, CLV_ERR_INVALID_ARGUMENT,
         "params.cuda is NULL"},
    };
    for (const auto &item : cases) {
        Host host;
        auto format = yuv420p(64, 64);
        auto params = dummy();
        item.change(format, params);
        Run run(host, path, format, params);
        expect(run.status == item.status, std::string(clv_status_name(run.status)) + ": " + host.error(),
               __LINE__);
        EXPECT_SAYS(host.error(), item.says);
        EXPECT(run.session == nullptr);
    }
}

void bad_planes_are_refused_before_anything_is_read(const Folder &folder) {
    const auto path = folder.write("planes.onnx", onnx({1, 6, -1, -1}, kS2d));
    Host host;
    Run run(host, path, yuv420p(8, 8), dummy());
    Planes in(8, 8), out(16, 16);
    auto in_view = in.view(), out_view = out.view();
    in_view.stride[0] = 7;
    EXPECT(clv_session_submit(run.session, &in_view, &out_view, nullptr) == CLV_ERR_INVALID_ARGUMENT);
    EXPECT_SAYS(host.error(), "stride of 7");
    in_view = in.view();
    out_view.data[2] = nullptr;
    EXPECT(clv_session_submit(run.session, &in_view, &out_view, nullptr) == CLV_ERR_INVALID_ARGUMENT);
    EXPECT_SAYS(host.error(), "output plane 2 is NULL");
    EXPECT(clv_session_pending(run.session) == 0);
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(sha256_gives_the_standards_digests);
    RUN(onnx_summary_names_shapes_and_metadata);
    RUN(damaged_onnx_is_refused_and_never_crashes);
    RUN(dummy_backend_gives_the_nearest_neighbour_picture);
    RUN(pictures_come_back_in_order_whatever_is_in_flight);
    RUN(a_failed_inference_is_an_error_and_the_session_goes_on);
    RUN(a_session_that_is_destroyed_waits_for_its_pictures);
    RUN(sessions_run_in_parallel_without_touching_each_other);
    RUN(strength_scales_the_change_and_0_gives_the_input);
    RUN(a_host_that_knows_no_strength_gets_the_whole_change);
    RUN(models_say_whether_they_have_a_strength);
    RUN(bad_models_get_one_sentence_each);
    RUN(bad_options_get_one_sentence_each);
    RUN(bad_planes_are_refused_before_anything_is_read);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
