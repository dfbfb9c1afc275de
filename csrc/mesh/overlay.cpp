// SPDX-License-Identifier: BSD-2-Clause
#include "mesh/overlay.h"

#include <algorithm>
#include <cmath>

namespace clv::mesh {
namespace {

constexpr float kEnlarged = 8; ///< of motion, in the picture of the mesh

/// Y'CbCr codes of 8 bit, limited range, BT.709.
struct Colour {
    int y;
    int u;
    int v;
};

constexpr Colour kRed{63, 102, 240};
constexpr Colour kGreen{173, 42, 26};
constexpr Colour kYellow{219, 16, 138};
constexpr Colour kBlue{32, 240, 118};
constexpr Colour kMagenta{78, 214, 230};
constexpr Colour kCyan{188, 154, 16};
constexpr Colour kWhite{235, 128, 128};

Colour between(const Colour &a, const Colour &b, float t) {
    const auto mix = [t](int from, int to) {
        return static_cast<int>(std::lround(static_cast<float>(from) + t * static_cast<float>(to - from)));
    };
    return {mix(a.y, b.y), mix(a.u, b.u), mix(a.v, b.v)};
}

template <typename Sample>
void mix_into(Sample &sample, int code, int shift, int share /* of 4 */) {
    sample = static_cast<Sample>((sample * (4 - share) + (code << shift) * share + 2) / 4);
}

class Pen {
public:
    explicit Pen(Frame &frame)
        : frame_(frame), shift_(frame.shape().bit_depth - 8),
          width_(std::max(1, (frame.shape().height + 180) / 360)) {}

    /// Luma of one sample.
    void tint_luma(int x, int y, const Colour &colour, int share) { tint(0, x, y, colour.y, share); }
    void tint_chroma(int column, int row, const Colour &colour, int share) {
        tint(1, column, row, colour.u, share);
        tint(2, column, row, colour.v, share);
    }
    void dot(int x, int y, const Colour &colour, int size) {
        const Shape &shape = frame_.shape();
        for (int j = std::max(y, 0); j < std::min(y + size, shape.height); j++)
            for (int i = std::max(x, 0); i < std::min(x + size, shape.width); i++) {
                tint_luma(i, j, colour, 4);
                tint_chroma(i / 2, j / 2, colour, 4);
            }
    }
    void line(const Point &from, const Point &to, const Colour &colour) {
        const Point way = to - from;
        const float length = way.cwiseAbs().maxCoeff();
        if (!(length < 1e5F))
            return;
        const int steps = std::max(1, static_cast<int>(std::ceil(length)));
        for (int i = 0; i <= steps; i++) {
            const Point at = from + way * (static_cast<float>(i) / static_cast<float>(steps));
            dot(static_cast<int>(std::lround(at.x())) - width_ / 2,
                static_cast<int>(std::lround(at.y())) - width_ / 2, colour, width_);
        }
    }
    int width() const { return width_; }

private:
    void tint(int plane, int x, int y, int code, int share) {
        if (frame_.shape().wide())
            mix_into(frame_.row<uint16_t>(plane, y)[x], code, shift_, share);
        else
            mix_into(frame_.row<uint8_t>(plane, y)[x], code, shift_, share);
    }

    Frame &frame_;
    int shift_;
    int width_;
};

/// Colours the hole's samples, and chroma of their blocks once.
template <typename ColourOf>
void tint_hole(const Hole &hole, Frame &frame, int share, ColourOf &&colour_of) {
    Pen pen(frame);
    const int width = frame.shape().width;
    for (int row = hole.box.y0 / 2; row < (hole.box.y1 + 1) / 2; row++)
        for (int column = hole.box.x0 / 2; column < (hole.box.x1 + 1) / 2; column++) {
            bool any = false;
            const Colour colour = colour_of(column, row);
            for (int y = 2 * row; y < std::min(2 * row + 2, frame.shape().height); y++)
                for (int x = 2 * column; x < std::min(2 * column + 2, width); x++)
                    if (hole.luma[static_cast<size_t>(y) * width + x]) {
                        pen.tint_luma(x, y, colour, share);
                        any = true;
                    }
            if (any)
                pen.tint_chroma(column, row, colour, share);
        }
}

} // namespace

void show_mask(const Hole &hole, Frame &frame) {
    tint_hole(hole, frame, 2, [](int, int) { return kRed; });
}

void show_mesh(const Mesh &mesh, Frame &frame) {
    Pen pen(frame);
    const Grid grid = mesh.grid();
    const auto vertex = [&](int column, int row) {
        return Point(static_cast<float>(column * mesh.width()) / static_cast<float>(grid.columns) - 0.5F,
                     static_cast<float>(row * mesh.height()) / static_cast<float>(grid.rows) - 0.5F);
    };
    const auto bent = [&](int column, int row) {
        return Point(vertex(column, row) - kEnlarged * mesh.displacement(column, row));
    };
    for (int row = 0; row <= grid.rows; row++)
        for (int column = 0; column <= grid.columns; column++) {
            if (column < grid.columns)
                pen.line(bent(column, row), bent(column + 1, row), kCyan);
            if (row < grid.rows)
                pen.line(bent(column, row), bent(column, row + 1), kCyan);
        }
    for (int row = 0; row <= grid.rows; row++)
        for (int column = 0; column <= grid.columns; column++) {
            const Point at = vertex(column, row);
            const Point motion = at - mesh(at);
            if (motion.norm() > 0.05F)
                pen.line(bent(column, row), bent(column, row) - kEnlarged / 2 * motion, kYellow);
        }
}

void show_tracks(const std::vector<Match> &matches, const std::vector<bool> &inlier, Frame &frame) {
    Pen pen(frame);
    for (size_t i = 0; i < matches.size(); i++) {
        const Match &match = matches[i];
        const Colour &colour = i < inlier.size() && inlier[i] ? kGreen : kRed;
        const Point tail = match.current + 4 * (match.previous - match.current);
        pen.line(match.current, tail, colour);
        const int size = 2 * pen.width() + 1;
        pen.dot(static_cast<int>(std::lround(match.current.x())) - size / 2,
                static_cast<int>(std::lround(match.current.y())) - size / 2, colour, size);
        pen.dot(static_cast<int>(std::lround(match.current.x())),
                static_cast<int>(std::lround(match.current.y())), kWhite, 1);
    }
}

void show_age(const Hole &hole, const Memory &memory, Frame &frame) {
    const int64_t now = frame.time;
    tint_hole(hole, frame, 2, [&](int column, int row) {
        const Reference &reference = memory.at(column, row);
        if (reference.slot < 0)
            return kCyan;
        if (reference.origin == Origin::painted)
            return kMagenta;
        if (reference.time > now)
            return kBlue;
        const float age = std::min(static_cast<float>(now - reference.time) / kOldest, 1.F);
        return age < 0.5F ? between(kGreen, kYellow, 2 * age) : between(kYellow, kRed, 2 * age - 1);
    });
}

} // namespace clv::mesh
