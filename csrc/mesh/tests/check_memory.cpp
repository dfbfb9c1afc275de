// SPDX-License-Identifier: BSD-2-Clause
// The whole of the inpainter on videos whose background is known.

#include <cmath>
#include <stdexcept>

#include "mesh/diffuse.h"
#include "video.h"

namespace clv::mesh::test {
namespace {

pixels::PictureFormat format_of(int width, int height, int depth = 8, bool semi_planar = false) {
    pixels::PictureFormat format;
    format.width = width;
    format.height = height;
    format.bit_depth = depth;
    format.semi_planar = semi_planar;
    format.msb_aligned = semi_planar && depth > 8;
    return format;
}

std::string name_of(const pixels::PictureFormat &format) {
    return std::to_string(format.width) + "x" + std::to_string(format.height) + " " +
           std::to_string(format.bit_depth) + " bit" + (format.semi_planar ? " semi-planar" : "");
}

InpainterOptions options_of(int lookahead = 0) {
    InpainterOptions options;
    options.lookahead = lookahead;
    return options;
}

/// An object that walks from left to right before a fixed camera.
Mask walker(const pixels::PictureFormat &format, int time) {
    Mask mask(format.width, format.height);
    mask.ellipse(0.15 * format.width + 5 * time, 0.5 * format.height, 0.12 * format.width,
                 0.35 * format.height);
    return mask;
}

void fixed_camera_gives_the_background_back_exactly(Report &report, const pixels::PictureFormat &format,
                                                    bool upside_down) {
    const Image background = Waves(7).show(format, 31, 17, 1, 0, upside_down);
    Machine machine(format, options_of());
    bool exact = true;
    bool guards = true;
    double remembered = 0;
    for (int time = 0; time < 40; time++) {
        Image picture = background;
        const Mask mask = walker(format, time);
        cover(picture, mask, static_cast<uint32_t>(time));
        const Image shown = machine.run(picture, &mask);
        guards = guards && shown.guards_intact();
        remembered = machine.stats().remembered;
        if (time >= 28)
            exact = exact && shown == background;
    }
    report.expect(guards, "nothing but the picture is written, " + name_of(format));
    report.expect(remembered == 1, "all of the hole is remembered once it was seen, " + name_of(format));
    report.expect(exact, "what was revealed before a fixed camera comes back bit by bit, " + name_of(format) +
                             (upside_down ? ", bottom-up" : ""));
}

void pictures_without_a_hole_pass_and_are_learnt_from(Report &report) {
    const auto format = format_of(161, 99);
    const Image background = Waves(3).show(format, 0, 0);
    Machine machine(format, options_of());
    const Mask nothing(format.width, format.height);
    report.expect(machine.run(background, nullptr) == background,
                  "a picture without a mask passes bit by bit");
    report.expect(machine.run(background, &nothing) == background, "a mask without a hole changes nothing");
    Image covered = background;
    const Mask mask = walker(format, 8);
    cover(covered, mask, 5);
    report.expect(machine.run(covered, &mask) == background, "pictures without a mask are learnt from");
    report.expect(machine.stats().paintings == 0, "nothing needs painting when everything was seen");
}

void the_rest_of_the_picture_is_not_touched(Report &report) {
    const auto format = format_of(322, 180);
    Machine machine(format, options_of());
    bool same = true;
    for (int time = 0; time < 12; time++) {
        Image picture = Waves(3).show(format, 1.3 * time, 0.4 * time);
        Mask mask(format.width, format.height);
        mask.box(101, 41, 160, 120);
        cover(picture, mask, static_cast<uint32_t>(time));
        const Image shown = machine.run(picture, &mask);
        for (int y = 0; y < format.height; y++)
            for (int x = 0; x < format.width; x++)
                if (x < 97 || x >= 164 || y < 37 || y >= 124)
                    same = same && shown.get(0, x, y) == picture.get(0, x, y) &&
                           (x / 2 == 48 || x / 2 == 81 || y / 2 == 18 || y / 2 == 61 ||
                            shown.get(1, x / 2, y / 2) == picture.get(1, x / 2, y / 2));
    }
    report.expect(same, "samples outside of the dilated mask are the input's");
}

void long_occlusion_stays_sharp(Report &report) {
    const auto format = format_of(320, 180);
    const Waves waves(11);
    Machine machine(format, options_of());
    Mask mask(format.width, format.height);
    mask.box(120, 50, 200, 130);
    Mask inner(format.width, format.height);
    inner.box(140, 65, 180, 115);
    double early = 0;
    double late = 0;
    uint64_t bytes_early = 0;
    for (int time = 0; time <= 500; time++) {
        const double x = 40 + 14 * std::sin(0.021 * time);
        const double y = 25 + 5 * std::sin(0.013 * time);
        const Image truth = waves.show(format, x, y);
        if (time < 6) {
            machine.run(truth, nullptr);
            continue;
        }
        Image picture = truth;
        cover(picture, mask, static_cast<uint32_t>(time));
        const Image shown = machine.run(picture, &mask);
        // Single pictures may lie on whole samples: look at ten.
        if (time > 45 && time <= 55)
            early += psnr(shown, truth, inner) / 10;
        if (time > 490)
            late += psnr(shown, truth, inner) / 10;
        if (time == 50)
            bytes_early = machine.stats().memory_bytes;
    }
    std::printf("long occlusion: %.2f dB at picture 50, %.2f dB at picture 500\n", early, late);
    report.expect(early > 30,
                  "what was seen 50 pictures ago is shown well: " + std::to_string(early) + " dB");
    report.expect(late > early - 0.5, "what was seen 500 pictures ago is as sharp: " + std::to_string(late) +
                                          " dB after " + std::to_string(early));
    report.expect(machine.stats().memory_bytes == bytes_early, "memory does not grow");
    report.expect(machine.stats().cuts == 0, "a pan is no cut");
}

void many_slots_are_gathered_without_loss_on_a_fixed_camera(Report &report) {
    const auto format = format_of(640, 64);
    const Image background = Waves(5).show(format, 0, 0);
    Machine machine(format, options_of());
    bool exact = true;
    for (int time = 0; time < 240;
         time++) { // the hole widens slowly: each strip of it was seen at another time
        Image picture = background;
        Mask mask(format.width, format.height);
        if (time > 0)
            mask.box(300 - time, 8, 302 + time, 56);
        cover(picture, mask, static_cast<uint32_t>(time));
        exact = exact && machine.run(picture, &mask) == background;
    }
    report.expect(exact, "gathering loses nothing when nothing moves");
    report.expect(machine.stats().remembered == 1, "gathering forgets nothing");
}

void fades_are_followed(Report &report) {
    const auto format = format_of(320, 180);
    const Waves waves(11);
    Machine machine(format, options_of());
    Mask mask(format.width, format.height);
    mask.box(120, 50, 200, 130);
    double worst = 100;
    for (int time = 0; time < 60; time++) {
        const Image truth = waves.show(format, 10, 10, 1 - 0.012 * time, -0.5 * time);
        Image picture = truth;
        if (time >= 3)
            cover(picture, mask, static_cast<uint32_t>(time));
        const Image shown = machine.run(picture, time >= 3 ? &mask : nullptr);
        if (time >= 3)
            worst = std::min(worst, psnr(shown, truth, mask));
    }
    std::printf("fade: %.2f dB\n", worst);
    report.expect(worst > 44, "the fill follows a fade: " + std::to_string(worst) + " dB");
    report.expect(machine.stats().cuts == 0, "a fade is no cut");
}

void cuts_empty_the_memory(Report &report) {
    const auto format = format_of(320, 180);
    Mask mask(format.width, format.height);
    mask.box(120, 50, 200, 130);
    Machine machine(format, options_of());
    Machine other(format, options_of());
    bool same = true;
    for (int time = 0; time < 20; time++) {
        Image picture = Waves(time < 10 ? 21 : 22).show(format, 0.5 * time, 0);
        cover(picture, mask, static_cast<uint32_t>(time));
        const Image shown = machine.run(picture, &mask);
        if (time >= 10)
            same = same && shown == other.run(picture, &mask);
    }
    report.expect(machine.stats().cuts == 1, "a cut is noticed");
    report.expect(same, "after a cut everything is as if the video began there");
}

void lookahead_reveals_background_for_earlier_pictures(Report &report) {
    const auto format = format_of(320, 180);
    const Image background = Waves(9).show(format, 0, 0);
    constexpr int kLater = 24;
    Machine machine(format, options_of(kLater));
    int received = 0;
    bool exact = true;
    bool order = true;
    for (int time = 0; time < 40 || machine.inpainter.pending() > 0; time++) {
        Image picture = background;
        if (time < 40) {
            const Mask mask = walker(format, time);
            const clv_mask view = mask.view();
            cover(picture, mask, static_cast<uint32_t>(time));
            order = order && machine.inpainter.submit(picture.view(), &view);
        }
        Image shown(format);
        const int status = machine.inpainter.receive(time >= 40, shown.view());
        order = order && status == (time < kLater ? CLV_AGAIN : CLV_OK);
        if (status == CLV_OK) {
            exact = exact && shown == background;
            received++;
        }
    }
    Image shown(format);
    report.expect(order && received == 40, "lookahead holds back as many pictures as it was asked to");
    report.expect(machine.inpainter.receive(true, shown.view()) == CLV_EMPTY, "an empty inpainter says so");
    report.expect(exact, "lookahead shows background before it is revealed, from the first picture on");
    report.expect(machine.stats().paintings == 0, "lookahead saves the painter work");
}

void lookahead_takes_no_more_than_it_has_room_for(Report &report) {
    const auto format = format_of(64, 48);
    const Image background = Waves(9).show(format, 0, 0);
    Machine machine(format, options_of(2));
    for (int i = 0; i < 3; i++)
        report.expect(machine.inpainter.submit(background.view(), nullptr),
                      "lookahead + 1 pictures may wait");
    report.expect(!machine.inpainter.submit(background.view(), nullptr), "one more is refused");
    report.expect(machine.inpainter.pending() == 3, "and was not taken");
}

void masks_of_other_sizes_are_stretched(Report &report) {
    const auto format = format_of(320, 180);
    Machine small(format, options_of());
    Machine full(format, options_of());
    bool same = true;
    for (int time = 0; time < 6; time++) {
        Image picture = Waves(4).show(format, time, 0);
        Mask coarse(80, 45);
        coarse.box(20 + time, 10, 40 + time, 30);
        Mask fine(320, 180);
        fine.box(4 * (20 + time), 40, 4 * (40 + time), 120);
        cover(picture, fine, 1);
        same = same && small.run(picture, &coarse) == full.run(picture, &fine);
    }
    report.expect(same, "a mask of another size is stretched over the picture");
}

void masks_that_cover_everything(Report &report) {
    const auto format = format_of(160, 90);
    Mask all(format.width, format.height);
    all.box(0, 0, format.width, format.height);
    const Image background = Waves(4).show(format, 0, 0);
    Image noise = background;
    cover(noise, all, 3);
    {
        Machine machine(format, options_of());
        const Image shown = machine.run(noise, &all);
        bool grey = true;
        for (int plane = 0; plane < 3; plane++)
            grey = grey && shown.get(plane, 20, 20) == 128;
        report.expect(grey, "with nothing to go by, the hole is middle grey");
        machine.run(noise, &all);
        report.expect(machine.sentences.size() == 1, "a mask that covers everything is remarked upon once");
        machine.run(background, nullptr);
        report.expect(machine.run(noise, &all) == background, "and then what was seen in between is shown");
    }
    Machine machine(format, options_of());
    machine.run(background, nullptr);
    report.expect(machine.run(noise, &all) == background,
                  "with history, a picture covered whole is history's");
}

void pictures_without_texture_go_on(Report &report) {
    const auto format = format_of(320, 180);
    Machine machine(format, options_of());
    Image flat(format);
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < (plane ? 90 : 180); y++)
            for (int x = 0; x < (plane ? 160 : 320); x++)
                flat.set(plane, x, y, 90 + plane);
    bool exact = true;
    for (int time = 0; time < 10; time++) {
        Image picture = flat;
        const Mask mask = walker(format, time);
        cover(picture, mask, static_cast<uint32_t>(time));
        exact = exact && machine.run(picture, &mask) == flat;
    }
    report.expect(exact, "a picture without texture is filled with its colour");
}

void any_size_works(Report &report) {
    for (const auto &[width, height] :
         {std::pair{1, 1}, {2, 1}, {1, 7}, {3, 5}, {17, 33}, {64, 2}, {40, 35}}) {
        for (const int lookahead : {0, 2}) {
            const auto format = format_of(width, height, 10, true);
            Machine machine(format, options_of(lookahead));
            bool fine = true;
            for (int time = 0; time < 6; time++) {
                const Image picture = Waves(4).show(format, time, 0);
                Mask mask(width, height);
                mask.box(time % 3 - 1, 0, width - time, height);
                const clv_mask view = mask.view();
                Image shown(format);
                fine = fine && machine.inpainter.submit(picture.view(), &view);
                machine.inpainter.receive(false, shown.view());
                fine = fine && shown.guards_intact();
            }
            report.expect(fine, "pictures of any size go through: " + name_of(format));
        }
    }
}

void results_do_not_depend_on_threads(Report &report) {
    const auto format = format_of(322, 182);
    std::vector<Image> first;
    for (const int threads : {1, 2, 3, 4}) {
        Machine machine(format, options_of(), nullptr, threads);
        bool same = true;
        for (int time = 0; time < 12; time++) {
            Image picture = Waves(8).show(format, 2.3 * time, std::sin(time), 1 - 0.01 * time);
            const Mask mask = walker(format, time);
            cover(picture, mask, static_cast<uint32_t>(time));
            Image shown = machine.run(picture, &mask);
            if (threads == 1)
                first.push_back(std::move(shown));
            else
                same = same && shown == first[static_cast<size_t>(time)];
        }
        report.expect(same, "results are the same with " + std::to_string(threads) + " threads as with one");
    }
}

/// Fails when told to.
class Fickle final : public Painter {
public:
    explicit Fickle(int bit_depth) : diffusion_(bit_depth) {}
    void paint(const pixels::Picture &picture, int width, int height, const uint8_t *hole,
               ptrdiff_t hole_stride) override {
        calls++;
        if (fails)
            throw std::runtime_error("no paint");
        diffusion_.paint(picture, width, height, hole, hole_stride);
    }
    bool fails = false;
    int calls = 0;

private:
    Diffusion diffusion_;
};

void a_painter_that_fails_is_survived(Report &report) {
    const auto format = format_of(320, 180);
    Fickle painter(8);
    Machine machine(format, options_of(), &painter);
    const Image background = Waves(8).show(format, 0, 0);
    Mask mask(format.width, format.height);
    mask.box(120, 50, 200, 130);
    painter.fails = true;
    bool thrown = false;
    try {
        machine.run(background, &mask);
    } catch (const std::runtime_error &error) {
        thrown = std::string(error.what()) == "no paint";
    }
    report.expect(thrown && machine.inpainter.pending() == 0,
                  "a painter's failure comes through, and the picture is gone");
    painter.fails = false;
    machine.run(background, &mask);
    machine.run(background, &mask);
    report.expect(painter.calls == 2, "the next picture is painted, and its painting kept");
    report.expect(machine.run(background, nullptr) == background,
                  "an inpainter goes on after its painter failed");
    report.expect(machine.run(background, &mask) == background, "and remembers");
}

void real_background_replaces_paintings(Report &report) {
    const auto format = format_of(320, 180);
    Machine machine(format, options_of());
    const Image background = Waves(8).show(format, 0, 0);
    Mask left(format.width, format.height);
    left.box(60, 50, 160, 130);
    Mask right(format.width, format.height);
    right.box(190, 50, 260, 130);
    machine.run(background, &left);
    report.expect(machine.stats().remembered == 0, "at first all is painted");
    machine.run(background, &right);
    report.expect(machine.run(background, &left) == background,
                  "what was painted is replaced once it was seen");
}

void flickering_masks_do_not_teach_the_object(Report &report) {
    const auto format = format_of(320, 180);
    Machine machine(format, options_of());
    const Image background = Waves(8).show(format, 0, 0);
    Mask mask(format.width, format.height);
    mask.box(120, 50, 200, 130);
    machine.run(background, nullptr);
    bool exact = true;
    for (int time = 0; time < 20; time++) {
        Image picture = background;
        cover(picture, mask, 77);
        const bool lost = time % 7 == 4 || time % 7 == 5;
        const Image shown = machine.run(picture, lost ? nullptr : &mask);
        exact = exact && (lost || shown == background);
    }
    report.expect(exact, "a mask that is lost for two pictures does not make the object background");
}

void overlays_are_drawn(Report &report) {
    const auto format = format_of(322, 181, 10, true);
    for (const auto show : {CLV_SHOW_MASK, CLV_SHOW_MESH, CLV_SHOW_TRACKS, CLV_SHOW_AGE}) {
        InpainterOptions options = options_of();
        options.show = show;
        Machine machine(format, options);
        Machine plain(format, options_of());
        bool guards = true;
        bool differs = false;
        for (int time = 0; time < 4; time++) {
            Image picture = Waves(8).show(format, 2.5 * time, time);
            const Mask mask = walker(format, time);
            const Image shown = machine.run(picture, &mask);
            guards = guards && shown.guards_intact();
            differs = !(shown == plain.run(picture, &mask));
        }
        report.expect(guards && differs, "overlay " + std::to_string(show) + " is drawn, within the picture");
    }
}

} // namespace
} // namespace clv::mesh::test

int main() {
    using namespace clv::mesh::test;
    Report report;
    for (const int depth : {8, 10})
        for (const bool semi_planar : {false, true})
            fixed_camera_gives_the_background_back_exactly(report, format_of(320, 180, depth, semi_planar),
                                                           false);
    fixed_camera_gives_the_background_back_exactly(report, format_of(321, 179), true);
    fixed_camera_gives_the_background_back_exactly(report, format_of(319, 181, 10, true), true);
    pictures_without_a_hole_pass_and_are_learnt_from(report);
    the_rest_of_the_picture_is_not_touched(report);
    many_slots_are_gathered_without_loss_on_a_fixed_camera(report);
    fades_are_followed(report);
    cuts_empty_the_memory(report);
    lookahead_reveals_background_for_earlier_pictures(report);
    lookahead_takes_no_more_than_it_has_room_for(report);
    masks_of_other_sizes_are_stretched(report);
    masks_that_cover_everything(report);
    pictures_without_texture_go_on(report);
    any_size_works(report);
    results_do_not_depend_on_threads(report);
    a_painter_that_fails_is_survived(report);
    real_background_replaces_paintings(report);
    flickering_masks_do_not_teach_the_object(report);
    overlays_are_drawn(report);
    long_occlusion_stays_sharp(report);
    return report.finish();
}
