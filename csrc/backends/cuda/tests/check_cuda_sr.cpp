// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_sr [--seed N] [--rounds N] [--models FOLDER] [--digest]
// The super-resolution net's kernels against a plain form of the net: random nets and those in FOLDER, random
// sizes, every byte around the output, NaN. Runs on whatever device the driver has: a GPU, or the emulator.
// --digest prints a checksum of what the device computes and nothing else.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/sr.h"
#include "backends/cuda/sr_plan.h"
#include "backends/cuda/sr_weights.h"
#include "backends/sr_luma.h"
#include "device_test.h"

namespace clv::cuda::sr {
namespace {

using pixels::test::Random;
using pixels::test::Report;
using test::Bundle;
using test::Device;
using test::digest_with_seed;
using test::shipped_bundle;
using test::WeightsFile;

constexpr double kLeastPsnr = 60;

/// A net whose activations are about as large as the picture's values.
Bundle random_bundle(Random &random, int channels, int blocks) {
    WeightsFile file;
    const auto conv = [&](const std::string &name, int in, int out, float gain) {
        file.add(name + ".weight", {out, in, 3, 3}, random, gain * std::sqrt(3.0F / (9.0F * float(in))));
        file.add(name + ".bias", {out}, random, 0.05F);
    };
    conv("head", 1, channels, 1.4F);
    for (int i = 0; i < blocks; i++)
        conv("blocks." + std::to_string(i), channels, channels, 0.8F);
    conv("tail", channels, kSrOutputs, 0.25F);
    const nlohmann::json card = {{"type", "sr_luma"}, {"channels", channels}, {"blocks", blocks},
                                 {"scale", 2},        {"slope", 0.1},         {"base", "nearest"}};
    return {"random", card.dump(), file.bytes()};
}

CompileRequest request_of(const Bundle &bundle, int height, int width) {
    CompileRequest out;
    out.model_name = bundle.name;
    out.architecture = bundle.architecture;
    out.weights = bundle.weights;
    out.input = {1, height, width};
    out.scale = kSrScale;
    out.layout = CLV_LAYOUT_Y;
    out.precision = CLV_PRECISION_FP16;
    return out;
}

/// Channels of height x width values.
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
    std::vector<double> sum(std::size_t(in.height) * std::size_t(in.width));
    for (int c = 0; c < conv.out_channels; c++) {
        std::fill(sum.begin(), sum.end(), double(conv.bias[std::size_t(c)]));
        for (int k = 0; k < in.channels; k++)
            for (int tap = 0; tap < 9; tap++) {
                const double weight = double(conv.weights[std::size_t((c * in.channels + k) * 9 + tap)]);
                const int dy = tap / 3 - 1;
                const int dx = tap % 3 - 1;
                for (int y = std::max(0, -dy); y < std::min(in.height, in.height - dy); y++)
                    for (int x = std::max(0, -dx); x < std::min(in.width, in.width - dx); x++)
                        sum[std::size_t(y * in.width + x)] += weight * double(in.at(k, y + dy, x + dx));
            }
        std::transform(sum.begin(), sum.end(), &out.at(c, 0, 0), [](double v) { return float(v); });
    }
    return out;
}

Planes leaky(Planes planes, float slope) {
    for (float &value : planes.values)
        value = value > 0 ? value : slope * value;
    return planes;
}

/// The net as python/clarivid/nets/sr.py has it.
Planes forward(const SrLuma &net, const Planes &luma) {
    Planes centred = luma;
    for (float &value : centred.values)
        value -= 0.5F;
    Planes f = leaky(convolve(net.head, centred), net.slope);
    for (const SrConv &block : net.blocks) {
        const Planes more = leaky(convolve(block, f), net.slope);
        for (std::size_t i = 0; i < f.values.size(); i++)
            f.values[i] += more.values[i];
    }
    const Planes tail = convolve(net.tail, f);
    Planes out(1, 2 * luma.height, 2 * luma.width);
    for (int y = 0; y < out.height; y++)
        for (int x = 0; x < out.width; x++)
            out.at(0, y, x) = tail.at(2 * (y % 2) + x % 2, y / 2, x / 2) + luma.at(0, y / 2, x / 2);
    return out;
}

/// Smooth with edges and a little noise, codes of 10 bits.
Planes draw(int height, int width, Random &random) {
    Planes out(1, height, width);
    const double slope = double(random.real(0.01F, 0.2F));
    const double turn = double(random.real(0, 6));
    const double noise = double(random.real(0, 0.05F));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double value = 0.5 + 0.35 * std::sin(slope * (x * std::cos(turn) + y * std::sin(turn)));
            if ((x / 9 + y / 7) % 3 == 0)
                value = 1 - value;
            value += double(random.real(-1, 1)) * noise;
            out.at(0, y, x) = float(std::round(std::clamp(value, 0.0, 1.0) * 1023) / 1023);
        }
    return out;
}

/// What the device makes of pictures of one size.
class Upscaler {
public:
    Upscaler(const Place &place, const Bundle &bundle, int height, int width)
        : place_(place), model_(make_sr(request_of(bundle, height, width), place)),
          in_(place, sizeof(float) * std::size_t(height * width)),
          out_(place, sizeof(float) * std::size_t(4 * height * width) + 2 * kGuard) {}

    Planes operator()(const Planes &luma) {
        Planes out(1, 2 * luma.height, 2 * luma.width);
        fill_async(place_, out_.get(), 0x5a, out_.bytes());
        copy_to_device_async(place_, in_.get(), luma.values.data(), in_.bytes());
        synchronise(place_);
        const std::uint64_t waits = place_.counters->synchronisations;
        const std::uint64_t copies = place_.counters->copies_to_host + place_.counters->copies_to_device;
        const std::uint64_t bytes = place_.counters->device_bytes;
        model_->enqueue(in_.get(), out_.get<std::uint8_t>() + kGuard);
        quiet = quiet && waits == place_.counters->synchronisations &&
                copies == place_.counters->copies_to_host + place_.counters->copies_to_device &&
                bytes == place_.counters->device_bytes;
        std::vector<std::uint8_t> all(out_.bytes());
        copy_to_host_async(place_, all.data(), out_.get(), all.size());
        synchronise(place_);
        const auto guarded = [](std::uint8_t byte) { return byte == 0x5a; };
        untouched = untouched && std::all_of(all.begin(), all.begin() + kGuard, guarded) &&
                    std::all_of(all.end() - kGuard, all.end(), guarded);
        std::memcpy(out.values.data(), all.data() + kGuard, all.size() - 2 * kGuard);
        return out;
    }
    std::string text() const { return model_->text(); }

    bool quiet = true;     ///< no copies, no waits, no memory
    bool untouched = true; ///< around the output

private:
    static constexpr std::ptrdiff_t kGuard = 256;
    const Place place_;
    const std::unique_ptr<TensorModel> model_;
    const Buffer in_, out_;
};

struct Difference {
    double squares = 0;
    double largest = 0;
    std::size_t count = 0;

    /// NaN has to be where NaN is wanted, and nowhere else.
    void add(const Planes &got, const Planes &wanted) {
        for (std::size_t i = 0; i < got.values.size(); i++) {
            const double a = double(got.values[i]);
            const double b = double(wanted.values[i]);
            const double off = std::isnan(a) && std::isnan(b) ? 0 : std::isnan(a - b) ? 1e9 : std::abs(a - b);
            squares += off * off;
            largest = std::max(largest, off);
            count++;
        }
    }
    double psnr() const { return squares > 0 ? 10 * std::log10(double(count) / squares) : 200; }
};

struct Check {
    const Place &place;
    Report &report;
    Difference all;

    void run(const std::string &what, const Bundle &bundle, const std::vector<Planes> &pictures) {
        Upscaler upscale(place, bundle, pictures[0].height, pictures[0].width);
        const SrLuma net = read_sr_luma(request_of(bundle, 1, 1), "cuda");
        Difference difference;
        for (const Planes &luma : pictures) {
            const Planes got = upscale(luma);
            const Planes wanted = forward(net, luma);
            difference.add(got, wanted);
            all.add(got, wanted);
        }
        const std::string name = what + " " + bundle.architecture + ", " + std::to_string(pictures[0].width) +
                                 "x" + std::to_string(pictures[0].height) + " in " + upscale.text();
        report.expect(difference.psnr() >= kLeastPsnr && difference.largest < 0.02,
                      name + ": PSNR is " + std::to_string(difference.psnr()) + " dB, largest error " +
                          std::to_string(difference.largest));
        report.expect(upscale.untouched, name + ": bytes around the output were written");
        report.expect(upscale.quiet, name + ": a picture cost a copy, a wait or memory");
    }
};

/// Of every division of a net: each layer once, in order, each position in one tile, no more shared memory
/// than there is.
void check_plans(Report &report) {
    const std::map<std::string, Chip> chips = {{"H100", {132, 227 * 1024, 228 * 1024, 1024}},
                                               {"A100", {108, 163 * 1024, 164 * 1024, 1024}},
                                               {"L4", {58, 99 * 1024, 100 * 1024, 1024}},
                                               {"T4", {40, 64 * 1024, 64 * 1024, 0}}};
    for (const auto &[name, chip] : chips)
        for (const int channels : {16, 24, 32})
            for (const int blocks : {1, 2, 3, 4, 9, 64})
                for (const auto &[width, height] :
                     {std::pair{1, 1}, {3, 2}, {75, 53}, {640, 360}, {1920, 1080}, {3840, 2160}}) {
                    const std::vector<Step> steps = plan(channels, blocks, height, width, chip);
                    bool good = !steps.empty();
                    int first = 0;
                    for (std::size_t i = 0; i < steps.size(); i++) {
                        const Step &step = steps[i];
                        const bool last = i + 1 == steps.size();
                        good = good && step.first_block == first && step.layers.head == (i == 0 ? 1 : 0) &&
                               step.layers.tail == (last ? 1 : 0) &&
                               std::size_t(step.bytes) <= chip.shared_per_block;
                        first += step.layers.blocks;
                        std::vector<char> rows(std::size_t(height), 0), columns(std::size_t(width), 0);
                        for (int n = 0; n < step.grid.tiles; n++) {
                            const Window w = window_of(step.grid, n);
                            good = good && w.height >= 1 && w.width >= 1 && w.y + w.height <= height &&
                                   w.x + w.width <= width;
                            for (int y = w.y; w.x == 0 && y < w.y + w.height; y++)
                                rows[std::size_t(y)]++;
                            for (int x = w.x; w.y == 0 && x < w.x + w.width; x++)
                                columns[std::size_t(x)]++;
                        }
                        const auto once = [](char times) { return times == 1; };
                        good = good && std::all_of(rows.begin(), rows.end(), once) &&
                               std::all_of(columns.begin(), columns.end(), once);
                    }
                    report.expect(good && first == blocks, "plan of " + std::to_string(channels) +
                                                               " channels, " + std::to_string(blocks) +
                                                               " blocks, " + std::to_string(width) + "x" +
                                                               std::to_string(height) + " on " + name);
                }
    // The table at the top of sr.cpp.
    for (const auto &[channels, blocks] : {std::pair{16, 9}, {16, 4}, {16, 3}, {24, 4}})
        for (const Step &step : plan(channels, blocks, 1080, 1920, chips.at("H100")))
            std::printf("H100, 1080p, %d channels, %d blocks: %d blocks%s%s, tiles of %dx%d, %d KiB, %d a "
                        "multiprocessor, %.1f MB, %.1f G multiply-adds, %.0f us\n",
                        channels, blocks, step.layers.blocks, step.layers.head ? ", head" : "",
                        step.layers.tail ? ", tail" : "", step.grid.tile_width, step.grid.tile_height,
                        step.bytes / 1024, step.of_multiprocessor, step.memory_bytes / 1e6,
                        step.multiply_adds / 1e9, step.time / (307e6 / 132));
}

void check_refusals(Report &report, const Place &place) {
    Random random(1);
    const Bundle bundle = random_bundle(random, 16, 1);
    const auto refused = [&](const CompileRequest &request, clv_status status, const std::string &part) {
        try {
            make_sr(request, place);
        } catch (const Error &error) {
            const bool good =
                error.status() == status && std::string(error.what()).find(part) != std::string::npos;
            report.expect(good, std::string("the refusal says \"") + error.what() + "\", not " + part);
            return;
        }
        report.expect(false, "taken, where the sentence should hold " + part);
    };
    CompileRequest request = request_of(bundle, 40, 40);
    report.expect(suits_sr(request), "a net of this architecture suits");
    request.architecture = R"({"type": "sr_luma", "channels": 96, "blocks": 4, "slope": 0.1})";
    refused(request, CLV_ERR_UNSUPPORTED, "4 to 32 channels");
    request.architecture = R"({"type": "sr_luma", "channels": 16, "blocks": 2, "slope": 0.1})";
    refused(request, CLV_ERR_INVALID_MODEL, "blocks.1.weight");
    request.architecture = R"({"type": "sr_other"})";
    refused(request, CLV_ERR_UNSUPPORTED, "use another backend");
    report.expect(!suits_sr(request), "another architecture does not suit");
    refused(request_of(bundle, 40, 40000), CLV_ERR_UNSUPPORTED, "1x1x40x40000");
}

/// What is compared between runs of the whole program whose threads take turns in another order.
std::uint64_t digest_of_all(const Place &place) {
    std::uint64_t sum = test::kDigestStart;
    for (const auto &[channels, blocks] : {std::pair{12, 6}, {24, 2}, {30, 3}}) {
        Random random(99);
        const Bundle bundle = random_bundle(random, channels, blocks);
        const Planes luma = draw(41, 70, random);
        const Planes out = Upscaler(place, bundle, luma.height, luma.width)(luma);
        for (const float value : out.values) {
            std::uint32_t bits;
            std::memcpy(&bits, &value, sizeof bits);
            sum = (sum ^ bits) * 0x100000001b3ULL;
        }
    }
    return sum;
}

int main_of(const std::map<std::string, std::string> &options, const char *program) {
    const Device device;
    const Place &place = device.place();
    if (options.count("--digest")) {
        std::printf("%016llx\n", static_cast<unsigned long long>(digest_of_all(place)));
        return 0;
    }
    Report report;
    check_plans(report);
    check_refusals(report, place);

    const auto seed = std::stoull(options.at("--seed"));
    Check check{place, report, {}};
    for (int round = 0; round < std::stoi(options.at("--rounds")); round++) {
        Random random(seed + static_cast<std::uint64_t>(round));
        const int most[] = {16, 24, 32};
        const int channels = random.between(round % 3 ? most[round % 3 - 1] + 1 : 4, most[round % 3]);
        const Bundle bundle = random_bundle(random, channels, random.between(1, 10));
        const int height = round % 4 == 1 ? random.between(40, 90) : random.between(1, 24);
        const int width = round % 4 == 2 ? random.between(60, 150) : random.between(1, 40);
        std::vector<Planes> pictures;
        for (int i = 0; i < 1 + round % 2; i++)
            pictures.push_back(draw(height, width, random));
        if (round % 5 == 4) // what is NaN spreads as far as the net sees, and no further
            pictures[0].at(0, random.between(0, height - 1), random.between(0, width - 1)) =
                std::numeric_limits<float>::quiet_NaN();
        check.run("random net", bundle, pictures);
    }
    Random random(seed);
    check.run("one sample", random_bundle(random, 16, 4), {draw(1, 1, random), draw(1, 1, random)});
    std::printf("random nets: PSNR %.1f dB, largest error %.5f\n", check.all.psnr(), check.all.largest);

    if (options.count("--models"))
        for (const char *name : {"game_x2", "natural_x2", "game_x2_fast", "natural_x2_fast"}) {
            const std::optional<Bundle> bundle = shipped_bundle(options.at("--models"), name);
            const bool ours = bundle && suits_sr(request_of(*bundle, 1, 1));
            report.expect(ours, std::string("no bundle ") + name + " that the kernels know");
            if (!ours)
                continue;
            Check shipped{place, report, {}};
            shipped.run(name, *bundle, {draw(43, 75, random)});
            std::printf("%s: PSNR %.1f dB, largest error %.5f\n", name, shipped.all.psnr(),
                        shipped.all.largest);
        }

    const std::string first = digest_with_seed(program, 1);
    report.expect(!first.empty() && first == digest_with_seed(program, 2),
                  "threads in another order give other bits");
    return report.finish();
}

} // namespace
} // namespace clv::cuda::sr

int main(int argc, char **argv) {
    return clv::cuda::test::run_check(argc, argv, "check_cuda_sr", {{"--seed", "1"}, {"--rounds", "20"}},
                                      clv::cuda::sr::main_of);
}
