// SPDX-License-Identifier: BSD-2-Clause
// Where points come from, over many pictures, and the one resampling that takes them there.
#pragma once

#include <vector>

#include "mesh/mesh.h"
#include "mesh/store.h"

namespace clv::mesh {

/// A smooth map from one picture to another: displacements at nodes kStep luma samples apart, bilinear in
/// between, going on linearly outside. Compositions of meshes stay one of these however many there are; as
/// displacements are smooth (pictures are not), interpolating them again and again costs next to nothing.
class Field {
public:
    static constexpr int kStep = 16;

    Field() = default;
    /// The identity.
    explicit Field(const Shape &shape);
    /// `mesh`, sampled at the nodes.
    Field(const Shape &shape, const Mesh &mesh);

    /// Displacement at a point.
    Point at(const Point &point) const;
    /// Displacements at (x + i * step, y), i in [0, count); step in 0.5..2.
    void row(float x, float y, float step, int count, float *dx, float *dy) const;

    /// The map p -> this(first(p)).
    Field after(const Field &first) const;
    /// The map back; displacements must not vary faster than the points do.
    Field inverse() const;
    void shift(const Point &by);

    /// Exactly no motion.
    bool is_identity() const;
    /// Nodes: (column * kStep, row * kStep), column in [0, columns()).
    int columns() const { return columns_; }
    int rows() const { return rows_; }
    const Point &node(int column, int row) const {
        return nodes_[static_cast<size_t>(row) * static_cast<size_t>(columns_) + static_cast<size_t>(column)];
    }
    size_t bytes() const { return nodes_.size() * sizeof(Point); }

private:
    int columns_ = 0;
    int rows_ = 0;
    std::vector<Point> nodes_;
};

/// How codes of one picture become those of another: code * gain + offset.
struct Light {
    float gain = 1;
    float offset = 0;
    bool none() const { return gain == 1 && offset == 0; }
};

inline constexpr int kPhases = 64; ///< positions between two samples
/// Spline36 for each of them: the weights of the samples at -2 .. 3, and two zeros.
const float *resampling_weights();

/// Writes samples [first, last) of row `y` of the luma plane: those of `from` at where `field` takes them, in
/// the light of now. Spline36, six samples each way; where the way is whole samples, exact copies. The way is
/// rounded to 1/64 of a sample. Codes are clamped to the format's.
template <typename Sample>
void resample_luma(const Frame &from, const Field &field, const Light &light, int y, int first, int last,
                   Sample *to);
/// The same for both chroma planes.
template <typename Sample>
void resample_chroma(const Frame &from, const Field &field, const Light &light_u, const Light &light_v, int y,
                     int first, int last, Sample *to_u, Sample *to_v);

/// The sample of a plane at (x, y) + `way`, in samples of the plane; resampled likewise.
template <typename Sample>
float sample_at(const Frame &from, int plane, int x, int y, const Point &way);

} // namespace clv::mesh
