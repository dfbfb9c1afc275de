// SPDX-License-Identifier: BSD-2-Clause
// How pictures are cut into tiles, what nets see around a sample, and sessions in tiles on the dummy backend,
// whose every output value is the nearest input value: one that came from the wrong place is another.
#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "clarivid/clarivid.h"
#include "core/error.h"
#include "core/receptive_field.h"
#include "core/tests/core_test.h"
#include "core/tiles.h"

namespace {

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

// ---- nets

std::string attribute(const std::string &name, int64_t value) {
    return body(5, body(1, name) + number(3, static_cast<uint64_t>(value)) + number(20, 2));
}
std::string attribute(const std::string &name, const std::vector<int> &values) {
    std::string all = body(1, name) + number(20, 7);
    for (const int value : values)
        all += number(8, static_cast<uint64_t>(value));
    return body(5, all);
}
std::string attribute(const std::string &name, const std::string &value) {
    return body(5, body(1, name) + body(4, value) + number(20, 3));
}
/// A node of a chain: "t1" -> "t2" and so on.
std::string node(const std::string &type, const std::string &in, const std::string &out,
                 const std::string &more = {}) {
    return body(1, body(1, in) + body(2, out) + body(4, type) + more);
}
std::string conv(const std::string &in, const std::string &out, int kernel, int stride = 1, int dilation = 1,
                 int pad = -1) {
    const int before = pad >= 0 ? pad : (kernel - 1) * dilation / 2;
    return node("Conv", in, out,
                attribute("kernel_shape", std::vector{kernel, kernel}) +
                    attribute("strides", std::vector{stride, stride}) +
                    attribute("dilations", std::vector{dilation, dilation}) +
                    attribute("pads", std::vector{before, before, before, before}));
}
std::string floats(const std::string &name, const std::vector<float> &values) {
    std::string raw(values.size() * sizeof(float), '\0');
    std::memcpy(raw.data(), values.data(), raw.size());
    return body(5, number(1, values.size()) + number(2, 1) + body(8, name) + body(9, raw));
}
std::string net(const std::string &nodes, int channels = 1,
                const std::vector<std::pair<std::string, std::string>> &metadata = {}) {
    return onnx({1, channels, -1, -1}, metadata, nodes);
}
clv::ReceptiveField field_of(const std::string &nodes) {
    const std::string model = net(nodes);
    return clv::receptive_field(as_bytes(model), "the test's model");
}

// ---- promises

void every_position_is_taken_once_and_far_from_inner_edges(const Folder &) {
    std::mt19937 random(1);
    const auto any = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
    for (int i = 0; i < 20000; i++) {
        const int64_t alignment = any(1, 5), overlap = any(0, 20), length = any(1, 400);
        const int64_t tile = clv::fitting_tile(length, any(1, 420), alignment);
        EXPECT(tile == length || (tile < length && (length - tile) % alignment == 0));
        if (tile < length && tile < 2 * overlap + alignment)
            continue; // refused: the next promise
        int64_t taken = 0;
        for (const auto &span : clv::cut(length, tile, overlap, alignment)) {
            EXPECT(span.start >= 0 && span.start + tile <= length && span.start % alignment == 0);
            EXPECT(span.first == taken && span.last > span.first);
            EXPECT(span.start == 0 ? span.first == 0 : span.first >= span.start + overlap);
            const int64_t end = span.start + tile;
            EXPECT(end == length ? span.last == length : span.last <= end - overlap);
            taken = span.last;
        }
        EXPECT(taken == length);
        if (failures_in_test)
            return;
    }
}

void tiles_without_room_are_refused(const Folder &) {
    try {
        clv::cut(100, 9, 4, 2);
        EXPECT(false);
    } catch (const clv::Error &error) {
        EXPECT(error.status() == CLV_ERR_INVALID_ARGUMENT);
        EXPECT_SAYS(std::string(error.what()), "a tile of 9 positions has no room between two overlaps of 4");
    }
    EXPECT(clv::cut(100, 10, 4, 2).size() > 2);
    EXPECT(clv::cut(9, 9, 40, 2).size() == 1); // the whole axis needs none
}

void a_chain_of_layers_sees_the_sum_of_them(const Folder &) {
    EXPECT(field_of(conv("input", "output", 1)).radius == 0);
    EXPECT(field_of(conv("input", "a", 3) + conv("a", "b", 5) + node("Relu", "b", "output")).radius == 3);
    EXPECT(field_of(conv("input", "output", 3, 1, 4)).radius == 4);
    // The longest path counts.
    const auto skip = conv("input", "a", 3) + conv("a", "b", 3) +
                      body(1, body(1, "b") + body(1, "input") + body(2, "output") + body(4, "Add"));
    EXPECT(field_of(skip).radius == 2);
    // Padding by a layer of its own, then none by the convolution.
    const auto padded = body(1, body(1, "input") + body(2, "a") + body(4, "Pad") +
                                    attribute("pads", std::vector{0, 0, 1, 1, 0, 0, 1, 1})) +
                        conv("a", "output", 3, 1, 1, 0);
    EXPECT(field_of(padded).radius == 1);
}

void strides_and_enlargements_scale_what_layers_see(const Folder &) {
    // Down by 2, a 3x3 there, up by 2: position q of the output sees q - 4 .. q + 4 at most.
    const auto u = conv("input", "a", 3, 2) + conv("a", "b", 3) +
                   node("DepthToSpace", "b", "output", attribute("blocksize", 2));
    const auto field = field_of(u);
    EXPECT(field.alignment == 2);
    EXPECT(field.radius == 4);
    // Enlarged twice, a 3x3 there: half a position, so the next one.
    const auto up = conv("input", "a", 3) + node("DepthToSpace", "a", "b", attribute("blocksize", 2)) +
                    conv("b", "output", 3);
    EXPECT(field_of(up).radius == 2 && field_of(up).alignment == 1);
    const auto resize = [](const std::string &mode) {
        return body(1, body(1, "input") + body(1, "") + body(1, "scales") + body(2, "output") +
                           body(4, "Resize") + attribute("mode", mode)) +
               floats("scales", {1, 1, 2, 2});
    };
    EXPECT(field_of(resize("nearest")).radius == 0);
    EXPECT(field_of(resize("linear")).radius == 1);
    EXPECT(field_of(resize("cubic")).radius == 2);
    const auto transposed =
        node("ConvTranspose", "input", "output",
             attribute("kernel_shape", std::vector{4, 4}) + attribute("strides", std::vector{2, 2}) +
                 attribute("pads", std::vector{1, 1, 1, 1}));
    EXPECT(field_of(transposed).radius == 1);
}

void layers_that_look_at_the_whole_picture_are_named(const Folder &) {
    const auto gate = conv("input", "a", 3) + node("GlobalAveragePool", "a", "g", body(3, "gate")) +
                      body(1, body(1, "a") + body(1, "g") + body(2, "output") + body(4, "Mul"));
    EXPECT(field_of(gate).whole == "GlobalAveragePool (gate)");
    EXPECT(field_of(gate).radius == 1 && field_of(gate).unknown.empty());
    const auto strided = conv("input", "a", 3, 4) + node("GlobalAveragePool", "a", "g") +
                         body(1, body(1, "input") + body(1, "g") + body(2, "output") + body(4, "Mul"));
    EXPECT(field_of(strided).alignment == 1 && field_of(strided).radius == 0); // it reaches no position
    const auto mean = [](const std::vector<int> &axes) {
        return node("ReduceMean", "input", "g", attribute("axes", axes)) +
               body(1, body(1, "input") + body(1, "g") + body(2, "output") + body(4, "Mul"));
    };
    EXPECT(!field_of(mean({2, 3})).whole.empty());
    EXPECT(field_of(mean({1})).whole.empty()); // along channels
    EXPECT(!field_of(node("InstanceNormalization", "input", "output")).whole.empty());
}

void layers_that_cannot_be_followed_are_named(const Folder &) {
    EXPECT(field_of(node("Reshape", "input", "output")).unknown == "Reshape (output)");
    EXPECT(field_of(node("Relu", "input", "output", body(7, "com.example"))).unknown == "Relu (output)");
    EXPECT(!field_of("").unknown.empty()); // nothing leads to the output
    EXPECT(field_of(node("Concat", "input", "output", attribute("axis", 2))).unknown == "Concat (output)");
    EXPECT(field_of(node("Concat", "input", "output", attribute("axis", 1))).unknown.empty());
    try {
        field_of("\x0a\x7f");
        EXPECT(false);
    } catch (const clv::Error &error) {
        EXPECT(error.status() == CLV_ERR_INVALID_MODEL);
    }
}

clv_session_params dummy(const char *tile, int overlap, int in_flight = 1, const char *device = "") {
    clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
    params.backend = "dummy";
    params.device = device;
    params.threads = 2;
    params.in_flight = in_flight;
    params.tile = tile;
    params.overlap = overlap;
    return params;
}

std::string written(const Folder &folder, const std::string &name, int channels) {
    std::vector<std::pair<std::string, std::string>> metadata = {{"clarivid.scale", "2"}};
    if (channels == 6)
        metadata.push_back({"clarivid.layout", "yuv420_s2d"});
    return folder.write(name, net(conv("input", "output", 3), channels, metadata));
}

std::vector<uint8_t> result_of(Host &host, const std::string &path, int width, int height,
                               const clv_session_params &params) {
    Planes in(width, height), out(2 * width, 2 * height);
    std::mt19937 random(7);
    std::generate(in.data.begin(), in.data.end(), [&] { return static_cast<uint8_t>(random()); });
    const Run run(host, path, yuv420p(width, height), params);
    expect(run.status == CLV_OK, host.error(), __LINE__);
    if (run.status == CLV_OK)
        EXPECT(run.process(in.view(), out.view()) == CLV_OK ||
               clv_session_receive(run.session, 1, nullptr) == CLV_OK);
    return out.data;
}

void pictures_in_tiles_are_whole_pictures(const Folder &folder) {
    for (const int channels : {1, 3, 6}) {
        const auto path = written(folder, "net" + std::to_string(channels) + ".onnx", channels);
        for (const auto &[w, h] : {std::pair{64, 48}, {75, 53}, {200, 9}}) {
            Host host;
            const auto whole = result_of(host, path, w, h, dummy("none", -1));
            EXPECT(host.logged.find("tiles of") == std::string::npos);
            for (const char *tile : {"16x16", "33x12", "8x300", "500x500"}) {
                const auto tiled = result_of(host, path, w, h, dummy(tile, -1));
                EXPECT(tiled == whole);
            }
            EXPECT(result_of(host, path, w, h, dummy("20x20", 0)) == whole); // nothing to see around
            EXPECT_SAYS(host.logged, "tiles of 16x");
            EXPECT_SAYS(host.logged, "as asked");
        }
    }
}

void several_pictures_in_flight_stay_apart(const Folder &folder) {
    const auto path = written(folder, "flight.onnx", 6);
    Host host;
    const Run run(host, path, yuv420p(75, 53), dummy("16x16", -1, 3, "delay=1"));
    expect(run.status == CLV_OK, host.error(), __LINE__);
    std::vector<Planes> in, out;
    for (int i = 0; i < 5; i++) {
        in.emplace_back(75, 53);
        out.emplace_back(150, 106);
        std::fill(in.back().data.begin(), in.back().data.end(), static_cast<uint8_t>(40 * i + 10));
    }
    size_t sent = 0, received = 0;
    while (received < in.size()) {
        if (sent < in.size()) {
            const clv_picture from = in[sent].view(), to = out[sent].view();
            const int status = clv_session_submit(run.session, &from, &to, &out[sent]);
            if (status == CLV_OK) {
                sent++;
                continue;
            }
            EXPECT(status == CLV_AGAIN);
        }
        void *opaque = nullptr;
        EXPECT(clv_session_receive(run.session, received % 2, &opaque) != CLV_EMPTY);
        if (opaque != &out[received])
            continue; // not ready yet
        EXPECT(std::all_of(out[received].data.begin(), out[received].data.end(),
                           [&](uint8_t code) { return code == static_cast<uint8_t>(40 * received + 10); }));
        received++;
    }
}

void a_failed_tile_is_a_failed_picture_and_the_session_goes_on(const Folder &folder) {
    const auto path = written(folder, "fail.onnx", 1);
    for (const int in_flight : {1, 2}) {
        Host host;
        const Run run(host, path, yuv420p(64, 48), dummy("32x32", -1, in_flight, "fail=3"));
        Planes in(64, 48), out(128, 96);
        const clv_picture from = in.view(), to = out.view();
        EXPECT(clv_session_submit(run.session, &from, &to, nullptr) == CLV_OK);
        EXPECT(clv_session_receive(run.session, 1, nullptr) == CLV_ERR_INFERENCE);
        EXPECT_SAYS(host.error(), "inference 3 failed");
        EXPECT(clv_session_submit(run.session, &from, &to, nullptr) == CLV_OK);
        EXPECT(clv_session_receive(run.session, 1, nullptr) == CLV_OK);
    }
}

/// Pictures that are far too large for any machine are cut.
void auto_cuts_what_does_not_fit_into_memory_and_says_why(const Folder &folder) {
    const auto path = written(folder, "large.onnx", 1);
    Host host;
    const auto whole = result_of(host, path, 300, 200, dummy(nullptr, -1));
    EXPECT(host.logged.find("tiles of") == std::string::npos);
    // 60,000 positions of 100 MB are 6 TB, and tiles as small as 3x3 less than a GB.
    Host small;
    const auto params = dummy("auto", -1, 1, "scratch=100000000");
    const auto cut = result_of(small, path, 300, 200, params);
    EXPECT(cut == whole);
    EXPECT_SAYS(small.logged, "tiles of");
    EXPECT_SAYS(small.logged, "chosen because whole pictures need about");
    Host none;
    const Run never(none, path, yuv420p(300, 200), dummy("none", -1, 1, "scratch=100000000"));
    EXPECT(never.status == CLV_OK); // as the host wants it
    Host hopeless;                  // with that overlap no tile is smaller than 41x41
    const Run run(hopeless, path, yuv420p(300, 200), dummy("auto", 20, 1, "scratch=2000000000"));
    EXPECT(run.status == CLV_ERR_NO_MEMORY);
    EXPECT_SAYS(hopeless.error(), "even the smallest tiles take too much");
}

void auto_refuses_nets_that_look_at_the_whole_picture(const Folder &folder) {
    const auto path = folder.write(
        "gate.onnx", net(conv("input", "a", 3) + node("GlobalMaxPool", "a", "g", body(3, "gate")) +
                             body(1, body(1, "a") + body(1, "g") + body(2, "output") + body(4, "Mul")),
                         1, {{"clarivid.scale", "2"}}));
    Host host;
    const Run run(host, path, yuv420p(300, 200), dummy("auto", -1, 1, "scratch=100000000"));
    EXPECT(run.status == CLV_ERR_NO_MEMORY);
    EXPECT_SAYS(host.error(), "looks at the whole picture at once (GlobalMaxPool (gate))");
    EXPECT_SAYS(host.error(), "tile=WIDTHxHEIGHT");
    Host asked;
    const Run tiled(asked, path, yuv420p(300, 200), dummy("100x100", -1));
    EXPECT(tiled.status == CLV_OK);
    EXPECT_SAYS(asked.logged, "seams may show");
}

void bad_options_get_one_sentence_each(const Folder &folder) {
    const auto path = written(folder, "options.onnx", 6);
    const auto blind = folder.write("blind.onnx", net(node("Reshape", "input", "output")));
    const struct {
        const std::string &model;
        const char *tile;
        int overlap;
        int status;
        const char *says;
    } cases[] = {
        {path, "512", -1, CLV_ERR_INVALID_ARGUMENT, "tile=512 is not auto, none or WIDTHxHEIGHT"},
        {path, "", -1, CLV_ERR_INVALID_ARGUMENT, "tile= is not"},
        {path, "64x", -1, CLV_ERR_INVALID_ARGUMENT, "tile=64x is not"},
        {path, "x64", -1, CLV_ERR_INVALID_ARGUMENT, "tile=x64 is not"},
        {path, "0x64", -1, CLV_ERR_INVALID_ARGUMENT, "tile=0x64 is not"},
        {path, "-8x64", -1, CLV_ERR_INVALID_ARGUMENT, "tile=-8x64 is not"},
        {path, "64x64x64", -1, CLV_ERR_INVALID_ARGUMENT, "tile=64x64x64 is not"},
        {path, "99999x64", -1, CLV_ERR_INVALID_ARGUMENT, "tile=99999x64 is not"},
        {path, "64x64 ", -1, CLV_ERR_INVALID_ARGUMENT, "tile=64x64  is not"},
        {path, "64x64", -2, CLV_ERR_INVALID_ARGUMENT, "overlap=-2 is not in 0..32768"},
        {path, "64x64", 40000, CLV_ERR_INVALID_ARGUMENT, "overlap=40000 is not in 0..32768"},
        {path, "64x64", 32, CLV_ERR_INVALID_ARGUMENT,
         "tile=64x64 is too small for model options: with an overlap of 32 samples a tile needs at least "
         "66x66"},
        {path, "1x1", 0, CLV_ERR_INVALID_ARGUMENT, "tile=1x1 is too small"},
        {blind, "32x32", -1, CLV_ERR_UNSUPPORTED,
         "Reshape (output) cannot be followed in its graph; give overlap="},
    };
    for (const auto &bad : cases) {
        Host host;
        const Run run(host, bad.model, yuv420p(200, 120), dummy(bad.tile, bad.overlap));
        expect(run.status == bad.status, std::string(bad.tile) + ": " + host.error(), __LINE__);
        EXPECT_SAYS(host.error(), bad.says);
    }
    Host host; // what is enough for a picture needs no overlap and no graph
    const Run run(host, blind, yuv420p(32, 32), dummy("32x32", 0));
    expect(run.status == CLV_OK, host.error(), __LINE__);
}

void an_older_host_gets_the_defaults(const Folder &folder) {
    const auto path = written(folder, "older.onnx", 1);
    Host host;
    clv_session_params params = dummy("nonsense", -77);
    params.struct_size = offsetof(clv_session_params, tile);
    const Run run(host, path, yuv420p(64, 48), params);
    expect(run.status == CLV_OK, host.error(), __LINE__);
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(every_position_is_taken_once_and_far_from_inner_edges);
    RUN(tiles_without_room_are_refused);
    RUN(a_chain_of_layers_sees_the_sum_of_them);
    RUN(strides_and_enlargements_scale_what_layers_see);
    RUN(layers_that_look_at_the_whole_picture_are_named);
    RUN(layers_that_cannot_be_followed_are_named);
    RUN(pictures_in_tiles_are_whole_pictures);
    RUN(several_pictures_in_flight_stay_apart);
    RUN(a_failed_tile_is_a_failed_picture_and_the_session_goes_on);
    RUN(auto_cuts_what_does_not_fit_into_memory_and_says_why);
    RUN(auto_refuses_nets_that_look_at_the_whole_picture);
    RUN(bad_options_get_one_sentence_each);
    RUN(an_older_host_gets_the_defaults);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
