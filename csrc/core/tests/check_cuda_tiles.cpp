// SPDX-License-Identifier: BSD-2-Clause
// Tiles of pictures in CUDA memory, through the C ABI and the dummy backend's kernel, whose every output
// value is the nearest input value, and through our own kernels. Runs on the first device that the driver
// shows; ctest gives it the emulator.
#include <cstdio>
#include <string>
#include <vector>

#include "clarivid/clarivid.h"
#include "core/sha256.h"
#include "core/tests/cuda_test.h"

namespace {

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

/// One 3x3 convolution: a net that sees one position to each side. The dummy backend does not look at it.
std::string net(const std::string &more_nodes = {}) {
    const std::string three = number(8, 3) + number(8, 3), one = number(8, 1) + number(8, 1);
    const std::string convolution =
        body(1, body(1, "input") + body(2, more_nodes.empty() ? "output" : "a") + body(4, "Conv") +
                    body(5, body(1, "kernel_shape") + three) + body(5, body(1, "pads") + one + one));
    return onnx({1, 6, -1, -1}, {{"clarivid.layout", "yuv420_s2d"}, {"clarivid.scale", "2"}},
                convolution + more_nodes);
}

clv_session_params dummy(const clv_cuda_device *cuda, const char *tile, int overlap = -1,
                         const char *device = "") {
    clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
    params.backend = "dummy";
    params.device = device;
    params.threads = 1;
    params.cuda = cuda;
    params.tile = tile;
    params.overlap = overlap;
    return params;
}

HostPicture result_of(Host &host, const std::string &path, const Device &device, HostPicture &source,
                      const clv_session_params &params) {
    clv_format look = source.format;
    look.memory = CLV_MEMORY_CUDA;
    const Run run(host, path, look, params);
    expect(run.status == CLV_OK, host.error(), __LINE__);
    clv_format larger = look;
    larger.width *= 2;
    larger.height *= 2;
    DevicePicture in(device, look), out(device, larger, 6);
    in.upload(source);
    if (run.status == CLV_OK)
        for (int i = 0; i < 2; i++)
            EXPECT(run.process(in.view(), out.view()) == CLV_OK);
    if (run.status == CLV_OK)
        EXPECT(idle(stats_of(run.session)));
    return out.download();
}

void pictures_in_tiles_are_whole_pictures_without_a_copy_to_the_host(const Folder &folder) {
    const auto path = folder.write("x2.onnx", net());
    const Device device;
    const auto handles = device.handles();
    for (const auto &[w, h] : {std::pair{64, 48}, {75, 53}}) {
        HostPicture source(look_of(w, h, CLV_PIXEL_NV12));
        source.randomise(static_cast<unsigned>(w));
        Host host;
        const auto whole = result_of(host, path, device, source, dummy(&handles, "none"));
        EXPECT(host.logged.find("tiles of") == std::string::npos);
        for (const char *tile : {"24x16", "33x500", "500x10"}) {
            Host tiled;
            EXPECT(result_of(tiled, path, device, source, dummy(&handles, tile)).planes == whole.planes);
            EXPECT_SAYS(tiled.logged, "samples that overlap by 2, as asked");
        }
        // No engine takes more than 20 rows and columns.
        Host small;
        EXPECT(result_of(small, path, device, source, dummy(&handles, "auto", -1, "largest=20")).planes ==
               whole.planes);
        EXPECT_SAYS(small.logged, "tiles of 40x40 samples that overlap by 2, chosen because no engine takes");
    }
}

void memory_that_runs_out_makes_tiles(const Folder &folder) {
    const auto path = folder.write("memory.onnx", net());
    const Device device;
    const auto handles = device.handles();
    HostPicture source(look_of(128, 96, CLV_PIXEL_NV12));
    source.randomise(3);
    Host plenty;
    const auto whole = result_of(plenty, path, device, source, dummy(&handles, "none"));
    // Some 32 MiB are left, and 3,072 positions of 64 KiB are 192.
    auto taken = fill(device, 1 << 20);
    for (size_t freed = 0; freed < (28 << 20); taken.pop_back())
        freed += taken.back().bytes();
    Host host;
    const auto cut = result_of(host, path, device, source, dummy(&handles, "auto", -1, "scratch=65536"));
    EXPECT(cut.planes == whole.planes);
    EXPECT_SAYS(host.logged, "tiles of");
    EXPECT_SAYS(host.logged, "chosen because");
    const char *never[] = {"none", "128x96"};
    for (const char *tile : never) {
        Host other;
        const Run run(other, path, look_of(128, 96, CLV_PIXEL_NV12),
                      dummy(&handles, tile, -1, "scratch=65536"));
        EXPECT(run.status == CLV_ERR_NO_MEMORY);
    }
    Host hopeless;
    const Run run(hopeless, path, look_of(128, 96, CLV_PIXEL_NV12),
                  dummy(&handles, "auto", -1, "scratch=2000000000"));
    EXPECT(run.status == CLV_ERR_NO_MEMORY);
}

void what_cannot_be_tiled_is_one_sentence(const Folder &folder) {
    const auto plain = folder.write("plain.onnx", net());
    const auto gate = folder.write(
        "gate.onnx", net(body(1, body(1, "a") + body(2, "g") + body(3, "gate") + body(4, "GlobalMaxPool")) +
                         body(1, body(1, "a") + body(1, "g") + body(2, "output") + body(4, "Mul"))));
    const auto blind = folder.write(
        "blind.onnx", net(body(1, body(1, "a") + body(2, "output") + body(3, "up") + body(4, "Reshape"))));
    const Device device;
    const auto handles = device.handles();
    const clv_format look = look_of(128, 96, CLV_PIXEL_NV12);
    const struct {
        const std::string &model;
        clv_session_params params;
        int status;
        std::vector<std::string> says;
    } cases[] = {
        {gate,
         dummy(&handles, "auto", -1, "largest=20"),
         CLV_ERR_UNSUPPORTED,
         {"the largest takes 1x6x20x20", "looks at the whole picture at once (GlobalMaxPool (gate))",
          "clarivid engines build gate", "tile=WIDTHxHEIGHT"}},
        {blind,
         dummy(&handles, "auto", -1, "largest=20"),
         CLV_ERR_UNSUPPORTED,
         {"tiles cannot be made", "Reshape (up) cannot be followed", "overlap=SAMPLES"}},
        {plain,
         dummy(&handles, "auto", 30, "largest=20"),
         CLV_ERR_UNSUPPORTED,
         {"is too small for tiles", "clarivid engines build plain"}},
        {plain, dummy(&handles, "6x6", 4), CLV_ERR_INVALID_ARGUMENT, {"tile=6x6 is too small"}},
    };
    for (const auto &bad : cases) {
        Host host;
        const Run run(host, bad.model, look, bad.params);
        expect(run.status == bad.status, host.error(), __LINE__);
        for (const auto &part : bad.says)
            EXPECT_SAYS(host.error(), part);
    }
    Host host; // seams, as asked
    const Run run(host, gate, look, dummy(&handles, "40x40"));
    expect(run.status == CLV_OK, host.error(), __LINE__);
    EXPECT_SAYS(host.logged, "seams may show");
}

/// A bundle that backend=cuda runs: 8 channels, 3 blocks, five convolutions in all. The graph is for the
/// overlap of tiles only. Without a tail the output is the nearest input value, too.
std::string luma_bundle(const Folder &folder, const std::string &name, float tail) {
    const std::string sides[] = {number(8, 3) + number(8, 3), number(8, 1) + number(8, 1)};
    std::string nodes;
    for (int i = 0; i < 5; i++)
        nodes += body(1, body(1, i ? "f" + std::to_string(i) : "input") +
                             body(2, i < 4 ? "f" + std::to_string(i + 1) : "output") + body(4, "Conv") +
                             body(5, body(1, "kernel_shape") + sides[0]) +
                             body(5, body(1, "pads") + sides[1] + sides[1]));
    const std::string graph = onnx({1, 1, -1, -1}, {}, nodes);

    std::mt19937 random(5);
    std::string header, data;
    const auto tensor = [&](const std::string &tensor_name, const std::string &shape, int count, float size) {
        const size_t begin = data.size();
        for (int i = 0; i < count; i++) {
            const float value = std::uniform_real_distribution<float>(-size, size)(random);
            data.append(reinterpret_cast<const char *>(&value), sizeof value);
        }
        header += (header.empty() ? "{\"" : ",\"") + tensor_name + R"(":{"dtype":"F32","shape":)" + shape +
                  R"(,"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
    };
    const auto conv = [&](const std::string &layer, int out, int in, float size) {
        tensor(layer + ".weight", "[" + std::to_string(out) + "," + std::to_string(in) + ",3,3]",
               9 * out * in, size);
        tensor(layer + ".bias", "[" + std::to_string(out) + "]", out, size / 4);
    };
    conv("head", 8, 1, 0.5F);
    for (const char *block : {"blocks.0", "blocks.1", "blocks.2"})
        conv(block, 8, 8, 0.2F);
    conv("tail", 4, 8, tail);
    header += "}";
    std::string length;
    for (int i = 0; i < 8; i++)
        length += static_cast<char>(header.size() >> (8 * i));
    const std::string weights = length + header + data;

    folder.write(name + "/model.onnx", graph);
    folder.write(name + "/weights.safetensors", weights);
    const auto digest = [](const std::string &file) { return clv::sha256_hex(as_bytes(file)); };
    folder.write(name + "/card.json",
                 R"({"schema":1,"name":")" + name +
                     R"(","task":"sr","layout":"y","scale":2,"architecture":)"
                     R"({"type":"sr_luma","channels":8,"blocks":3,"scale":2,"slope":0.1,"base":"nearest"},)"
                     R"("files":{"model.onnx":{"sha256":")" +
                     digest(graph) + R"("},"weights.safetensors":{"sha256":")" + digest(weights) + "\"}}}");
    return folder.path() + "/" + name;
}

clv_session_params ours(const clv_cuda_device *cuda, const char *backend, const char *tile) {
    clv_session_params params = dummy(cuda, tile);
    params.backend = backend;
    params.precision = CLV_PRECISION_FP16;
    params.dither = CLV_DITHER_NONE;
    return params;
}

void our_own_net_gives_the_same_picture_in_tiles(const Folder &folder) {
    const auto path = luma_bundle(folder, "ours", 0.1F);
    const Device device;
    const auto handles = device.handles();
    HostPicture source(look_of(135, 78, CLV_PIXEL_YUV420P10));
    source.randomise(11);
    Host host;
    const auto whole = result_of(host, path, device, source, ours(&handles, "auto", "auto"));
    EXPECT_SAYS(host.logged, "backend=cuda, chosen because it knows this net");
    EXPECT_SAYS(host.logged, "precision=fp16");
    EXPECT(host.logged.find("samples that overlap") == std::string::npos);
    for (const char *tile : {"70x50", "41x500"}) {
        Host tiled;
        EXPECT(result_of(tiled, path, device, source, ours(&handles, "cuda", tile)).planes == whole.planes);
        EXPECT_SAYS(tiled.logged, "samples that overlap by 5, as asked");
    }
}

void a_net_that_adds_nothing_keeps_every_code_of_luma(const Folder &folder) {
    const auto path = luma_bundle(folder, "nothing", 0);
    const Device device;
    const auto handles = device.handles();
    HostPicture source(look_of(67, 35, CLV_PIXEL_P010)); // 10 bits are more than fp16 has near 1
    source.randomise(12);
    Host host;
    const auto out = result_of(host, path, device, source, ours(&handles, "cuda", "none"));
    size_t wrong = 0;
    for (size_t y = 0; y < 70; y++)
        for (size_t x = 0; x < 134; x++)
            for (size_t byte = 0; byte < 2; byte++)
                wrong += out.planes[0][2 * (134 * y + x) + byte] !=
                         source.planes[0][2 * (67 * (y / 2) + x / 2) + byte];
    EXPECT(wrong == 0);
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(pictures_in_tiles_are_whole_pictures_without_a_copy_to_the_host);
    RUN(memory_that_runs_out_makes_tiles);
    RUN(what_cannot_be_tiled_is_one_sentence);
    RUN(our_own_net_gives_the_same_picture_in_tiles);
    RUN(a_net_that_adds_nothing_keeps_every_code_of_luma);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
