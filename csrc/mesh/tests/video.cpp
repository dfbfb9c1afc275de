// SPDX-License-Identifier: BSD-2-Clause
#include "video.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <stdexcept>

namespace clv::mesh::test {
namespace {

constexpr uint8_t kGuard = 0xA5;
constexpr size_t kMargin = 37;

} // namespace

Image::Image(const pixels::PictureFormat &format, bool upside_down)
    : format_(format), upside_down_(upside_down) {
    size_t size = kMargin;
    const auto bytes = static_cast<size_t>(format.bytes_per_sample());
    for (int plane = 0; plane < (format.semi_planar ? 2 : 3); plane++) {
        const auto width = static_cast<size_t>(plane == 0           ? format.width
                                               : format.semi_planar ? 2 * format.chroma_width()
                                                                    : format.chroma_width());
        const auto height = static_cast<size_t>(plane == 0 ? format.height : format.chroma_height());
        stride_[plane] = width * bytes + kMargin;
        begin_[plane] = size;
        size += stride_[plane] * height;
        inside_.resize(size, false);
        for (size_t y = 0; y < height; y++)
            std::fill_n(inside_.begin() + static_cast<ptrdiff_t>(begin_[plane] + y * stride_[plane]),
                        width * bytes, true);
    }
    if (format.semi_planar) {
        stride_[2] = stride_[1];
        begin_[2] = begin_[1];
    }
    bytes_.assign(size, kGuard);
}

pixels::Picture Image::view() {
    pixels::Picture picture;
    for (int plane = 0; plane < 3; plane++) {
        const auto rows = static_cast<size_t>(plane == 0 ? format_.height : format_.chroma_height());
        picture.data[plane] =
            bytes_.data() + begin_[plane] + (upside_down_ ? (rows - 1) * stride_[plane] : 0);
        picture.stride[plane] =
            upside_down_ ? -static_cast<ptrdiff_t>(stride_[plane]) : static_cast<ptrdiff_t>(stride_[plane]);
    }
    return picture;
}

size_t Image::at(int plane, int x, int y) const {
    const int rows = plane == 0 ? format_.height : format_.chroma_height();
    const auto row = static_cast<size_t>(upside_down_ ? rows - 1 - y : y);
    const bool interleaved = plane > 0 && format_.semi_planar;
    const auto column = static_cast<size_t>(interleaved ? 2 * x + plane - 1 : x);
    return begin_[plane] + row * stride_[plane] + column * static_cast<size_t>(format_.bytes_per_sample());
}

int Image::get(int plane, int x, int y) const {
    if (format_.bit_depth == 8)
        return bytes_[at(plane, x, y)];
    uint16_t code;
    std::memcpy(&code, &bytes_[at(plane, x, y)], sizeof code);
    return format_.msb_aligned ? code >> (16 - format_.bit_depth) : code;
}

void Image::set(int plane, int x, int y, int code) {
    if (format_.bit_depth == 8) {
        bytes_[at(plane, x, y)] = static_cast<uint8_t>(code);
        return;
    }
    const auto value = static_cast<uint16_t>(format_.msb_aligned ? code << (16 - format_.bit_depth) : code);
    std::memcpy(&bytes_[at(plane, x, y)], &value, sizeof value);
}

bool Image::guards_intact() const {
    for (size_t i = 0; i < bytes_.size(); i++)
        if (!inside_[i] && bytes_[i] != kGuard)
            return false;
    return true;
}

bool Image::operator==(const Image &other) const {
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane == 0 ? format_.height : format_.chroma_height()); y++)
            for (int x = 0; x < (plane == 0 ? format_.width : format_.chroma_width()); x++)
                if (get(plane, x, y) != other.get(plane, x, y))
                    return false;
    return true;
}

Waves::Waves(uint32_t seed) {
    Random random(seed);
    for (int plane = 0; plane < 3; plane++)
        for (int i = 0; i < (plane == 0 ? 24 : 6); i++) {
            const double length =
                plane == 0 ? 6 * std::pow(12.0, uniform(random, 0, 1)) : uniform(random, 20, 90);
            const double angle = uniform(random, 0, std::numbers::pi);
            const double frequency = 2 * std::numbers::pi / length;
            waves_[plane].push_back({frequency * std::cos(angle), frequency * std::sin(angle),
                                     uniform(random, 0, 2 * std::numbers::pi), plane == 0 ? 11.0 : 5.0});
        }
}

Image Waves::show(const pixels::PictureFormat &format, double x0, double y0, double gain, double offset,
                  bool upside_down) const {
    Image image(format, upside_down);
    const int unit = 1 << (format.bit_depth - 8);
    for (int plane = 0; plane < 3; plane++) {
        const int width = plane == 0 ? format.width : format.chroma_width();
        const int height = plane == 0 ? format.height : format.chroma_height();
        const double scale = plane == 0 ? 1 : 2;
        const double centre = plane == 0 ? 0 : 0.5;
        const size_t count = waves_[plane].size();
        std::vector<float> sines(count * static_cast<size_t>(width));
        std::vector<float> cosines(sines.size());
        for (size_t i = 0; i < count; i++)
            for (int x = 0; x < width; x++) {
                const double angle = waves_[plane][i].fx * (x0 + scale * x + centre) + waves_[plane][i].phase;
                sines[i * static_cast<size_t>(width) + static_cast<size_t>(x)] =
                    static_cast<float>(std::sin(angle));
                cosines[i * static_cast<size_t>(width) + static_cast<size_t>(x)] =
                    static_cast<float>(std::cos(angle));
            }
        std::vector<float> line(static_cast<size_t>(width));
        for (int y = 0; y < height; y++) {
            std::fill(line.begin(), line.end(), 0.F);
            for (size_t i = 0; i < count; i++) {
                const double angle = waves_[plane][i].fy * (y0 + scale * y + centre);
                const auto s = static_cast<float>(std::sin(angle) * waves_[plane][i].size);
                const auto c = static_cast<float>(std::cos(angle) * waves_[plane][i].size);
                const float *sine = &sines[i * static_cast<size_t>(width)];
                const float *cosine = &cosines[i * static_cast<size_t>(width)];
                for (size_t x = 0; x < line.size(); x++)
                    line[x] += sine[x] * c + cosine[x] * s;
            }
            for (int x = 0; x < width; x++) {
                const double value = gain * static_cast<double>(line[static_cast<size_t>(x)]) + 128 + offset;
                image.set(plane, x, y, static_cast<int>(std::clamp(value * unit + 0.5, 0.0, 255.0 * unit)));
            }
        }
    }
    return image;
}

void Mask::ellipse(double cx, double cy, double rx, double ry) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            if ((x - cx) * (x - cx) / (rx * rx) + (y - cy) * (y - cy) / (ry * ry) <= 1)
                data[static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)] = 255;
}

void Mask::box(int x0, int y0, int x1, int y1) {
    for (int y = std::max(y0, 0); y < std::min(y1, height); y++)
        for (int x = std::max(x0, 0); x < std::min(x1, width); x++)
            data[static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)] = 255;
}

void cover(Image &image, const Mask &mask, uint32_t seed) {
    Random random(seed);
    const pixels::PictureFormat &format = image.format();
    const uint32_t codes = 1U << format.bit_depth;
    for (int y = 0; y < format.height; y++)
        for (int x = 0; x < format.width; x++)
            if (mask.at(x, y)) {
                image.set(0, x, y, static_cast<int>(random() % codes));
                image.set(1, x / 2, y / 2, static_cast<int>(random() % codes));
                image.set(2, x / 2, y / 2, static_cast<int>(random() % codes));
            }
}

double psnr(const Image &a, const Image &b, const Mask &where) {
    double sum = 0;
    double count = 0;
    const double unit = 1 << (a.format().bit_depth - 8);
    for (int y = 0; y < a.format().height; y++)
        for (int x = 0; x < a.format().width; x++)
            if (where.at(x, y)) {
                const double difference = (a.get(0, x, y) - b.get(0, x, y)) / unit;
                sum += difference * difference;
                count++;
            }
    return 10 * std::log10(255.0 * 255.0 * count / std::max(sum, 1e-9));
}

Machine::Machine(const pixels::PictureFormat &picture_format, const InpainterOptions &options,
                 Painter *painter, int threads)
    : pool(threads),
      inpainter(picture_format, options, painter, pool,
                [this](clv_log_level, const std::string &sentence) { sentences.push_back(sentence); }),
      format(picture_format) {}

Image Machine::run(const Image &input, const Mask *mask) {
    Image output(input);
    const clv_mask view = mask ? mask->view() : clv_mask{};
    if (!inpainter.submit(input.view(), mask ? &view : nullptr))
        throw std::logic_error("submit refused a picture");
    if (inpainter.receive(false, output.view()) != CLV_OK)
        throw std::logic_error("receive had no picture");
    return output;
}

clv_inpaint_stats Machine::stats() const {
    clv_inpaint_stats stats{};
    inpainter.stats(stats);
    return stats;
}

} // namespace clv::mesh::test
