// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clv {

/// Boxes that are to vanish, for every picture or by the picture's number. Immutable.
class Boxes {
public:
    /// "x:y:w:h[,x:y:w:h...]", the same for every picture. Throws Error(CLV_ERR_INVALID_ARGUMENT).
    static Boxes parse(const std::string &text);
    /// A sidecar file (clarivid.h). Throws Error: CLV_ERR_NOT_FOUND, CLV_ERR_IO, CLV_ERR_INVALID_ARGUMENT
    /// with the number of the line.
    static Boxes read(const std::string &path);

    /// As clv_boxes_draw().
    int draw(int64_t frame, uint8_t *mask, ptrdiff_t stride, int width, int height) const;
    size_t count() const { return boxes_.size(); }

private:
    struct Box {
        int64_t frame;
        int64_t x, y, width, height;
    };

    /// `fields`: x, y, width, height as text.
    void add(const std::string &where, int64_t frame, const std::string_view *fields);

    bool constant_ = false;
    std::vector<Box> boxes_; ///< frames in ascending order; all 0 when constant
};

} // namespace clv
