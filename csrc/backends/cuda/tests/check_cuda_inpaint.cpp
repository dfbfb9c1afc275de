// SPDX-License-Identifier: BSD-2-Clause
//
// check_cuda_inpaint [--seed N] [--rounds N] [--models FOLDER]
// check_cuda_inpaint --run BUNDLE HEIGHT WIDTH IN OUT
// The painting net on the device against its plain form in f32, as python/clarivid/nets/inpaint.py has it:
// random nets, and those in FOLDER. --run paints a tensor [7][HEIGHT][WIDTH] of f32 in a file, for a
// comparison with PyTorch. Runs on whatever device the driver has: a GPU, or the emulator.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backends/cuda/inpaint_net.h"
#include "backends/weights.h"
#include "device_test.h"

namespace clv::cuda::test {
namespace {

using Json = nlohmann::json;

constexpr double kLeastPsnr = 60; ///< in the hole, of values one unit wide
constexpr float kSlope = 0.1F;

/// Planes of f32.
struct Image {
    int channels = 0, height = 0, width = 0;
    std::vector<float> data;

    Image() = default;
    Image(int c, int h, int w)
        : channels(c), height(h), width(w),
          data(static_cast<std::size_t>(c) * static_cast<std::size_t>(h * w)) {}
    float &at(int c, int y, int x) { return data[static_cast<std::size_t>((c * height + y) * width + x)]; }
    float at(int c, int y, int x) const {
        return data[static_cast<std::size_t>((c * height + y) * width + x)];
    }
};

template <class Function>
Image make(int c, int h, int w, Function value) {
    Image out(c, h, w);
    for (int k = 0; k < c; k++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                out.at(k, y, x) = value(k, y, x);
    return out;
}
template <class Function>
Image each(const Image &a, Function value) {
    Image out = a;
    for (float &v : out.data)
        v = value(v);
    return out;
}
Image join(const std::vector<Image> &parts) {
    Image out = parts[0];
    for (std::size_t i = 1; i < parts.size(); i++) {
        out.channels += parts[i].channels;
        out.data.insert(out.data.end(), parts[i].data.begin(), parts[i].data.end());
    }
    return out;
}
Image some(const Image &a, int from, int to) {
    return make(to - from, a.height, a.width, [&](int k, int y, int x) { return a.at(from + k, y, x); });
}
/// One channel of b counts for all.
template <class Function>
Image both(const Image &a, const Image &b, Function value) {
    return make(a.channels, a.height, a.width, [&](int k, int y, int x) {
        return value(a.at(k, y, x), b.at(b.channels == 1 ? 0 : k, y, x));
    });
}
Image add(const Image &a, const Image &b) {
    return both(a, b, [](float p, float q) { return p + q; });
}
Image mul(const Image &a, const Image &b) {
    return both(a, b, [](float p, float q) { return p * q; });
}
Image leaky(const Image &a) {
    return each(a, [](float v) { return v > 0 ? v : kSlope * v; });
}
Image sigmoid(const Image &a) {
    return each(a, [](float v) { return 1 / (1 + std::exp(-v)); });
}
Image complement(const Image &a) {
    return each(a, [](float v) { return 1 - v; });
}
Image average(const Image &a, int size, int stride) {
    const int reach = stride == 1 ? size / 2 : 0;
    return make(a.channels, a.height / stride, a.width / stride, [&](int k, int y, int x) {
        double sum = 0;
        for (int v = std::max(0, y * stride - reach); v < std::min(a.height, y * stride - reach + size); v++)
            for (int u = std::max(0, x * stride - reach); u < std::min(a.width, x * stride - reach + size);
                 u++)
                sum += static_cast<double>(a.at(k, v, u));
        return static_cast<float>(sum / (size * size));
    });
}
Image blur(const Image &a) {
    return make(a.channels, a.height, a.width, [&](int k, int y, int x) {
        double sum = 0;
        int count = 0;
        for (int v = std::max(0, y - 1); v <= std::min(a.height - 1, y + 1); v++)
            for (int u = std::max(0, x - 1); u <= std::min(a.width - 1, x + 1); u++, count++)
                sum += static_cast<double>(a.at(k, v, u));
        return static_cast<float>(sum / count);
    });
}
Image doubled(const Image &a) {
    return make(a.channels, 2 * a.height, 2 * a.width,
                [&](int k, int y, int x) { return a.at(k, y / 2, x / 2); });
}
Image enlarged(const Image &a, int factor) {
    return make(a.channels, factor * a.height, factor * a.width, [&](int k, int y, int x) {
        const double v = std::max(0.0, (y + 0.5) / factor - 0.5);
        const double u = std::max(0.0, (x + 0.5) / factor - 0.5);
        const int top = static_cast<int>(v);
        const int left = static_cast<int>(u);
        const int bottom = std::min(top + 1, a.height - 1);
        const int right = std::min(left + 1, a.width - 1);
        const auto row = [&](int line) {
            return static_cast<double>(a.at(k, line, left)) * (1 - (u - left)) +
                   static_cast<double>(a.at(k, line, right)) * (u - left);
        };
        return static_cast<float>(row(top) * (1 - (v - top)) + row(bottom) * (v - top));
    });
}

/// The net's card and weights, and its forward pass.
class Reference {
public:
    explicit Reference(const Bundle &bundle)
        : card_(Json::parse(bundle.architecture)), weights_(bundle.weights) {}

    Image paint(const Image &in) const {
        const Image hole = some(in, 6, 7);
        const Image start = diffusion(mul(some(in, 0, 6), complement(hole)), complement(hole));
        const int k0 = card_["coarse"][0], k1 = card_["coarse"][1];
        const int c0 = card_["refine"][0], c1 = card_["refine"][1], c2 = card_["refine"][2];

        const Image small = average(join({start, hole}), 4, 4);
        const Image a = layer(small, "coarse_in", k0);
        Image deep = layer(a, "coarse_down", k1, 2);
        for (std::size_t i = 0; i < card_["coarse_dilations"].size(); i++)
            deep = gated(deep, "coarse_" + std::to_string(i), card_["coarse_dilations"][i]);
        const Image context = layer(join({doubled(deep), a}), "coarse_up", k0);
        const Image change = conv(context, "coarse_picture", 6);
        const Image edges = sigmoid(conv(context, "coarse_edges", 1));

        const Image guess = add(start, mul(enlarged(change, 4), hole));
        const Image full = layer(join({guess, start, hole, enlarged(edges, 4)}), "refine_in", c0);
        const Image half = layer(layer(full, "refine_down1", c1, 2), "refine_half", c1);
        Image quarter = layer(join({layer(half, "refine_down2", c2, 2), context}), "refine_join", c2);
        for (std::size_t i = 0; i < card_["refine_dilations"].size(); i++)
            quarter = gated(quarter, "refine_" + std::to_string(i), card_["refine_dilations"][i]);
        const Image middle = layer(join({doubled(quarter), half}), "refine_up1", c1);
        Image fine = layer(join({doubled(middle), full}), "refine_up2", c0);
        for (int i = 0; i < card_["smooth"].get<int>(); i++)
            fine = layer(fine, "refine_smooth" + std::to_string(i), c0);
        return add(guess, mul(conv(fine, "refine_picture", 6), hole));
    }

private:
    Image conv(const Image &in, const std::string &name, int channels, int stride = 1,
               int dilation = 1) const {
        const auto weights = weights_.take(name + ".weight", {channels, in.channels, 3, 3});
        const auto bias = weights_.take(name + ".bias", {channels});
        return make(channels, in.height / stride, in.width / stride, [&](int k, int y, int x) {
            float sum = bias[static_cast<std::size_t>(k)];
            for (int tap = 0; tap < 9; tap++) {
                const int v = y * stride + (tap / 3 - 1) * dilation;
                const int u = x * stride + (tap % 3 - 1) * dilation;
                if (v < 0 || v >= in.height || u < 0 || u >= in.width)
                    continue;
                for (int c = 0; c < in.channels; c++)
                    sum +=
                        weights[static_cast<std::size_t>((k * in.channels + c) * 9 + tap)] * in.at(c, v, u);
            }
            return sum;
        });
    }
    Image layer(const Image &in, const std::string &name, int channels, int stride = 1) const {
        return leaky(conv(in, name, channels, stride));
    }
    Image gated(const Image &in, const std::string &name, int dilation) const {
        return add(in, mul(leaky(conv(in, name + "_features", in.channels, 1, dilation)),
                           sigmoid(conv(in, name + "_gate", in.channels, 1, dilation))));
    }

    struct Known {
        Image mean, open;
    };
    static Known known(const Image &sums, float factor) {
        const Image weight = some(sums, 6, 7);
        const Image trust = each(weight, [=](float v) { return std::clamp(v * factor, 0.0F, 1.0F); });
        const Image mean =
            both(some(sums, 0, 6), weight, [](float p, float q) { return p / std::max(q, 1e-4F); });
        return {mul(mean, trust), complement(trust)};
    }
    static Image diffusion(const Image &picture, const Image &is_known) {
        std::vector<Image> levels = {join({picture, is_known})};
        for (int i = 0; i < 3; i++)
            levels.push_back(average(levels.back(), 2, 2));
        Image filled = known(average(levels[3], 31, 1), 8).mean;
        for (const int size : {15, 7, 3}) {
            const Known here = known(average(levels[3], size, 1), 8);
            filled = add(here.mean, mul(filled, here.open));
        }
        constexpr int smoothings[4] = {1, 3, 6, 12};
        for (int level = 3; level >= 0; level--) {
            if (level < 3)
                filled = enlarged(filled, 2);
            const Known here = known(levels[static_cast<std::size_t>(level)], level ? 4.0F : 1.0F);
            filled = add(here.mean, mul(filled, here.open));
            for (int i = 0; i < smoothings[level]; i++)
                filled = add(here.mean, mul(blur(filled), here.open));
        }
        return filled;
    }

    const Json card_;
    const Weights weights_;
};

/// Random channels, not always in eights, and dilations; activations about as large as the picture's values.
Bundle random_bundle(Random &random) {
    const auto channels = [&] { return random.between(1, 20); };
    const int k0 = channels(), k1 = channels(), c0 = channels(), c1 = channels(), c2 = channels();
    const auto dilations = [&] {
        std::vector<int> out;
        for (int i = random.between(1, 2); i > 0; i--)
            out.push_back(random.between(1, 5));
        return out;
    };
    const Json card = {{"type", "inpaint_coarse_refine"},
                       {"coarse", {k0, k1}},
                       {"coarse_dilations", dilations()},
                       {"refine", {c0, c1, c2}},
                       {"refine_dilations", dilations()},
                       {"smooth", random.between(0, 2)},
                       {"slope", kSlope}};
    WeightsFile file;
    const auto conv = [&](const std::string &name, int in, int out) {
        file.add(name + ".weight", {out, in, 3, 3}, random,
                 1.3F * std::sqrt(3.0F / (9.0F * static_cast<float>(in))));
        file.add(name + ".bias", {out}, random, 0.1F);
    };
    const auto gated = [&](const std::string &stage, std::size_t count, int width) {
        for (std::size_t i = 0; i < count; i++)
            for (const char *part : {"_features", "_gate"})
                conv(stage + std::to_string(i) + part, width, width);
    };
    conv("coarse_in", 7, k0);
    conv("coarse_down", k0, k1);
    gated("coarse_", card["coarse_dilations"].size(), k1);
    conv("coarse_up", k1 + k0, k0);
    conv("coarse_picture", k0, 6);
    conv("coarse_edges", k0, 1);
    conv("refine_in", 14, c0);
    conv("refine_down1", c0, c1);
    conv("refine_half", c1, c1);
    conv("refine_down2", c1, c2);
    conv("refine_join", c2 + k0, c2);
    gated("refine_", card["refine_dilations"].size(), c2);
    conv("refine_up1", c2 + c1, c1);
    conv("refine_up2", c1 + c0, c0);
    for (int i = 0; i < card["smooth"].get<int>(); i++)
        conv("refine_smooth" + std::to_string(i), c0, c0);
    conv("refine_picture", c0, 6);
    return {"random", card.dump(), file.bytes()};
}

/// A smooth picture with edges, and a hole of some rectangles, where what is given is noise.
Image draw(Random &random, int h, int w) {
    Image out(7, h, w);
    for (int i = random.between(1, 3); i > 0; i--) {
        const int top = random.between(0, h - 1);
        const int left = random.between(0, w - 1);
        for (int y = top; y < std::min(h, top + 1 + h / 3); y++)
            for (int x = left; x < std::min(w, left + 1 + w / 3); x++)
                out.at(6, y, x) = 1;
    }
    for (int c = 0; c < 6; c++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const float value =
                    0.3F * std::sin(0.3F * static_cast<float>(x + c) + 0.2F * static_cast<float>(y)) +
                    ((x / 9 + y / 7) % 3 == 0 ? 0.15F : 0.0F);
                out.at(c, y, x) = out.at(6, y, x) > 0 ? random.real(-0.5F, 0.5F) : value;
            }
    return out;
}

CompileRequest request_of(const Bundle &bundle, int h, int w) {
    CompileRequest out;
    out.model_name = bundle.name;
    out.architecture = bundle.architecture;
    out.weights = bundle.weights;
    out.input = {7, h, w};
    out.scale = 1;
    out.layout = CLV_LAYOUT_YUV420_S2D_MASK;
    out.precision = CLV_PRECISION_FP16;
    return out;
}

Image run(const Place &place, const Bundle &bundle, const Image &in) {
    const auto model = make_inpaint(request_of(bundle, in.height, in.width), place);
    Image out(6, in.height, in.width);
    const Buffer from(place, in.data.size() * sizeof(float));
    const Buffer to(place, out.data.size() * sizeof(float));
    copy_to_device_async(place, from.get(), in.data.data(), from.bytes());
    for (int i = 0; i < 2; i++) // the second finds the activations of the first
        model->enqueue(from.get(), to.get());
    copy_to_host_async(place, out.data.data(), to.get(), to.bytes());
    synchronise(place);
    return out;
}

/// In the hole and outside, where nothing may change.
void compare(Report &report, const std::string &what, const Image &in, const Image &got,
             const Image &wanted) {
    double squares = 0;
    double worst = 0;
    long count = 0;
    bool kept = true;
    for (int c = 0; c < 6; c++)
        for (int y = 0; y < in.height; y++)
            for (int x = 0; x < in.width; x++) {
                if (in.at(6, y, x) == 0) {
                    kept = kept && got.at(c, y, x) == in.at(c, y, x);
                    continue;
                }
                const double difference =
                    static_cast<double>(got.at(c, y, x)) - static_cast<double>(wanted.at(c, y, x));
                squares += difference * difference;
                worst = std::max(worst, std::isfinite(difference) ? std::abs(difference) : 1e9);
                count++;
            }
    const double psnr = squares > 0 ? 10 * std::log10(static_cast<double>(count) / squares) : 200;
    std::printf("%s, %dx%d: %.1f dB, largest difference %.5f\n", what.c_str(), in.width, in.height, psnr,
                worst);
    report.expect(psnr >= kLeastPsnr && worst < 1, what);
    report.expect(kept, what + ": known places are given back as they came");
}

void check_random(Report &report, const Place &place, Random &random) {
    const Bundle bundle = random_bundle(random);
    const Image in = draw(random, 8 * random.between(1, 6), 8 * random.between(1, 6));
    compare(report, "random net " + bundle.architecture, in, run(place, bundle, in),
            Reference(bundle).paint(in));
}

void check_shipped(Report &report, const Place &place, const std::string &folder, const char *name, int h,
                   int w) {
    const auto bundle = shipped_bundle(folder, name);
    report.expect(bundle.has_value(), std::string("the model is there: ") + name);
    if (!bundle)
        return;
    Random random(7);
    const Image in = draw(random, h, w);
    compare(report, name, in, run(place, *bundle, in), Reference(*bundle).paint(in));
}

void check_refusals(Report &report, const Place &place) {
    Random random(3);
    const Bundle good = random_bundle(random);
    const auto refused = [&](const CompileRequest &request, clv_status status, const char *what) {
        bool thrown = false;
        try {
            make_inpaint(request, place);
        } catch (const Error &error) {
            thrown = error.status() == status && std::string(error.what()).size() > 30;
        }
        report.expect(thrown, std::string("refused: ") + what);
    };
    refused(request_of(good, 12, 16), CLV_ERR_UNSUPPORTED, "a height that is no multiple of 8");
    CompileRequest request = request_of(good, 16, 16);
    request.layout = CLV_LAYOUT_YUV420_S2D;
    refused(request, CLV_ERR_UNSUPPORTED, "another layout");
    report.expect(!suits_inpaint(request), "another layout does not suit");
    Bundle bad = good;
    Json card = Json::parse(good.architecture);
    card["coarse"] = {1};
    bad.architecture = card.dump();
    refused(request_of(bad, 16, 16), CLV_ERR_INVALID_MODEL, "widths that are not two");
    card = Json::parse(good.architecture);
    card["smooth"] = 3; // layers that the file does not have
    bad.architecture = card.dump();
    refused(request_of(bad, 16, 16), CLV_ERR_INVALID_MODEL, "weights that are missing");
}

int paint_file(const Place &place, char **arguments) {
    const std::filesystem::path folder = arguments[0];
    const auto bundle = shipped_bundle(folder.parent_path().string(), folder.filename().string());
    Image in(7, std::atoi(arguments[1]), std::atoi(arguments[2]));
    const auto bytes = static_cast<std::streamsize>(in.data.size() * sizeof(float));
    std::ifstream from(arguments[3], std::ios::binary);
    if (!bundle || !from.read(reinterpret_cast<char *>(in.data.data()), bytes)) {
        std::fprintf(stderr, "check_cuda_inpaint: no model in %s or too little in %s\n", arguments[0],
                     arguments[3]);
        return EXIT_FAILURE;
    }
    const Image out = run(place, *bundle, in);
    std::ofstream to(arguments[4], std::ios::binary);
    to.write(reinterpret_cast<const char *>(out.data.data()),
             static_cast<std::streamsize>(out.data.size() * sizeof(float)));
    return to.good() ? EXIT_SUCCESS : EXIT_FAILURE;
}

} // namespace
} // namespace clv::cuda::test

int main(int argc, char **argv) {
    using namespace clv::cuda::test;
    std::uint64_t seed = std::random_device()();
    int rounds = 4;
    std::string models;
    try {
        if (argc == 7 && std::string(argv[1]) == "--run") {
            const Device device;
            return paint_file(device.place(), argv + 2);
        }
        for (int i = 1; i < argc; i++) {
            const std::string option = argv[i];
            if (option == "--seed" && i + 1 < argc) {
                seed = std::strtoull(argv[++i], nullptr, 0);
            } else if (option == "--rounds" && i + 1 < argc) {
                rounds = std::atoi(argv[++i]);
            } else if (option == "--models" && i + 1 < argc) {
                models = argv[++i];
            } else {
                std::fprintf(stderr, "usage: check_cuda_inpaint [--seed N] [--rounds N] [--models FOLDER]\n"
                                     "       check_cuda_inpaint --run BUNDLE HEIGHT WIDTH IN OUT\n");
                return 2;
            }
        }
        const Device device;
        std::printf("seed %llu, device %s\n", static_cast<unsigned long long>(seed),
                    clv::cuda::device_info(device.place()).name.c_str());
        Report report;
        for (int i = 0; i < rounds; i++) {
            Random random(seed + static_cast<std::uint64_t>(i));
            check_random(report, device.place(), random);
        }
        if (!models.empty()) {
            check_shipped(report, device.place(), models, "inpaint_v1_fast", 48, 64);
            check_shipped(report, device.place(), models, "inpaint_v1", 32, 32);
        }
        check_refusals(report, device.place());
        return report.finish();
    } catch (const clv::Error &error) {
        std::fprintf(stderr, "check_cuda_inpaint: %s\n", error.what());
        return EXIT_FAILURE;
    }
}
