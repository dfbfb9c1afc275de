// SPDX-License-Identifier: BSD-2-Clause
// What core promises of boxes: texts, sidecar files, drawing, and a sentence for all that is wrong with them.
#include "core/tests/core_test.h"

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

namespace {

struct Boxes {
    Boxes(Host &host, const std::string &text, bool is_file)
        : status(clv_boxes_create(host.context, text.c_str(), is_file, &boxes)) {}
    ~Boxes() { clv_boxes_destroy(&boxes); }
    Boxes(const Boxes &) = delete;
    Boxes &operator=(const Boxes &) = delete;
    /// The mask of one picture as text, a row after the other.
    std::string draw(int64_t frame, int width, int height, int *count = nullptr) const {
        std::vector<uint8_t> mask(static_cast<size_t>(width * height));
        const int drawn = clv_boxes_draw(boxes, frame, mask.data(), width, width, height);
        if (count)
            *count = drawn;
        std::string text;
        for (const uint8_t sample : mask)
            text += sample == 255 ? '#' : sample == 0 ? '.' : '?';
        return text;
    }
    clv_boxes *boxes = nullptr;
    int status;
};

void boxes_in_a_text_hold_for_every_picture(const Folder &) {
    Host host;
    for (const char *text : {"1:1:2:1,4:0:1:2", " 1 : 1 : 2 : 1 , 4:0:1:2 ", "+1:1:2:1,4:0:1:2"}) {
        const Boxes boxes(host, text, false);
        EXPECT(boxes.status == CLV_OK);
        for (const int64_t frame : {int64_t{0}, int64_t{7}, INT64_MAX}) {
            int count = 0;
            EXPECT(boxes.draw(frame, 5, 2, &count) == "....#.##.#");
            EXPECT(count == 2);
        }
    }
}

void boxes_are_cut_at_the_border_and_those_outside_not_counted(const Folder &) {
    Host host;
    const Boxes boxes(host, "-3:-3:4:4,4:1:999999999:1,5:0:3:3,-9:0:3:3,0:2:1:1", false);
    int count = 0;
    EXPECT(boxes.draw(0, 5, 2, &count) == "#........#");
    EXPECT(count == 2);
    std::vector<uint8_t> mask(10, 7);
    EXPECT(clv_boxes_draw(boxes.boxes, 0, mask.data() + 5, -5, 5, 2) ==
           2); // bottom-up, on top of what is there
    EXPECT(mask[5] == 255 && mask[4] == 255 && mask[0] == 7);
    EXPECT(clv_boxes_draw(nullptr, 0, mask.data(), 5, 5, 2) == 0);
}

void a_sidecar_gives_each_picture_its_boxes(const Folder &folder) {
    Host host;
    const std::string sidecars[] = {
        "0 0 0 1 1\n0 2 0 1 1\n2 1 0 1 1\n900000000000 3 0 1 1\n",
        "# frame x y w h\n\n0 0 0 1 1 # the first\n0\t2 0 1\t1\n  2 1 0 1 1\n900000000000 3 0 1 1",
        "0,0,0,1,1\r\n0, 2, 0, 1, 1\r\n2 ,1,0,1,1\r\n900000000000,3,0,1,1\r\n",
        "\xEF\xBB\xBF"
        "0 0 0 1 1\r0 2 0 1 1\r\r2 1 0 1 1\r900000000000 3 0 1 1\r",
    };
    for (const auto &text : sidecars) {
        const Boxes boxes(host, folder.write("boxes.txt", text), true);
        expect(boxes.status == CLV_OK, host.error(), __LINE__);
        EXPECT(boxes.draw(0, 4, 1) == "#.#.");
        EXPECT(boxes.draw(1, 4, 1) == "....");
        EXPECT(boxes.draw(2, 4, 1) == ".#..");
        EXPECT(boxes.draw(900000000000, 4, 1) == "...#");
        EXPECT(boxes.draw(-1, 4, 1) == "....");
    }
}

void a_sidecar_without_boxes_is_no_error_but_said(const Folder &folder) {
    for (const char *text : {"", "\n\n", "# nobody\r\n"}) {
        Host host;
        const Boxes boxes(host, folder.write("none.txt", text), true);
        EXPECT(boxes.status == CLV_OK);
        EXPECT(boxes.draw(0, 2, 1) == "..");
        EXPECT_SAYS(host.logged, "has no boxes");
    }
}

void bad_boxes_get_one_sentence_each(const Folder &folder) {
    struct Case {
        std::string text;
        bool is_file;
        int status;
        std::string says;
    };
    const std::string good = "0 1 1 2 2\n";
    const auto file = [&, number = 0](const std::string &text) mutable {
        return folder.write("bad" + std::to_string(number++) + ".txt", text);
    };
    auto in = file;
    fs::create_directories(folder.path() + "/boxes");
    const Case cases[] = {
        {"", false, CLV_ERR_INVALID_ARGUMENT, "is empty: give x:y:w:h"},
        {"1:2:3", false, CLV_ERR_INVALID_ARGUMENT, "box 1 (\"1:2:3\") has 3 numbers: give x:y:w:h"},
        {"1:1:2:2,", false, CLV_ERR_INVALID_ARGUMENT, "box 2 (\"\") has 0 numbers"},
        {"1:1:2:2,1:1:2:0", false, CLV_ERR_INVALID_ARGUMENT, "box 2 (\"1:1:2:0\") is empty, its height is 0"},
        {"1:1:0:2", false, CLV_ERR_INVALID_ARGUMENT, "is empty, its width is 0"},
        {"1:1:-5:2", false, CLV_ERR_INVALID_ARGUMENT, "has a negative width of -5"},
        {"1:x:5:2", false, CLV_ERR_INVALID_ARGUMENT, "has \"x\" for its y: a whole number is needed"},
        {"1:1.5:5:2", false, CLV_ERR_INVALID_ARGUMENT, "has \"1.5\" for its y: a whole number is needed"},
        {"1::5:2", false, CLV_ERR_INVALID_ARGUMENT, "has nothing for its y"},
        {"1:+-1:5:2", false, CLV_ERR_INVALID_ARGUMENT, "has \"+-1\" for its y"},
        {"99999999999999999999:1:5:2", false, CLV_ERR_INVALID_ARGUMENT, "beyond 1000000000"},
        {"1:1:5:1000000001", false, CLV_ERR_INVALID_ARGUMENT, "for its height, which is beyond"},
        {folder.path() + "/nowhere.txt", true, CLV_ERR_NOT_FOUND, "nowhere.txt"},
        {folder.path() + "/boxes", true, CLV_ERR_IO, "/boxes"},
        {in(good + "1 1 1 2\n"), true, CLV_ERR_INVALID_ARGUMENT, "line 2 of boxes file"},
        {in(good + "1 1 1 2\n"), true, CLV_ERR_INVALID_ARGUMENT,
         "(\"1 1 1 2\") has 4 numbers: it needs \"frame x y w h\""},
        {in("\r\n# x\r\n" + good + "1 1 1 2 2 9\r\n"), true, CLV_ERR_INVALID_ARGUMENT, "line 4 of boxes"},
        {in(good + "1 1 1 two 2\n"), true, CLV_ERR_INVALID_ARGUMENT, "has \"two\" for its width"},
        {in(good + "1 1 1 2 0\n"), true, CLV_ERR_INVALID_ARGUMENT, "is empty, its height is 0"},
        {in(good + "1 1 1 2 -1\n"), true, CLV_ERR_INVALID_ARGUMENT, "a negative height of -1"},
        {in("5 1 1 2 2\n4 1 1 2 2\n"), true, CLV_ERR_INVALID_ARGUMENT,
         "has the frame 4 after frame 5: sort the lines"},
        {in("-1 1 1 2 2\n"), true, CLV_ERR_INVALID_ARGUMENT, "the first picture is number 0"},
        {in("99999999999999999999 1 1 2 2\n"), true, CLV_ERR_INVALID_ARGUMENT, "for its frame"},
        {in("0,1,1,2,\n"), true, CLV_ERR_INVALID_ARGUMENT, "has nothing for its height"},
        {in(std::string("0 1 1 2 2\n\0\x01", 12)), true, CLV_ERR_INVALID_ARGUMENT, "is no text"},
        {in("\x1b[31m" + std::string(500, 'x') + "\n"), true, CLV_ERR_INVALID_ARGUMENT, "...\")"},
    };
    for (const auto &item : cases) {
        Host host;
        const Boxes boxes(host, item.text, item.is_file);
        expect(boxes.status == item.status, std::string(clv_status_name(boxes.status)) + ": " + host.error(),
               __LINE__);
        EXPECT_SAYS(host.error(), item.says);
        EXPECT(host.error().find('\n') == std::string::npos &&
               host.error().find('\x1b') == std::string::npos);
        EXPECT(boxes.boxes == nullptr);
    }
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(boxes_in_a_text_hold_for_every_picture);
    RUN(boxes_are_cut_at_the_border_and_those_outside_not_counted);
    RUN(a_sidecar_gives_each_picture_its_boxes);
    RUN(a_sidecar_without_boxes_is_no_error_but_said);
    RUN(bad_boxes_get_one_sentence_each);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
