// SPDX-License-Identifier: BSD-2-Clause
#include "core/boxes.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace clv {
namespace {

constexpr int64_t kMaxNumber = 1'000'000'000; // of a place or a size: far beyond every picture, and sums fit
constexpr size_t kShown = 60;                 // characters of a bad text that a sentence repeats

[[noreturn]] void refuse(const std::string &where, const std::string &why) {
    throw Error(CLV_ERR_INVALID_ARGUMENT, where + " " + why);
}

/// In quotes, cut, and on one line: a file may hold anything.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text.substr(0, kShown))
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return out + (text.size() > kShown ? "...\"" : "\"");
}

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const size_t end = text.find(separator);
        parts.push_back(trimmed(text.substr(0, end)));
        if (end == std::string_view::npos)
            return parts;
        text.remove_prefix(end + 1);
    }
}

/// The fields of a line: spaces, tabs or one comma with any spaces around it between them.
std::vector<std::string_view> fields_of(std::string_view line) {
    if (line.find(',') != std::string_view::npos)
        return split(line, ',');
    std::vector<std::string_view> fields;
    while (!(line = trimmed(line)).empty()) {
        const auto end = std::find_if(line.begin(), line.end(), is_space);
        fields.push_back(line.substr(0, static_cast<size_t>(end - line.begin())));
        line.remove_prefix(fields.back().size());
    }
    return fields;
}

int64_t whole_number(std::string_view text, const std::string &where, const char *name, int64_t largest) {
    int64_t value = 0;
    const char *end = text.data() + text.size();
    const char *begin = text.starts_with('+') ? text.data() + 1 : text.data();
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (text.empty() || text.starts_with("+-") || stop != end || error == std::errc::invalid_argument)
        refuse(where, std::string("has ") + (text.empty() ? "nothing" : quoted(text)) + " for its " + name +
                          ": a whole number is needed");
    if (error != std::errc() || value > largest || value < -largest)
        refuse(where, "has " + quoted(text) + " for its " + name + ", which is beyond " +
                          std::to_string(largest) + ": no picture is that large");
    return value;
}

} // namespace

Boxes Boxes::parse(const std::string &text) {
    Boxes boxes;
    boxes.constant_ = true;
    if (trimmed(text).empty())
        refuse("the list of boxes", "is empty: give x:y:w:h in luma samples, a comma between boxes");
    const auto items = split(text, ',');
    for (size_t i = 0; i < items.size(); i++) {
        const std::string where = "box " + std::to_string(i + 1) + " (" + quoted(items[i]) + ")";
        const auto fields = split(items[i], ':');
        if (fields.size() != 4)
            refuse(where, "has " + std::to_string(items[i].empty() ? 0 : fields.size()) +
                              " numbers: give x:y:w:h in luma samples, a comma between boxes");
        boxes.add(where, 0, fields.data());
    }
    return boxes;
}

Boxes Boxes::read(const std::string &path) {
    const auto bytes = read_file(path);
    std::string_view text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    if (text.starts_with("\xEF\xBB\xBF")) // a byte order mark, as editors on Windows write it
        text.remove_prefix(3);
    if (text.find('\0') != std::string_view::npos)
        refuse("boxes file " + path, "is no text: it needs a line \"frame x y w h\" for each box");
    Boxes boxes;
    for (size_t number = 1; !text.empty(); number++) {
        // Lines end in "\n", "\r\n" or, in old files, "\r".
        const size_t end = std::min(text.find_first_of("\r\n"), text.size());
        const std::string_view whole = text.substr(0, end);
        const std::string_view line = trimmed(whole.substr(0, whole.find('#')));
        text.remove_prefix(text.substr(end).starts_with("\r\n") ? end + 2 : std::min(end + 1, text.size()));
        if (line.empty())
            continue;
        const std::string where = "line " + std::to_string(number) + " of boxes file " + path;
        const auto fields = fields_of(line);
        if (fields.size() != 5)
            refuse(where, "(" + quoted(trimmed(whole)) + ") has " + std::to_string(fields.size()) +
                              (fields.size() == 1 ? " number" : " numbers") +
                              ": it needs \"frame x y w h\", one box a line");
        const int64_t frame = whole_number(fields[0], where, "frame", INT64_MAX);
        if (frame < 0)
            refuse(where, "has the frame " + std::to_string(frame) + ": the first picture is number 0");
        if (!boxes.boxes_.empty() && frame < boxes.boxes_.back().frame)
            refuse(where, "has the frame " + std::to_string(frame) + " after frame " +
                              std::to_string(boxes.boxes_.back().frame) +
                              ": sort the lines by their frames (sort -n)");
        boxes.add(where, frame, &fields[1]);
    }
    return boxes;
}

void Boxes::add(const std::string &where, int64_t frame, const std::string_view *fields) {
    const Box box = {frame, whole_number(fields[0], where, "x", kMaxNumber),
                     whole_number(fields[1], where, "y", kMaxNumber),
                     whole_number(fields[2], where, "width", kMaxNumber),
                     whole_number(fields[3], where, "height", kMaxNumber)};
    for (const auto &[value, name] : {std::pair{box.width, "width"}, {box.height, "height"}}) {
        if (value < 0)
            refuse(where, std::string("has a negative ") + name + " of " + std::to_string(value) +
                              ": x and y are the left upper corner, width and height at least 1");
        if (value == 0)
            refuse(where, std::string("is empty, its ") + name + " is 0: width and height are at least 1");
    }
    boxes_.push_back(box);
}

int Boxes::draw(int64_t frame, uint8_t *mask, ptrdiff_t stride, int width, int height) const {
    const int64_t key = constant_ ? 0 : frame;
    auto box = std::lower_bound(boxes_.begin(), boxes_.end(), key,
                                [](const Box &item, int64_t wanted) { return item.frame < wanted; });
    int touched = 0;
    for (; box != boxes_.end() && box->frame == key; ++box) {
        const int64_t left = std::max<int64_t>(box->x, 0);
        const int64_t right = std::min<int64_t>(box->x + box->width, width);
        const int64_t top = std::max<int64_t>(box->y, 0);
        const int64_t bottom = std::min<int64_t>(box->y + box->height, height);
        if (left >= right || top >= bottom)
            continue;
        for (int64_t y = top; y < bottom; y++)
            std::memset(mask + y * stride + left, 255, static_cast<size_t>(right - left));
        touched++;
    }
    return touched;
}

} // namespace clv
