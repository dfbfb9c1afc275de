// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_lowrank [--seed N] [--rounds N] [--models FOLDER] [--digest]
// The pre-encoding net's kernel against a plain form of the net in double: random nets and the one in FOLDER,
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

#include "backends/cuda/lowrank.h"
#include "backends/cuda/lowrank_layout.h"
#include "backends/cuda/lowrank_plan.h"
#include "backends/lowrank_chain.h"
#include "device_test.h"

namespace clv::cuda::lowrank {
namespace {

using pixels::Dither;
using pixels::PictureFormat;
using pixels::test::describe;
using pixels::test::Random;
using pixels::test::Report;
using pixels::test::TestPicture;
using test::Bundle;
using test::Difference;

constexpr double kLeastPsnr = 60;
/// Codes of 8 bits that a value may be off before it is rounded.
constexpr double kMostOff = 0.03;

/// A net whose activations are about as large as the picture's values and whose change is some codes.
Bundle random_bundle(Random &random, int channels, int layers, float limit) {
    test::WeightsFile file;
    for (int i = 0; i < layers; i++) {
        const int in = i == 0 ? 6 : channels;
        const int out = i + 1 == layers ? 6 : channels;
        const float gain = i + 1 == layers ? 0.15F : 1.3F;
        const std::string name = "layers." + std::to_string(i);
        file.add(name + ".weight", {out, in, 3, 3}, random,
                 gain * std::sqrt(3.0F / (9.0F * static_cast<float>(in))));
        file.add(name + ".bias", {out}, random, 0.05F * gain);
    }
    const nlohmann::json card = {{"type", "lowrank_chain"},
                                 {"channels", channels},
                                 {"layers", layers},
                                 {"slope", 0.1},
                                 {"limit", limit}};
    return {"random", card.dump(), file.bytes()};
}

/// The net as python/clarivid/nets/lowrank.py has it: [6][h][w] values of the output.
std::vector<double> forward(const LowrankChain &net, const std::vector<float> &input, int h, int w) {
    const auto at = [&](int c, int y, int x) { return static_cast<std::size_t>((c * h + y) * w + x); };
    std::vector<double> values(input.begin(), input.end());
    for (std::size_t i = 0; i < net.layers.size(); i++) {
        const ChainLayer &layer = net.layers[i];
        const bool ends = i + 1 == net.layers.size();
        std::vector<double> out(at(layer.out_channels, 0, 0));
        for (int o = 0; o < layer.out_channels; o++) {
            double *const to = &out[at(o, 0, 0)];
            std::fill_n(to, h * w, static_cast<double>(layer.bias[static_cast<std::size_t>(o)]));
            for (int c = 0; c < layer.in_channels; c++)
                for (int tap = 0; tap < kTaps; tap++) {
                    const auto weight = static_cast<double>(
                        layer.weights[static_cast<std::size_t>((o * layer.in_channels + c) * kTaps + tap)]);
                    const int dy = tap / 3 - 1;
                    const int dx = tap % 3 - 1;
                    for (int y = std::max(0, -dy); y < std::min(h, h - dy); y++)
                        for (int x = std::max(0, -dx); x < std::min(w, w - dx); x++)
                            to[y * w + x] += weight * values[at(c, y + dy, x + dx)];
                }
        }
        const auto slope = static_cast<double>(net.slope);
        const auto limit = static_cast<double>(net.limit);
        for (std::size_t k = 0; k < out.size(); k++)
            out[k] = ends ? static_cast<double>(input[k]) +
                                static_cast<double>(net.strength) * std::clamp(out[k], -limit, limit)
                          : std::max(out[k], slope * out[k]);
        values = std::move(out);
    }
    return values;
}

struct Result {
    Difference difference;
    /// Codes of 8 bits by which the device's value must have been off before it was rounded, largest: how far
    /// the f32 value is from all that the code can stand for.
    double off = 0;
    double change = 0; ///< of a sample by the net, largest, in codes of 8 bits
    bool quiet = true; ///< no copies to the host, no waits
    bool repeats = true;
    std::uint64_t digest = test::kDigestStart;
    std::string text;

    void join(const Result &other) {
        difference.join(other.difference);
        off = std::max(off, other.off);
        change = std::max(change, other.change);
        text = other.text;
    }
};

/// How far `value` of sample (x, y) is from what becomes `code`, in codes.
double off_by(double value, int code, Dither dither, int x, int y, int most) {
    double threshold = 0.5;
    if (dither == Dither::ordered) {
        int rank = 0;
        for (int bit = 0; bit < 3; bit++)
            rank |= ((((x ^ y) >> bit) & 1) << (5 - 2 * bit)) | (((y >> bit) & 1) << (4 - 2 * bit));
        threshold = (rank + 0.5) / 64;
    }
    const double sum = value + threshold;
    const double low = code == 0 ? -1e9 : code;
    const double high = code == most ? 1e9 : code + 1;
    return std::max({0.0, low - sum, sum - high});
}

/// The reference's picture in `wanted`, and how far `got` is from its values before they were rounded.
void compute_reference(const LowrankChain &net, const CompileRequest &request, const TestPicture &in,
                       Dither dither, const TestPicture &got, TestPicture &wanted, Result &result) {
    const PictureFormat &f = in.format;
    const auto h = static_cast<int>(request.input.height);
    const auto w = static_cast<int>(request.input.width);
    std::vector<float> tensor(request.input.count());
    pixels::space_to_depth(f, in.view(), pixels::contiguous(tensor.data(), pixels::Element::f32, 6, h, w), 0,
                           h, pixels::reference_kernels);
    const std::vector<double> values = forward(net, tensor, h, w);
    const std::vector<float> rounded(values.begin(), values.end());
    const void *const data = rounded.data();
    pixels::depth_to_space(pixels::contiguous(data, pixels::Element::f32, 6, h, w), 1, f, wanted.view(),
                           dither, 0, h, pixels::reference_kernels);

    const int extra = 1 << (f.bit_depth - 8);
    const int most = (1 << f.bit_depth) - 1;
    for (int plane = 0; plane < 3; plane++) {
        const double span = f.full_range ? most : (plane ? 224 : 219) * extra;
        const double offset = plane ? 128 * extra : (f.full_range ? 0 : 16 * extra) + 0.5 * span;
        for (int y = 0; y < (plane ? f.chroma_height() : f.height); y++)
            for (int x = 0; x < (plane ? f.chroma_width() : f.width); x++) {
                const int channel = plane ? 3 + plane : 2 * (y % 2) + x % 2;
                const auto at =
                    static_cast<std::size_t>((channel * h + (plane ? y : y / 2)) * w + (plane ? x : x / 2));
                const double value = values[at] * span + offset;
                const double off = off_by(value, got.code(plane, x, y), dither, x, y, most);
                result.off = std::max(result.off, off / extra);
                result.change = std::max(result.change, std::fabs(value - in.code(plane, x, y)) / extra);
            }
    }
}

struct Setting {
    PictureFormat format;
    Dither dither = Dither::round;
    float strength = 1;
    int multiple = 2; ///< of luma samples, that the tensor is padded to
};

/// Some pictures, each different; the last one twice.
Result run(const Place &place, const Bundle &bundle, const Setting &setting, int pictures, bool reference,
           Random &random) {
    const PictureFormat &format = setting.format;
    CompileRequest request = bundle.request(format, 1);
    const auto padded = [&](int size) {
        return (size + setting.multiple - 1) / setting.multiple * setting.multiple / 2;
    };
    request.input = {6, padded(format.height), padded(format.width)};
    request.strength = setting.strength;
    const LowrankChain net = read_lowrank_chain(request, "cuda");
    const std::unique_ptr<PictureModel> model = make_lowrank(request, {format, setting.dither, place});
    Result out;
    out.text = model->text();
    for (int i = 0; i < pictures; i++) {
        TestPicture in = TestPicture::blank(format, test::device_layouts(format, random));
        test::draw(in, random);
        const auto layouts = test::device_layouts(format, random);
        TestPicture got = TestPicture::blank(format, layouts);
        test::DevicePlanes from(place, in);
        test::DevicePlanes to(place, got);
        const std::uint64_t waits = place.counters->synchronisations;
        const std::uint64_t copies = place.counters->copies_to_host;
        const std::uint64_t bytes = place.counters->device_bytes;
        model->enqueue(from.view, to.view);
        out.quiet = out.quiet && waits == place.counters->synchronisations &&
                    copies == place.counters->copies_to_host && bytes == place.counters->device_bytes;
        to.fetch();
        const std::uint64_t before = test::digest(test::kDigestStart, got);
        out.digest = test::digest(out.digest, got);
        if (i + 1 == pictures) {
            model->enqueue(from.view, to.view);
            to.fetch();
            out.repeats = test::digest(test::kDigestStart, got) == before;
        }
        if (!reference)
            continue;
        TestPicture wanted = TestPicture::blank(format, layouts);
        compute_reference(net, request, in, setting.dither, got, wanted, out);
        out.difference.join(test::compare(got, wanted));
    }
    return out;
}

void check_result(Report &report, const std::string &what, const Result &result) {
    const Difference &difference = result.difference;
    report.expect(difference.psnr() >= kLeastPsnr,
                  what + ": PSNR against f32 is " + std::to_string(difference.psnr()) + " dB");
    report.expect(result.off <= kMostOff,
                  what + ": a value was off by " + std::to_string(result.off) + " codes of 8 bits");
    report.expect(difference.codes <= 1, what + ": a code is off by " + std::to_string(difference.codes));
    report.expect(difference.untouched, what + ": bytes outside of the picture were written");
    report.expect(result.quiet, what + ": a picture cost a copy to the host, a wait or memory");
    report.expect(result.repeats, what + ": the same picture again gives other bits");
}

std::string text(const Setting &setting) {
    return describe(setting.format) + ", strength " + std::to_string(setting.strength) +
           (setting.dither == Dither::ordered ? ", dither" : "") +
           (setting.multiple > 2 ? ", tensor of multiples of " + std::to_string(setting.multiple) : "");
}

struct Chip {
    const char *name;
    int multiprocessors;
    std::size_t shared_per_block;
    std::size_t shared_per_multiprocessor;
};
constexpr std::size_t kKiB = 1024;
constexpr Chip kChips[] = {{"T4", 40, 64 * kKiB, 64 * kKiB},
                           {"A100", 108, 163 * kKiB, 164 * kKiB},
                           {"RTX 4090", 128, 99 * kKiB, 100 * kKiB},
                           {"H100", 132, 227 * kKiB, 228 * kKiB},
                           {"one multiprocessor", 1, 99 * kKiB, 100 * kKiB}};

/// Tiles cover every position of every size once, and fit.
void check_tilings(Report &report) {
    for (const Chip &chip : kChips)
        for (int layers = kMinLayers; layers <= kMaxLayers; layers++) {
            const int columns = tile_columns(layers);
            report.expect(columns % 4 == 0 && columns + 2 * (layers - 1) <= kColumns &&
                              kLeft + columns + layers <= kPicturePitch && layers <= kLeft,
                          "the columns of a tile of " + std::to_string(layers) + " layers");
            bool good = true;
            std::vector<int> times;
            for (int height = 1; height <= 330; height += height < 70 ? 1 : 13)
                for (int width = 1; width <= 330; width += width < 130 ? 3 : 17) {
                    const Tiling tiling =
                        choose_tiling(layers, width, height, chip.multiprocessors, chip.shared_per_block,
                                      chip.shared_per_multiprocessor);
                    good = good && tiling.rows > 0 && tiling.shared == shared_bytes(layers, tiling.rows) &&
                           static_cast<std::size_t>(tiling.shared) <= chip.shared_per_block;
                    times.assign(static_cast<std::size_t>(width * height), 0);
                    for (int tile = 0; tile < tiling.tiles(); tile++) {
                        // As the kernel has it.
                        const int left = tile % tiling.tiles_across * columns;
                        const int top = tile / tiling.tiles_across * tiling.rows;
                        good = good && left < width && top < height;
                        for (int y = top; y < std::min(height, top + tiling.rows); y++)
                            for (int x = left; x < std::min(width, left + columns); x++)
                                times[static_cast<std::size_t>(y * width + x)]++;
                    }
                    good = good && std::all_of(times.begin(), times.end(), [](int n) { return n == 1; });
                }
            report.expect(good,
                          std::string("tiles on ") + chip.name + ", " + std::to_string(layers) + " layers");
        }
    // None of it overlaps: the picture, then the layers' outputs, and what a run reads behind its end.
    for (int layers = kMinLayers; layers <= kMaxLayers; layers++)
        for (int rows = 1; rows < 40; rows++) {
            bool good = true;
            for (int layer = 0; layer < layers; layer++) {
                const int bytes = rows_of(layer, layers, rows) * (layer == 0 ? kPictureRow : kHiddenRow);
                const int begin = buffer_at(layer, layers, rows);
                good = good && begin % kPosition == 0 && begin + bytes + kSlack <= shared_bytes(layers, rows);
                if (layer + 1 < layers)
                    good = good && (begin + bytes + kSlack <= buffer_at(layer + 1, layers, rows) ||
                                    begin >= buffer_at(layer + 1, layers, rows) +
                                                 rows_of(layer + 1, layers, rows) * kHiddenRow + kSlack);
            }
            report.expect(good, "buffers of " + std::to_string(layers) + " layers, " + std::to_string(rows) +
                                    " rows");
        }
    for (const Chip &chip : kChips) {
        const Tiling tiling = choose_tiling(3, 960, 540, chip.multiprocessors, chip.shared_per_block,
                                            chip.shared_per_multiprocessor);
        std::printf("1080p on %s: %d tiles of %dx%d positions, %d threads, %d KiB, %d a multiprocessor: %.2f "
                    "rounds\n",
                    chip.name, tiling.tiles(), tile_columns(3), tiling.rows, tiling.parts * kPartThreads,
                    tiling.shared / 1024, tiling.blocks,
                    static_cast<double>(tiling.tiles()) / (chip.multiprocessors * tiling.blocks));
    }
}

void check_refusals(Report &report, const Place &place) {
    Random random(1);
    const PictureFormat format{.width = 40, .height = 40};
    const auto refused = [&](const Bundle &bundle, const PictureFormat &of, clv_status status,
                             const std::string &part) {
        const CompileRequest request = bundle.request(of, 1);
        const PictureSpec spec{of, Dither::round, place};
        report.expect(suits_lowrank(request, spec) == (status == CLV_ERR_INVALID_MODEL),
                      "suits_lowrank() where the sentence should hold " + part);
        try {
            make_lowrank(request, spec);
        } catch (const Error &error) {
            report.expect(error.status() == status &&
                              std::string(error.what()).find(part) != std::string::npos,
                          std::string("the refusal says \"") + error.what() + "\", not " + part);
            return;
        }
        report.expect(false, "taken, where the sentence should hold " + part);
    };
    refused(random_bundle(random, 17, 3, 0), format, CLV_ERR_UNSUPPORTED, "17 channels");
    refused(random_bundle(random, 4, 5, 0), format, CLV_ERR_UNSUPPORTED, "5 layers");
    Bundle wide = random_bundle(random, 4, 2, 0);
    auto card = nlohmann::json::parse(wide.architecture);
    card["dilation"] = {1, 2};
    wide.architecture = card.dump();
    refused(wide, format, CLV_ERR_UNSUPPORTED, "dilation of 2");
    Bundle short_of = random_bundle(random, 4, 2, 0);
    card = nlohmann::json::parse(short_of.architecture);
    card["layers"] = 3;
    short_of.architecture = card.dump();
    refused(short_of, format, CLV_ERR_INVALID_MODEL, "layers.1.weight");
    refused({"other", R"({"type": "sr_luma"})", short_of.weights}, format, CLV_ERR_UNSUPPORTED, "is none");
    const PictureFormat deep{.width = 40, .height = 40, .bit_depth = 12};
    refused(random_bundle(random, 4, 2, 0), deep, CLV_ERR_UNSUPPORTED, "not 12");
}

PictureFormat format_of(int kind, int width, int height, bool full_range = false) {
    const bool deep = kind >= 2;
    const bool semi_planar = kind % 2 == 1;
    return {.width = width,
            .height = height,
            .semi_planar = semi_planar,
            .bit_depth = deep ? 10 : 8,
            .msb_aligned = deep && semi_planar,
            .full_range = full_range};
}

/// Strength 0, and one so small that no half could hold it: the picture itself.
void check_identity(Report &report, const Place &place) {
    Random random(3);
    const Bundle bundle = random_bundle(random, 12, 3, 2.6F);
    for (const float strength : {0.0F, 1e-9F})
        for (const Dither dither : {Dither::round, Dither::ordered}) {
            const PictureFormat format = format_of(random.between(0, 3), 67, 35);
            CompileRequest request = bundle.request(format, 1);
            request.strength = strength;
            const auto model = make_lowrank(request, {format, dither, place});
            TestPicture in = TestPicture::blank(format, test::device_layouts(format, random));
            test::draw(in, random);
            TestPicture got = TestPicture::blank(format, test::device_layouts(format, random));
            test::DevicePlanes from(place, in);
            test::DevicePlanes to(place, got);
            model->enqueue(from.view, to.view);
            to.fetch();
            report.expect(test::compare(got, in).different == 0,
                          "strength " + std::to_string(strength) + " changes " + describe(format));
        }
}

/// What is compared between runs of the whole program whose threads take turns in another order.
std::uint64_t digest_of_all(const Place &place) {
    Random random(99);
    std::uint64_t sum = 0;
    for (int layers = kMinLayers; layers <= kMaxLayers; layers++)
        sum = sum * 31 +
              run(place, random_bundle(random, 13, layers, 0), {format_of(2, 141, 39)}, 1, false, random)
                  .digest;
    return sum;
}

void check_random(Report &report, const Place &place, std::uint64_t seed, int rounds) {
    Result all;
    for (int round = 0; round < rounds; round++) {
        Random random(seed + static_cast<std::uint64_t>(round));
        const int layers = kMinLayers + round % 3;
        const int channels = random.between(1, kMaxChannels);
        const Bundle bundle = random_bundle(random, channels, layers, random.one_in(2) ? 0.0F : 2.6F);
        Setting setting;
        setting.format = format_of(random.between(0, 3), random.between(1, random.one_in(2) ? 280 : 24),
                                   random.between(1, random.one_in(2) ? 90 : 24), random.one_in(2));
        setting.dither = random.one_in(2) ? Dither::round : Dither::ordered;
        setting.strength = random.one_in(2) ? 1.0F : random.real(0, 1);
        setting.multiple = random.one_in(4) ? 16 : 2;
        const Result result = run(place, bundle, setting, 1, true, random);
        check_result(report,
                     std::to_string(layers) + " layers of " + std::to_string(channels) + ", " + text(setting),
                     result);
        all.join(result);
    }
    std::printf(
        "random nets: PSNR %.1f dB, %ld of %ld codes differ; before rounding %.4f codes of 8 bits off at "
        "most, of changes up to %.1f\n",
        all.difference.psnr(), all.difference.different, all.difference.samples, all.off, all.change);
}

void check_shipped(Report &report, const Place &place, const std::string &folder, std::uint64_t seed) {
    const std::optional<Bundle> bundle = test::shipped_bundle(folder, "lowrank_v1");
    report.expect(bundle.has_value(), "no bundle lowrank_v1");
    if (!bundle)
        return;
    Result all;
    Random random(seed);
    for (int kind = 0; kind < pixels::device::kind_count; kind++) {
        Setting setting;
        setting.format = format_of(kind, kind % 2 == 0 ? 193 : 132, kind < 2 ? 61 : 50, kind == 2);
        setting.dither = kind == 1 ? Dither::ordered : Dither::round;
        setting.strength = kind == 3 ? 0.3F : 1.0F;
        const Result result = run(place, *bundle, setting, 1, true, random);
        check_result(report, "lowrank_v1, " + text(setting), result);
        all.join(result);
    }
    std::printf(
        "lowrank_v1: PSNR %.1f dB, %ld of %ld codes differ; before rounding %.4f codes of 8 bits off at "
        "most, of changes up to %.1f; %s\n",
        all.difference.psnr(), all.difference.different, all.difference.samples, all.off, all.change,
        all.text.c_str());
}

int main_of(const std::map<std::string, std::string> &options, const char *program) {
    const test::Device device;
    const Place &place = device.place();
    if (options.count("--digest")) {
        std::printf("%016llx\n", static_cast<unsigned long long>(digest_of_all(place)));
        return 0;
    }
    Report report;
    check_tilings(report);
    check_refusals(report, place);
    check_identity(report, place);
    check_random(report, place, std::stoull(options.at("--seed")), std::stoi(options.at("--rounds")));
    if (options.count("--models"))
        check_shipped(report, place, options.at("--models"), std::stoull(options.at("--seed")));
    const std::string first = test::digest_with_seed(program, 1);
    report.expect(!first.empty() && first == test::digest_with_seed(program, 2),
                  "threads in another order give other bits");
    return report.finish();
}

} // namespace
} // namespace clv::cuda::lowrank

int main(int argc, char **argv) {
    return clv::cuda::test::run_check(argc, argv, "check_cuda_lowrank", {{"--seed", "1"}, {"--rounds", "12"}},
                                      clv::cuda::lowrank::main_of);
}
