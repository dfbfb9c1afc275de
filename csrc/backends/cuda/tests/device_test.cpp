// SPDX-License-Identifier: BSD-2-Clause
#include "device_test.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

namespace clv::cuda::test {

std::vector<RowLayout> device_layouts(const PictureFormat &format, Random &random) {
    std::vector<RowLayout> out;
    for (const auto &[width, height] : pixels::test::plane_sizes(format)) {
        const std::ptrdiff_t unit = format.bytes_per_sample();
        const std::ptrdiff_t step = random.one_in(2) ? std::max<std::ptrdiff_t>(unit, 64) : unit;
        RowLayout layout{.rows = height, .row_bytes = width * unit};
        layout.stride = (layout.row_bytes + step - 1) / step * step + step * random.between(0, 3);
        layout.before = step * random.between(0, 3);
        layout.after = random.one_in(2) ? 0 : random.between(0, 70);
        out.push_back(layout);
    }
    return out;
}

DevicePlanes::DevicePlanes(const Place &place, TestPicture &picture) : place_(place), picture_(picture) {
    for (std::size_t i = 0; i < picture.planes.size(); i++) {
        const RowLayout &layout = picture.planes[i].layout();
        memory_.emplace_back(place, layout.size());
        copy_to_device_async(place, memory_[i].get(), first_byte(i), layout.size());
        view.data[i] = memory_[i].get<std::uint8_t>() + layout.before;
        view.stride[i] = layout.stride;
    }
    synchronise(place);
}

void DevicePlanes::fetch() {
    for (std::size_t i = 0; i < memory_.size(); i++)
        copy_to_host_async(place_, first_byte(i), memory_[i].get(), picture_.planes[i].layout().size());
    synchronise(place_);
}

std::uint8_t *DevicePlanes::first_byte(std::size_t plane) {
    return picture_.planes[plane].row(0) - picture_.planes[plane].layout().before;
}

void draw(TestPicture &picture, Random &random) {
    const PictureFormat &f = picture.format;
    const double range = (1 << f.bit_depth) - 1;
    const double slope = random.real(0.01F, 0.2F);
    const double turn = random.real(0, 6);
    const double noise = random.real(0, 0.05F);
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane ? f.chroma_height() : f.height); y++)
            for (int x = 0; x < (plane ? f.chroma_width() : f.width); x++) {
                double value =
                    0.5 + 0.35 * std::sin(slope * (x * std::cos(turn) + y * std::sin(turn)) + plane);
                if ((x / 9 + y / 7) % 3 == 0)
                    value = 1 - value;
                value += double(random.real(-1, 1)) * noise;
                picture.set_code(plane, x, y, static_cast<int>(std::clamp(value, 0.0, 1.0) * range));
            }
}

void WeightsFile::add(const std::string &name, const std::vector<int> &shape, Random &random, float size,
                      float offset) {
    std::size_t count = 1;
    for (const int n : shape)
        count *= static_cast<std::size_t>(n);
    const std::size_t begin = values_.size() * sizeof(float);
    for (std::size_t i = 0; i < count; i++)
        values_.push_back(offset + random.real(-size, size));
    header_[name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, values_.size() * sizeof(float)}}};
}

std::vector<std::byte> WeightsFile::bytes() const {
    const std::string header = header_.dump();
    const std::uint64_t length = header.size();
    const std::size_t size = values_.size() * sizeof(float);
    std::vector<std::byte> out(sizeof length + header.size() + size);
    std::memcpy(out.data(), &length, sizeof length);
    std::memcpy(out.data() + sizeof length, header.data(), header.size());
    std::memcpy(out.data() + sizeof length + header.size(), values_.data(), size);
    return out;
}

CompileRequest Bundle::request(const PictureFormat &format, int scale) const {
    CompileRequest out;
    out.model_name = name;
    out.architecture = architecture;
    out.weights = weights;
    out.input = {6, format.chroma_height(), format.chroma_width()};
    out.scale = scale;
    out.layout = CLV_LAYOUT_YUV420_S2D;
    out.precision = CLV_PRECISION_FP16;
    return out;
}

namespace {

std::vector<std::byte> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    std::vector<std::byte> out(bytes.size());
    if (!bytes.empty())
        std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
}

} // namespace

std::optional<Bundle> shipped_bundle(const std::string &folder, const std::string &name) {
    const std::vector<std::byte> card = read_file(folder + "/" + name + "/card.json");
    const auto *text = reinterpret_cast<const char *>(card.data());
    const auto json = nlohmann::json::parse(text, text + card.size(), nullptr, false);
    if (!json.is_object())
        return std::nullopt;
    return Bundle{name, json.at("architecture").dump(),
                  read_file(folder + "/" + name + "/weights.safetensors")};
}

double Difference::psnr() const {
    return squares > 0 ? 10 * std::log10(static_cast<double>(samples) / squares) : 200;
}

void Difference::join(const Difference &other) {
    squares += other.squares;
    largest = std::max(largest, other.largest);
    samples += other.samples;
    different += other.different;
    codes = std::max(codes, other.codes);
    untouched = untouched && other.untouched;
}

Difference compare(const TestPicture &got, const TestPicture &wanted) {
    Difference out;
    const PictureFormat &f = got.format;
    const double range = (1 << f.bit_depth) - 1;
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane ? f.chroma_height() : f.height); y++)
            for (int x = 0; x < (plane ? f.chroma_width() : f.width); x++) {
                const int codes = std::abs(got.code(plane, x, y) - wanted.code(plane, x, y));
                out.squares += codes / range * (codes / range);
                out.largest = std::max(out.largest, codes / range);
                out.codes = std::max(out.codes, codes);
                out.different += codes > 0 ? 1 : 0;
                out.samples++;
            }
    for (const auto &plane : got.planes)
        out.untouched = out.untouched && plane.outside_untouched();
    return out;
}

std::uint64_t digest(std::uint64_t sum, const TestPicture &picture) {
    for (const auto &plane : picture.planes)
        for (int y = 0; y < plane.layout().rows; y++)
            for (std::ptrdiff_t x = 0; x < plane.layout().row_bytes; x++)
                sum = (sum ^ plane.row(y)[x]) * 0x100000001b3ULL;
    return sum;
}

std::string digest_with_seed(const char *program, int seed) {
    const std::string command =
        "CLARIVID_EMULATOR_SEED=" + std::to_string(seed) + " '" + program + "' --digest";
    std::FILE *const pipe = ::popen(command.c_str(), "r");
    if (!pipe)
        return "";
    char line[64] = {};
    const bool got = std::fgets(line, sizeof line, pipe) != nullptr;
    ::pclose(pipe);
    return got ? line : "";
}

int run_check(int argc, char **argv, const char *name, Options defaults,
              int (*body)(const Options &options, const char *program)) {
    for (int i = 1; i < argc; i++) {
        const std::string key = argv[i];
        defaults[key] = key != "--digest" && i + 1 < argc ? argv[++i] : "";
    }
    try {
        return body(defaults, argv[0]);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s: %s\n", name, error.what());
        return 1;
    }
}

} // namespace clv::cuda::test
