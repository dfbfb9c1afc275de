// SPDX-License-Identifier: BSD-2-Clause
// Videos whose background is known, for the checks of the memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "mesh/inpainter.h"
#include "scene.h"

namespace clv::mesh::test {

/// A picture of any format with guard bytes around its rows.
class Image {
public:
    Image(const pixels::PictureFormat &format, bool upside_down = false);

    const pixels::PictureFormat &format() const { return format_; }
    pixels::Picture view();
    pixels::ConstPicture view() const { return const_cast<Image *>(this)->view(); }
    /// Plane 0, 1, 2 = Y, U, V whatever the layout.
    int get(int plane, int x, int y) const;
    void set(int plane, int x, int y, int code);
    bool guards_intact() const;
    /// Same samples.
    bool operator==(const Image &other) const;

private:
    size_t at(int plane, int x, int y) const;

    pixels::PictureFormat format_;
    bool upside_down_;
    size_t stride_[3];
    size_t begin_[3];
    std::vector<uint8_t> bytes_;
    std::vector<bool> inside_;
};

/// A plane of waves of many lengths and directions: smooth enough to be sampled anywhere, with corners to
/// follow.
class Waves {
public:
    explicit Waves(uint32_t seed);
    /// Shows the plane from (x, y) on; codes are gain * (value - 128) + 128 + offset, in 8 bit.
    Image show(const pixels::PictureFormat &format, double x, double y, double gain = 1, double offset = 0,
               bool upside_down = false) const;

private:
    struct Wave {
        double fx;
        double fy;
        double phase;
        double size;
    };
    std::vector<Wave> waves_[3];
};

/// Bytes of 0 or 255.
struct Mask {
    Mask(int w, int h) : width(w), height(h), data(static_cast<size_t>(w) * static_cast<size_t>(h), 0) {}
    void ellipse(double cx, double cy, double rx, double ry);
    void box(int x0, int y0, int x1, int y1);
    clv_mask view() const { return {data.data(), width, width, height, CLV_MEMORY_HOST}; }
    bool at(int x, int y) const {
        return data[static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x)] != 0;
    }

    int width;
    int height;
    std::vector<uint8_t> data;
};

/// Puts noise where the mask is: the object.
void cover(Image &image, const Mask &mask, uint32_t seed);

/// Luma's PSNR in dB where `where` is set, for codes of 8 bit.
double psnr(const Image &a, const Image &b, const Mask &where);

/// One inpainter with its threads.
struct Machine {
    Machine(const pixels::PictureFormat &format, const InpainterOptions &options, Painter *painter = nullptr,
            int threads = 2);

    pixels::ThreadPool pool;
    std::vector<std::string> sentences;
    Inpainter inpainter;
    pixels::PictureFormat format;

    /// Submits and receives at once (no lookahead).
    Image run(const Image &input, const Mask *mask);
    clv_inpaint_stats stats() const;
};

} // namespace clv::mesh::test
