// SPDX-License-Identifier: BSD-2-Clause
// Two sets of weights blended into one. With arguments, for tests/test_sharpness.py, which compares the bytes
// with those of clarivid.blend:
//
//   blend_test FIRST SECOND SHARPNESS OUT [TWIN OUT]     .onnx or .safetensors files; TWIN: fp16, of FIRST
#include "core/blend.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>

#include "core/error.h"
#include "core/files.h"
#include "core/sha256.h"
#include "core/tests/core_test.h"
#include "pixels/half.h"

namespace {

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

constexpr uint64_t kFloat = 1, kHalf = 10, kInt64 = 7;

std::string floats(const std::vector<float> &values) {
    return {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(float)};
}

std::string halves(const std::vector<float> &values) {
    std::string out;
    for (const float value : values) {
        const uint16_t half = clv::pixels::f16_from_f32(value);
        out.append(reinterpret_cast<const char *>(&half), sizeof(half));
    }
    return out;
}

/// `field` 9 is raw_data, 4 float_data.
std::string tensor(const std::string &name, uint64_t type, const std::vector<uint64_t> &shape,
                   const std::string &data, int field = 9) {
    std::string dims;
    for (const uint64_t size : shape)
        dims += number(1, size);
    return body(5, dims + number(2, type) + body(8, name) + body(field, data));
}

std::string net(const std::string &tensors, const std::string &node = "Conv") {
    return number(1, 8) +
           body(7, body(1, body(4, node)) + tensors + body(11, tensor_value("input", {1, 6, -1, -1})) +
                       body(12, tensor_value("output", {-1, -1, -1, -1}))) +
           body(8, number(2, 18)) + body(14, body(1, "clarivid.layout") + body(2, "yuv420_s2d")) +
           body(14, body(1, "clarivid.scale") + body(2, "2"));
}

std::string text(const std::vector<std::byte> &bytes) {
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

std::string blended(const std::string &first, const std::string &second, float sharpness) {
    return text(clv::blend_onnx(as_bytes(first), as_bytes(second), sharpness, "model x"));
}

std::string refused(const std::function<void()> &call) {
    try {
        call();
    } catch (const clv::Error &error) {
        EXPECT(error.status() == CLV_ERR_INVALID_MODEL);
        return error.what();
    }
    return "nothing was thrown";
}

void weights_are_mixed_in_place_and_what_is_equal_stays(const Folder &) {
    const auto made = [](float a, float b) {
        return net(tensor("w", kFloat, {2}, floats({a, b})) +
                   tensor("same", kFloat, {1}, floats({-1 / 9.0F})) +
                   tensor("axes", kInt64, {1}, std::string(8, '\1')) +
                   tensor("list", kFloat, {2}, floats({b, a}), 4) + tensor("half", kHalf, {1}, halves({a})));
    };
    const float a = 0.1F, b = -3.7F, c = 1e-3F, d = 0.25F, s = 0.3F;
    const auto mix = [s](float from, float to) {
        volatile float one = (1.0F - s) * from, two = s * to; // rounded on their own
        return one + two;
    };
    const std::string first = made(a, b), second = made(c, d);
    EXPECT(blended(first, second, s) ==
           net(tensor("w", kFloat, {2}, floats({mix(a, c), mix(b, d)})) +
               tensor("same", kFloat, {1}, floats({-1 / 9.0F})) +
               tensor("axes", kInt64, {1}, std::string(8, '\1')) +
               tensor("list", kFloat, {2}, floats({mix(b, d), mix(a, c)}), 4) +
               tensor("half", kHalf, {1},
                      halves({mix(clv::pixels::f32_from_f16(clv::pixels::f16_from_f32(a)),
                                  clv::pixels::f32_from_f16(clv::pixels::f16_from_f32(c)))}))));
    EXPECT(blended(first, second, 1) == second);
    EXPECT(blended(first, first, s) == first);
    EXPECT(blended(made(1, 1), made(-0.0F, 0), 1) == made(-0.0F, 0));
}

void a_twin_follows_its_net_rounded_once(const Folder &) {
    const auto made = [](float w) {
        return net(tensor("w", kFloat, {1}, floats({w})) + tensor("c", kFloat, {1}, floats({0.1F})));
    };
    const auto twin = [](float w) {
        return net(tensor("w", kHalf, {1}, halves({w})) + tensor("c", kHalf, {1}, halves({0.1F})));
    };
    const auto renewed = [&](const std::string &halves_of) {
        return text(
            clv::renew_twin(as_bytes(halves_of), as_bytes(made(1)), as_bytes(made(0.3333F)), "model x"));
    };
    EXPECT(renewed(twin(1)) == twin(0.3333F));
    EXPECT_SAYS(refused([&] { renewed(net(tensor("v", kHalf, {1}, halves({1})))); }), "not in its fp16 twin");
}

void sets_that_are_not_of_one_net_are_refused_with_a_sentence(const Folder &) {
    const std::string good = net(tensor("w", kFloat, {2}, floats({1, 2})));
    const auto says = [&](const std::string &other, const std::string &part) {
        EXPECT_SAYS(refused([&] { blended(good, other, 0.5F); }), part);
    };
    says(net(tensor("v", kFloat, {2}, floats({1, 2}))), "has no weights \"w\"");
    says(net(tensor("w", kFloat, {1, 2}, floats({1, 2}))), "\"w\" are 2 of type 1 in the first and 1x2");
    says(net(tensor("w", kHalf, {2}, halves({1, 2}))), "2 of type 10 in the second");
    says(net(tensor("w", kFloat, {2}, floats({1, 2})) + tensor("v", kFloat, {1}, floats({1}))),
         "the first has no weights \"v\"");
    says(net(tensor("w", kFloat, {2}, floats({1, 2})), "Relu"), "other nodes");
    says(net(tensor("w", kFloat, {2}, floats({1}))), "is not weights in fp32 or fp16");
    says(good.substr(0, good.size() - 3), "truncated");
    const auto integer = [](char value) { return net(tensor("n", kInt64, {1}, std::string(8, value))); };
    EXPECT_SAYS(refused([&] { blended(integer(1), integer(2), 0.5F); }), "\"n\" (1 of type 7) differs");
}

std::string safetensors(const std::string &header, const std::string &data) {
    std::string length(8, '\0');
    const uint64_t size = header.size();
    std::memcpy(length.data(), &size, sizeof(size));
    return length + header + data;
}

void tables_of_tensors_are_mixed_by_name(const Folder &) {
    const std::string one =
        safetensors(R"({"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                    R"("y":{"dtype":"F16","shape":[1],"data_offsets":[4,6]}})",
                    floats({2}) + halves({1}));
    const std::string two = safetensors(R"({"y":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},)"
                                        R"("x":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
                                        halves({3}) + floats({4}));
    const auto made = text(clv::blend_safetensors(as_bytes(one), as_bytes(two), 0.5F, "model x"));
    EXPECT(made == one.substr(0, one.size() - 6) + floats({3}) + halves({2}));
    const std::string other = safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                          R"("z":{"dtype":"F16","shape":[1],"data_offsets":[4,6]}})",
                                          floats({2}) + halves({1}));
    EXPECT_SAYS(refused([&] { clv::blend_safetensors(as_bytes(one), as_bytes(other), 0.5F, "model x"); }),
                "\"y\" have another type or shape");
}

/// Whatever bytes come: a result, or CLV_ERR_INVALID_MODEL.
void damaged_files_never_crash(const Folder &) {
    const std::string onnx =
        net(tensor("w", kFloat, {2}, floats({1, 2})) + tensor("h", kHalf, {1}, halves({1})));
    const std::string table =
        safetensors(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", floats({2}));
    std::mt19937 random(5);
    int refusals = 0;
    for (int i = 0; i < 20000; i++) {
        std::string bad = i % 2 ? onnx : table;
        if (i % 4 > 1)
            bad.resize(random() % bad.size());
        for (unsigned flips = random() % 4; flips > 0 && !bad.empty(); flips--)
            bad[random() % bad.size()] = static_cast<char>(random());
        try {
            if (i % 2)
                clv::blend_onnx(as_bytes(onnx), as_bytes(bad), 0.5F, "model x");
            else
                clv::blend_safetensors(as_bytes(table), as_bytes(bad), 0.5F, "model x");
        } catch (const clv::Error &error) {
            refusals += error.status() == CLV_ERR_INVALID_MODEL;
        }
    }
    EXPECT(refusals > 5000);
}

/// A bundle whose second set is other weights.
std::string bundle(const Folder &folder, const std::string &name, bool second = true) {
    const auto made = [](float w) { return net(tensor("w", kFloat, {1}, floats({w}))); };
    const auto entry = [](const std::string &file, const std::string &bytes) {
        return "\"" + file + R"(":{"sha256":")" + clv::sha256_hex(as_bytes(bytes)) + "\"}";
    };
    folder.write(name + "/model.onnx", made(1));
    folder.write(name + "/model_perceptual.onnx", made(2));
    const std::string files =
        entry("model.onnx", made(1)) + (second ? "," + entry("model_perceptual.onnx", made(2)) : "");
    folder.write(name + "/card.json",
                 R"({"schema":1,"name":")" + name +
                     R"(","task":"sr","layout":"yuv420_s2d","scale":2,"normalisation":"ycbcr_unit_centred",)"
                     R"("files":{)" +
                     files + "}" + R"(,"perceptual":{}})");
    return folder.path() + "/" + name;
}

int session(Host &host, const std::string &path, double sharpness, size_t struct_size) {
    clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
    params.backend = "dummy";
    params.sharpness = sharpness;
    params.struct_size = static_cast<uint32_t>(struct_size);
    const Run run(host, path, yuv420p(64, 48), params);
    return run.status;
}

void sessions_take_0_to_1_and_say_what_else_is_wrong(const Folder &folder) {
    const std::string both = bundle(folder, "both");
    const std::string plain = folder.write("plain.onnx", net(""));
    struct Case {
        std::string path;
        double sharpness;
        int status;
        std::string says;
    };
    const Case cases[] = {
        {both, 0, CLV_OK, ""},
        {both, 0.5, CLV_OK, "sharpness=0.5"},
        {both, 1, CLV_OK, "sharpness=1"},
        {both, -0.1, CLV_ERR_INVALID_ARGUMENT, "sharpness=-0.1 is not in 0..1"},
        {both, 1.5, CLV_ERR_INVALID_ARGUMENT, "sharpness=1.5 is not in 0..1"},
        {both, std::nan(""), CLV_ERR_INVALID_ARGUMENT, "sharpness=nan is not in 0..1"},
        {plain, 0, CLV_OK, ""},
        {plain, 0.5, CLV_ERR_UNSUPPORTED, "model plain has one set of weights, and sharpness=0.5 mixes two"},
    };
    for (const Case &each : cases) {
        Host host;
        const int status = session(host, each.path, each.sharpness, sizeof(clv_session_params));
        expect(status == each.status, clv_status_name(status) + (": " + host.error()), __LINE__);
        EXPECT_SAYS(status == CLV_OK ? host.logged : host.error(), each.says);
    }
    Host older;
    EXPECT(session(older, both, 1.5, offsetof(clv_session_params, sharpness)) == CLV_OK);
}

void models_say_whether_they_have_a_second_set(const Folder &folder) {
    Host host;
    const std::pair<std::string, int> cases[] = {{bundle(folder, "two"), 1},
                                                 {folder.write("one.onnx", net("")), 0}};
    for (const auto &[path, has] : cases) {
        clv_model *model = nullptr;
        EXPECT(clv_model_open(host.context, path.c_str(), &model) == CLV_OK);
        EXPECT(clv_model_has_sharpness(model) == has);
        clv_model_close(&model);
    }
    clv_model *model = nullptr;
    const std::string lacking = bundle(folder, "lacking", false);
    EXPECT(clv_model_open(host.context, lacking.c_str(), &model) == CLV_ERR_INVALID_MODEL);
    EXPECT_SAYS(host.error(), "\"files\" lacks model_perceptual.onnx");
    const std::string damaged = bundle(folder, "damaged");
    folder.write("damaged/model_perceptual.onnx", "other");
    EXPECT(clv_model_open(host.context, damaged.c_str(), &model) == CLV_ERR_INVALID_MODEL);
    EXPECT_SAYS(host.error(), "has SHA-256");
}

int blend_files(int argc, char **argv) {
    const auto write = [](const char *path, const std::vector<std::byte> &bytes) {
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    try {
        const auto first = clv::read_file(argv[1]), second = clv::read_file(argv[2]);
        const float sharpness = std::strtof(argv[3], nullptr);
        const bool table = std::string(argv[1]).ends_with(".safetensors");
        const auto out = table ? clv::blend_safetensors(first, second, sharpness, "the model")
                               : clv::blend_onnx(first, second, sharpness, "the model");
        write(argv[4], out);
        if (argc > 6)
            write(argv[6], clv::renew_twin(clv::read_file(argv[5]), first, out, "the model"));
    } catch (const clv::Error &error) {
        std::printf("%s\n", error.what());
        return 1;
    }
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    if (argc > 4)
        return blend_files(argc, argv);
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(weights_are_mixed_in_place_and_what_is_equal_stays);
    RUN(a_twin_follows_its_net_rounded_once);
    RUN(sets_that_are_not_of_one_net_are_refused_with_a_sentence);
    RUN(tables_of_tensors_are_mixed_by_name);
    RUN(damaged_files_never_crash);
    RUN(sessions_take_0_to_1_and_say_what_else_is_wrong);
    RUN(models_say_whether_they_have_a_second_set);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
