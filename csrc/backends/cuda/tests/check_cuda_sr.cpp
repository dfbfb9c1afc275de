// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_sr [--seed N] [--rounds N] [--models FOLDER] [--digest]
// The super-resolution net's kernels against a plain f32 form of the net: random nets and those in FOLDER,
// random formats, sizes and pitches, every byte around the planes. Runs on whatever device the driver has: a
// GPU, or the emulator. --digest prints a checksum of what the device computes and nothing else.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/sr.h"
#include "backends/cuda/sr_layout.h"
#include "backends/cuda/sr_net.h"
#include "device_test.h"

namespace clv::cuda::sr {
namespace {

using pixels::Dither;
using pixels::PictureFormat;
using pixels::test::Random;
using pixels::test::Report;
using pixels::test::TestPicture;
using test::Bundle;
using test::compare;
using test::Device;
using test::device_layouts;
using test::DevicePlanes;
using test::Difference;
using test::digest;
using test::digest_with_seed;
using test::draw;
using test::shipped_bundle;
using test::WeightsFile;

constexpr double kLeastPsnr = 60;

/// A net whose activations are about as large as the picture's values, and whose gates differ from each
/// other.
Bundle random_bundle(Random &random, int channels, int blocks, bool attention) {
    WeightsFile file;
    const auto conv = [&](const std::string &name, int in, int out, float gain) {
        file.add(name + ".weight", {out, in, 3, 3}, random, gain * std::sqrt(3.0F / (9.0F * float(in))));
        file.add(name + ".bias", {out}, random, 0.05F);
    };
    conv("head", 6, channels, 1.4F);
    for (int i = 0; i < blocks; i++) {
        const std::string name = "blocks." + std::to_string(i);
        conv(name, channels, channels, 0.8F);
        if (!attention)
            continue;
        const int hidden = channels / 2;
        file.add(name + ".gate.down.weight", {hidden, channels}, random, 1);
        file.add(name + ".gate.down.bias", {hidden}, random, 0.5F);
        file.add(name + ".gate.up.weight", {channels, hidden}, random, 0.7F);
        file.add(name + ".gate.up.bias", {channels}, random, 0.5F);
    }
    conv("tail", channels, 24, 0.25F);
    const nlohmann::json card = {
        {"type", "sr_hpca"}, {"channels", channels}, {"blocks", blocks},       {"scale", 2},
        {"slope", 0.1},      {"gate_stride", 4},     {"attention", attention}, {"base", "nearest"}};
    return {"random", card.dump(), file.bytes()};
}

/// Channels of height x width values, in double where sums are long.
struct Planes {
    int channels, height, width;
    std::vector<float> values;

    Planes(int c, int h, int w)
        : channels(c), height(h), width(w),
          values(static_cast<std::size_t>(c) * std::size_t(h) * std::size_t(w)) {}
    float &at(int c, int y, int x) {
        return values[(static_cast<std::size_t>(c) * std::size_t(height) + std::size_t(y)) *
                          std::size_t(width) +
                      std::size_t(x)];
    }
    float at(int c, int y, int x) const { return const_cast<Planes *>(this)->at(c, y, x); }
};

Planes convolve(const SrConv &conv, const Planes &in) {
    Planes out(conv.out_channels, in.height, in.width);
    for (int c = 0; c < conv.out_channels; c++) {
        float *const to = &out.at(c, 0, 0);
        std::fill_n(to, in.height * in.width, conv.bias[std::size_t(c)]);
        for (int k = 0; k < in.channels; k++)
            for (int tap = 0; tap < 9; tap++) {
                const float weight = conv.weights[std::size_t((c * in.channels + k) * 9 + tap)];
                const int dy = tap / 3 - 1;
                const int dx = tap % 3 - 1;
                for (int y = std::max(0, -dy); y < std::min(in.height, in.height - dy); y++)
                    for (int x = std::max(0, -dx); x < std::min(in.width, in.width - dx); x++)
                        to[y * in.width + x] += weight * in.at(k, y + dy, x + dx);
            }
    }
    return out;
}

void leaky(Planes &planes, float slope) {
    for (float &value : planes.values)
        value = value > 0 ? value : slope * value;
}

/// One weight a channel.
std::vector<double> gate(const SrNet &net, const SrGate &layers, const Planes &y) {
    std::vector<double> mean;
    for (int c = 0; c < y.channels; c++) {
        double sum = 0;
        int windows = 0;
        for (int i = 0; i + 2 < y.height; i += 4)
            for (int j = 0; j + 2 < y.width; j += 4, windows++) {
                double total = 0;
                for (int tap = 0; tap < 9; tap++)
                    total += double(y.at(c, i + tap / 3, j + tap % 3));
                sum += std::fabs(double(y.at(c, i + 1, j + 1)) - total / 9);
            }
        mean.push_back(sum / windows);
    }
    std::vector<double> hidden;
    for (int j = 0; j < net.hidden; j++) {
        double sum = double(layers.down_bias[std::size_t(j)]);
        for (int c = 0; c < net.channels; c++)
            sum += double(layers.down_weights[std::size_t(j * net.channels + c)]) * mean[std::size_t(c)];
        hidden.push_back(sum > 0 ? sum : double(net.slope) * sum);
    }
    std::vector<double> out;
    for (int c = 0; c < net.channels; c++) {
        double sum = double(layers.up_bias[std::size_t(c)]);
        for (int j = 0; j < net.hidden; j++)
            sum += double(layers.up_weights[std::size_t(c * net.hidden + j)]) * hidden[std::size_t(j)];
        out.push_back(2 / (1 + std::exp(-sum)));
    }
    return out;
}

/// The net as python/clarivid/nets/sr.py has it.
Planes forward(const SrNet &net, const Planes &picture) {
    Planes x = convolve(net.head, picture);
    leaky(x, net.slope);
    for (std::size_t i = 0; i < net.blocks.size(); i++) {
        Planes y = convolve(net.blocks[i], x);
        leaky(y, net.slope);
        const std::vector<double> weights = net.gates.empty()
                                                ? std::vector<double>(std::size_t(net.channels), 1)
                                                : gate(net, net.gates[i], y);
        const std::size_t count = x.values.size() / std::size_t(net.channels);
        for (std::size_t k = 0; k < x.values.size(); k++)
            x.values[k] += static_cast<float>(weights[k / count]) * y.values[k];
    }
    Planes out = convolve(net.tail, x);
    for (int c = 0; c < 24; c++) {
        const int from = c < 16 ? c / 8 * 2 + c % 4 / 2 : 4 + (c - 16) / 4;
        for (int i = 0; i < out.height; i++)
            for (int j = 0; j < out.width; j++)
                out.at(c, i, j) += picture.at(from, i, j);
    }
    return out;
}

PictureFormat doubled(PictureFormat format) {
    format.width *= 2;
    format.height *= 2;
    return format;
}

/// The reference's picture in `out`, whose layout stays.
void compute_reference(const SrNet &net, const TestPicture &in, int padding, Dither dither,
                       TestPicture &out) {
    const int h = in.format.chroma_height() + padding;
    const int w = in.format.chroma_width() + padding;
    Planes tensor(6, h, w);
    pixels::space_to_depth(in.format, in.view(),
                           pixels::contiguous(tensor.values.data(), pixels::Element::f32, 6, h, w), 0, h,
                           pixels::reference_kernels);
    const Planes result = forward(net, tensor);
    const void *const values = result.values.data();
    pixels::depth_to_space(pixels::contiguous(values, pixels::Element::f32, 24, h, w), 2, out.format,
                           out.view(), dither, 0, h, pixels::reference_kernels);
}

/// One session, as many pictures as asked for, each different.
struct Run {
    Difference difference;
    std::uint64_t digest = test::kDigestStart;
    bool quiet = true; ///< no copies to the host, no waits
    std::string text;
};

Run run(const Place &place, const Bundle &bundle, const PictureFormat &format, Dither dither, int pictures,
        bool reference, Random &random, int padding = 0) {
    CompileRequest request = bundle.request(format, 2);
    request.input.height += padding; // as a card's multiple_of may ask
    request.input.width += padding;
    const PictureSpec spec{format, dither, place};
    const SrNet net = read_sr_net(request, "cuda");
    const std::unique_ptr<PictureModel> model = make_sr(request, spec);
    Run out;
    out.text = model->text();
    for (int i = 0; i < pictures; i++) {
        TestPicture in = TestPicture::blank(format, device_layouts(format, random));
        draw(in, random);
        const auto layouts = device_layouts(doubled(format), random);
        TestPicture got = TestPicture::blank(doubled(format), layouts);
        DevicePlanes from(place, in);
        DevicePlanes to(place, got);
        const std::uint64_t waits = place.counters->synchronisations;
        const std::uint64_t copies = place.counters->copies_to_host;
        const std::uint64_t bytes = place.counters->device_bytes;
        model->enqueue(from.view, to.view);
        out.quiet = out.quiet && waits == place.counters->synchronisations &&
                    copies == place.counters->copies_to_host && bytes == place.counters->device_bytes;
        to.fetch();
        out.digest = digest(out.digest, got);
        if (!reference)
            continue;
        TestPicture wanted = TestPicture::blank(doubled(format), layouts);
        compute_reference(net, in, padding, dither, wanted);
        out.difference.join(compare(got, wanted));
    }
    return out;
}

void check_run(Report &report, const std::string &what, const Run &run) {
    report.expect(run.difference.psnr() >= kLeastPsnr,
                  what + ": PSNR against f32 is " + std::to_string(run.difference.psnr()) + " dB");
    report.expect(run.difference.untouched, what + ": bytes outside of the picture were written");
    report.expect(run.quiet, what + ": a picture cost a copy to the host, a wait or memory");
}

/// Every size: each position in one tile, and each window of the gate within its tile.
template <class T>
void check_tiles(Report &report, const char *name) {
    for (int height = 1; height <= 3 * T::height + 1; height++)
        for (int width = 1; width <= 2 * T::width + 3; width++)
            for (int backward = 0; backward < 2; backward++) {
                Grid grid{};
                grid.height = height;
                grid.width = width;
                grid.backward = backward;
                grid = tiled(grid, T::width, T::height);
                std::vector<int> times(std::size_t(height * width));
                bool aligned = true;
                for (int n = 0; n < grid.tiles; n++) {
                    const Corner corner = corner_of(grid, n, T::width, T::height);
                    aligned = aligned && corner.y % kGateStride == 0 && corner.x % kGateStride == 0;
                    for (int y = corner.y; y < std::min(height, corner.y + T::height); y++)
                        for (int x = corner.x; x < std::min(width, corner.x + T::width); x++)
                            times[std::size_t(y * width + x)]++;
                }
                const bool once = std::all_of(times.begin(), times.end(), [](int n) { return n == 1; });
                if (!once || !aligned)
                    report.expect(false, std::string(name) + ": tiles of a tensor of " +
                                             std::to_string(width) + "x" + std::to_string(height));
            }
    report.expect(T::height % kGateStride == 0 && T::width % kGateStride == 0, name);
}

void check_refusals(Report &report, const Place &place) {
    Random random(1);
    const Bundle bundle = random_bundle(random, 16, 1, true);
    const PictureFormat format{.width = 40, .height = 40};
    const auto refused = [&](const CompileRequest &request, const PictureFormat &of, clv_status status,
                             const std::string &part) {
        try {
            make_sr(request, {of, Dither::round, place});
        } catch (const Error &error) {
            const bool good =
                error.status() == status && std::string(error.what()).find(part) != std::string::npos;
            report.expect(good, std::string("the refusal says \"") + error.what() + "\", not " + part);
            return;
        }
        report.expect(false, "taken, where the sentence should hold " + part);
    };
    CompileRequest request = bundle.request(format, 2);
    request.architecture = R"({"type": "sr_hpca", "channels": 96, "blocks": 4, "slope": 0.1})";
    refused(request, format, CLV_ERR_UNSUPPORTED, "channels is 96");
    request.architecture = R"({"type": "sr_hpca", "channels": 16, "blocks": 2, "slope": 0.1})";
    refused(request, format, CLV_ERR_INVALID_MODEL, "blocks.1.weight");
    request.architecture = R"({"type": "other"})";
    refused(request, format, CLV_ERR_UNSUPPORTED, "use another backend");
    const PictureFormat tiny{.width = 40, .height = 4};
    refused(bundle.request(tiny, 2), tiny, CLV_ERR_UNSUPPORTED, "windows of 3x3");
}

PictureFormat deep(int width, int height) {
    return {.width = width, .height = height, .bit_depth = 16};
}

/// What is compared between runs of the whole program whose threads take turns in another order.
std::uint64_t digest_of_all(const Place &place) {
    Random random(99);
    const Bundle bundle = random_bundle(random, 20, 3, true);
    return run(place, bundle, deep(74, 60), Dither::round, 2, false, random).digest;
}

int main_of(const std::map<std::string, std::string> &options, const char *program) {
    const Device device;
    const Place &place = device.place();
    if (options.count("--digest")) {
        std::printf("%016llx\n", static_cast<unsigned long long>(digest_of_all(place)));
        return 0;
    }
    Report report;
    check_tiles<Large>(report, "large tiles");
    check_tiles<Medium>(report, "medium tiles");
    check_tiles<Small>(report, "small tiles");
    check_refusals(report, place);

    const auto seed = std::stoull(options.at("--seed"));
    Difference random_nets;
    for (int round = 0; round < std::stoi(options.at("--rounds")); round++) {
        Random random(seed + static_cast<std::uint64_t>(round));
        // Each number of blocks remembers x elsewhere, each round another format.
        const int blocks = 1 + round % 5;
        const int channels = random.one_in(2) ? random.between(12, 32) : random.between(33, 48);
        const Bundle bundle = random_bundle(random, channels, blocks, round % 4 != 3);
        PictureFormat format = pixels::test::random_format(random, 60);
        format.width = random.between(5, round % 3 == 0 ? 150 : 40);
        format.height = random.between(5, round % 3 == 1 ? 80 : 30);
        const Dither dither = random.one_in(2) ? Dither::round : Dither::ordered;
        const int padding = random.one_in(4) ? random.between(1, 3) : 0;
        const Run result = run(place, bundle, format, dither, 2, true, random, padding);
        check_run(report,
                  std::to_string(channels) + " channels, " + std::to_string(blocks) + " blocks, " +
                      pixels::test::describe(format),
                  result);
        random_nets.join(result.difference);
    }
    std::printf("random nets: PSNR %.1f dB, largest error %.5f of the range\n", random_nets.psnr(),
                random_nets.largest);

    if (options.count("--models"))
        for (const char *name : {"game_x2", "natural_x2", "game_x2_fast", "natural_x2_fast"}) {
            const std::optional<Bundle> bundle = shipped_bundle(options.at("--models"), name);
            report.expect(bundle.has_value(), std::string("no bundle ") + name);
            if (!bundle)
                continue;
            Random random(seed);
            const Run exact = run(place, *bundle, deep(74, 54), Dither::round, 1, true, random);
            check_run(report, name, exact);
            const PictureFormat nv12{.width = 65, .height = 33, .semi_planar = true};
            const Run codes = run(place, *bundle, nv12, Dither::ordered, 1, true, random);
            check_run(report, std::string(name) + " nv12", codes);
            report.expect(codes.difference.codes <= 1, std::string(name) + " nv12: more than one code");
            std::printf("%s: PSNR %.1f dB, largest error %.5f of the range, %d code in 8 bit; %s\n", name,
                        exact.difference.psnr(), exact.difference.largest, codes.difference.codes,
                        exact.text.c_str());
        }

    const std::string first = digest_with_seed(program, 1);
    report.expect(!first.empty() && first == digest_with_seed(program, 2),
                  "threads in another order give other bits");
    return report.finish();
}

} // namespace
} // namespace clv::cuda::sr

int main(int argc, char **argv) {
    return clv::cuda::test::run_check(argc, argv, "check_cuda_sr", {{"--seed", "1"}, {"--rounds", "40"}},
                                      clv::cuda::sr::main_of);
}
