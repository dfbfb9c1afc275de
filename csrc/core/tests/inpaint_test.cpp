// SPDX-License-Identifier: BSD-2-Clause
// What core promises to hosts that make things vanish: painters and inpainters, through the C ABI and the
// dummy backend, whose paint is a ramp of luma in one tint.
#include <cmath>
#include <functional>
#include <random>

#include "core/tests/inpaint_test.h"

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

namespace {

/// A picture of any format with samples that nobody made up.
struct Picture {
    explicit Picture(const clv_format &what, unsigned seed = 1) : format(what) {
        std::mt19937 random(seed);
        const int planes = semi() ? 2 : 3;
        for (int i = 0; i < planes; i++) {
            samples[i].resize(static_cast<size_t>(columns(i) * rows(i)));
            for (auto &sample : samples[i])
                sample = static_cast<uint16_t>(deep() ? (random() % 1024) << shift() : random() % 256);
        }
    }
    bool semi() const {
        return format.pixel_format == CLV_PIXEL_NV12 || format.pixel_format == CLV_PIXEL_P010;
    }
    bool deep() const {
        return format.pixel_format == CLV_PIXEL_YUV420P10 || format.pixel_format == CLV_PIXEL_P010;
    }
    int shift() const { return format.pixel_format == CLV_PIXEL_P010 ? 6 : 0; }
    int columns(int plane) const {
        return plane == 0 ? format.width : (format.width + 1) / 2 * (semi() ? 2 : 1);
    }
    int rows(int plane) const { return plane == 0 ? format.height : (format.height + 1) / 2; }
    /// Plane 0, 1, 2 = Y, U, V whatever the format.
    int code(int plane, int x, int y) const {
        const int at = plane == 0 || !semi() ? plane : 1;
        const int column = plane == 0 || !semi() ? x : 2 * x + plane - 1;
        return samples[at][static_cast<size_t>(y * columns(at) + column)] >> shift();
    }

    /// The planes as bytes; copied back by take().
    clv_picture view() {
        clv_picture picture = {};
        for (int i = 0; i < (semi() ? 2 : 3); i++) {
            const size_t size = deep() ? 2 : 1;
            bytes[i].resize(samples[i].size() * size);
            for (size_t k = 0; k < samples[i].size(); k++) {
                bytes[i][k * size] = static_cast<uint8_t>(samples[i][k]);
                if (deep())
                    bytes[i][2 * k + 1] = static_cast<uint8_t>(samples[i][k] >> 8);
            }
            picture.data[i] = bytes[i].data();
            picture.stride[i] = columns(i) * static_cast<ptrdiff_t>(size);
        }
        return picture;
    }
    void take() {
        for (int i = 0; i < (semi() ? 2 : 3); i++)
            for (size_t k = 0; k < samples[i].size(); k++)
                samples[i][k] =
                    static_cast<uint16_t>(deep() ? bytes[i][2 * k] | bytes[i][2 * k + 1] << 8 : bytes[i][k]);
    }

    clv_format format;
    std::vector<uint16_t> samples[3];
    std::vector<uint8_t> bytes[3];
};

clv_format format_of(int width, int height, clv_pixel_format pixel_format, clv_range range) {
    clv_format format = yuv420p(width, height);
    format.pixel_format = pixel_format;
    format.range = range;
    return format;
}

int paint(Inpainter &run, Picture &picture, const Mask &mask) {
    const auto planes = picture.view();
    const auto hole = mask.view();
    const int status = clv_inpainter_paint(run.inpainter, &planes, &hole);
    picture.take();
    return status;
}

/// The code of a normalised value (docs/models.md).
int code_of(const Picture &picture, int plane, double value) {
    const int unit = picture.deep() ? 4 : 1;
    const int top = picture.deep() ? 1023 : 255;
    const bool full = picture.format.range == CLV_RANGE_FULL;
    const double span = full ? top : unit * (plane == 0 ? 219 : 224);
    const double offset = plane == 0 ? (full ? 0 : 16 * unit) + 0.5 * span : 128.0 * unit;
    return static_cast<int>(std::floor(value * span + offset + 0.5));
}

void the_painter_fills_the_hole_and_nothing_else_in_every_format(const Folder &folder) {
    const auto model = painter_bundle(folder);
    for (const auto pixel_format : {CLV_PIXEL_YUV420P, CLV_PIXEL_NV12, CLV_PIXEL_YUV420P10, CLV_PIXEL_P010})
        for (const auto range : {CLV_RANGE_UNSPECIFIED, CLV_RANGE_FULL})
            for (const auto &[width, height] : {std::pair{96, 64}, {75, 53}}) {
                Host host;
                const clv_format format = format_of(width, height, pixel_format, range);
                Inpainter run(host, model, format, dummy());
                expect(run.status == CLV_OK, host.error(), __LINE__);
                Picture picture(format), before(format);
                const auto mask = Mask(width, height).box(21, 13, 30, 20).box(width - 1, height - 1, 1, 1);
                EXPECT(paint(run, picture, mask) == CLV_OK);
                // The picture is no larger than what the net takes: one of its samples is one of ours.
                const int net_width = (width + 15) / 16 * 16;
                int wrong = 0;
                for (int y = 0; y < height; y++)
                    for (int x = 0; x < width; x++) {
                        const int ramp = code_of(picture, 0, (x + 0.5) / net_width - 0.5);
                        const int found = picture.code(0, x, y);
                        wrong += mask.at(x, y) ? std::abs(found - ramp) > 0 : found != before.code(0, x, y);
                    }
                for (int y = 0; y < (height + 1) / 2; y++)
                    for (int x = 0; x < (width + 1) / 2; x++)
                        for (const int plane : {1, 2}) {
                            const int tint = code_of(picture, plane, plane == 1 ? -0.125 : 0.125);
                            wrong += picture.code(plane, x, y) !=
                                     (mask.chroma_at(x, y) ? tint : before.code(plane, x, y));
                        }
                EXPECT(wrong == 0);
            }
}

void a_large_hole_is_seen_smaller_and_painted_at_its_size(const Folder &folder) {
    Host host;
    const clv_format format = format_of(128, 96, CLV_PIXEL_YUV420P10, CLV_RANGE_LIMITED);
    Inpainter run(host, painter_bundle(folder, 64), format, dummy());
    EXPECT_SAYS(host.logged, "paints at 64x48 for pictures of 128x96");
    Picture picture(format), before(format);
    // The hole with its margins has 96 columns: the net sees columns 16..112, each of its samples 1.5 of
    // ours.
    const auto mask = Mask(128, 96).box(32, 24, 64, 48);
    EXPECT(paint(run, picture, mask) == CLV_OK);
    int wrong = 0;
    for (int y = 0; y < 96; y++)
        for (int x = 0; x < 128; x++) {
            const double ramp = 16 * 4 + 219 * 4 * (x + 0.5 - 16) / 1.5 / 64;
            // Two of the net's samples from the border the cubic takes in what lies around the hole.
            const bool inside = mask.at(x, y) && mask.at(x - 3, y - 3) && mask.at(x + 3, y + 3);
            if (inside)
                wrong += std::abs(picture.code(0, x, y) - ramp) > 0.51;
            else if (!mask.at(x, y))
                wrong += picture.code(0, x, y) != before.code(0, x, y);
        }
    EXPECT(wrong == 0);
}

void pictures_of_any_size_and_shape_are_painted(const Folder &folder) {
    const auto model = painter_bundle(folder, 64, 32);
    for (const auto &[width, height] :
         {std::pair{1, 1}, {2, 2}, {1, 200}, {333, 1}, {3, 5}, {1000, 30}, {31, 700}, {64, 64}, {513, 511}}) {
        Host host;
        const clv_format format = format_of(width, height, CLV_PIXEL_YUV420P, CLV_RANGE_LIMITED);
        Inpainter run(host, model, format, dummy());
        expect(run.status == CLV_OK, host.error(), __LINE__);
        std::mt19937 random(static_cast<unsigned>(width * 1000 + height));
        for (int i = 0; i < 20; i++) {
            const int x = static_cast<int>(random() % static_cast<unsigned>(width));
            const int y = static_cast<int>(random() % static_cast<unsigned>(height));
            const int w = 1 + static_cast<int>(random() % static_cast<unsigned>(width - x));
            const int h = 1 + static_cast<int>(random() % static_cast<unsigned>(height - y));
            const auto mask = Mask(width, height).box(x, y, w, h);
            Picture picture(format), before(format);
            EXPECT(paint(run, picture, mask) == CLV_OK);
            int wrong = 0;
            for (int row = 0; row < height; row++)
                for (int column = 0; column < width; column++)
                    wrong +=
                        !mask.at(column, row) && picture.code(0, column, row) != before.code(0, column, row);
            EXPECT(wrong == 0);
        }
    }
}

void a_hole_that_covers_everything_becomes_grey_without_the_net(const Folder &folder) {
    for (const auto range : {CLV_RANGE_LIMITED, CLV_RANGE_FULL}) {
        Host host;
        const clv_format format = format_of(50, 40, CLV_PIXEL_NV12, range);
        Inpainter run(host, painter_bundle(folder), format, dummy("fail=1"));
        Picture picture(format);
        EXPECT(paint(run, picture, Mask(50, 40).box(0, 0, 50, 40)) == CLV_OK);
        int wrong = 0;
        for (int i = 0; i < 50 * 40; i++)
            wrong += picture.code(0, i % 50, i / 50) != (range == CLV_RANGE_FULL ? 128 : 126);
        for (int i = 0; i < 25 * 20; i++)
            wrong += picture.code(1, i % 25, i / 25) != 128 || picture.code(2, i % 25, i / 25) != 128;
        EXPECT(wrong == 0);
    }
}

void a_picture_without_a_hole_is_left_alone_without_the_net(const Folder &folder) {
    Host host;
    const clv_format format = yuv420p(50, 40);
    Inpainter run(host, painter_bundle(folder), format, dummy("fail=1"));
    Picture picture(format), before(format);
    EXPECT(paint(run, picture, Mask(50, 40)) == CLV_OK);
    EXPECT(picture.samples[0] == before.samples[0]);
}

void a_failed_painting_leaves_the_picture_and_the_painter_as_they_were(const Folder &folder) {
    Host host;
    const clv_format format = yuv420p(50, 40);
    Inpainter run(host, painter_bundle(folder), format, dummy("fail=1"));
    Picture picture(format), before(format);
    const auto mask = Mask(50, 40).box(4, 4, 8, 8);
    EXPECT(paint(run, picture, mask) == CLV_ERR_INFERENCE);
    EXPECT_SAYS(host.error(), "inference 1 failed");
    EXPECT(picture.samples[0] == before.samples[0] && picture.samples[1] == before.samples[1]);
    EXPECT(paint(run, picture, mask) == CLV_OK);
    EXPECT(picture.samples[0] != before.samples[0]);
}

void an_inpainter_without_a_net_diffuses(const Folder &) {
    Host host;
    const clv_format format = yuv420p(64, 48);
    Inpainter run(host, "", format, dummy());
    EXPECT(run.status == CLV_OK);
    EXPECT_SAYS(host.logged, "diffused from around");
    Picture picture(format), before(format);
    const auto mask = Mask(64, 48).box(20, 10, 16, 16);
    EXPECT(paint(run, picture, mask) == CLV_OK);
    int wrong = 0, changed = 0;
    for (int i = 0; i < 64 * 48; i++) {
        const bool same = picture.code(0, i % 64, i / 64) == before.code(0, i % 64, i / 64);
        wrong += !same && !mask.at(i % 64, i / 64);
        changed += !same;
    }
    EXPECT(wrong == 0);
    EXPECT(changed > 200);
}

/// Pictures that go through with the same mask; nullptr for none.
struct Stream {
    Stream(Inpainter &which, const clv_format &what, int count, const Mask *hole) : run(which), mask(hole) {
        for (int i = 0; i < count; i++) {
            inputs.emplace_back(what, static_cast<unsigned>(1));
            outputs.emplace_back(what, static_cast<unsigned>(99));
        }
    }
    int submit(size_t i) {
        const auto in = inputs[i].view(), out = outputs[i].view();
        const clv_mask hole = mask ? mask->view() : clv_mask{};
        return clv_inpainter_submit(run.inpainter, &in, mask ? &hole : nullptr, &out, &outputs[i]);
    }
    /// The index of the picture that came back, or a negative status.
    int receive(bool flush) {
        void *opaque = nullptr;
        const int status = clv_inpainter_receive(run.inpainter, flush, &opaque);
        if (status != CLV_OK)
            return status;
        auto *picture = static_cast<Picture *>(opaque);
        picture->take();
        return static_cast<int>(picture - outputs.data());
    }
    Inpainter &run;
    const Mask *mask;
    std::vector<Picture> inputs, outputs;
};

void pictures_wait_for_those_that_they_look_ahead_to(const Folder &folder) {
    const clv_format format = yuv420p(64, 48);
    for (const int lookahead : {0, 1, 5, 64}) {
        Host host;
        auto params = dummy();
        params.lookahead = lookahead;
        Inpainter run(host, painter_bundle(folder), format, params);
        const int count = lookahead + 4;
        Stream stream(run, format, count, nullptr);
        EXPECT(stream.receive(true) == CLV_EMPTY);
        int received = 0;
        for (int i = 0; i < count; i++) {
            while (stream.submit(static_cast<size_t>(i)) == CLV_AGAIN) {
                EXPECT(clv_inpainter_pending(run.inpainter) == lookahead + 1);
                EXPECT(stream.receive(false) == received++);
            }
            EXPECT(clv_inpainter_pending(run.inpainter) == i + 1 - received);
            if (i + 1 - received <= lookahead)
                EXPECT(stream.receive(false) == CLV_AGAIN);
        }
        for (; received < count; received++)
            EXPECT(stream.receive(true) == received);
        EXPECT(stream.receive(true) == CLV_EMPTY);
        clv_inpaint_stats stats;
        clv_inpainter_get_stats(run.inpainter, &stats);
        EXPECT(stats.pictures == static_cast<uint64_t>(count));
        EXPECT(stats.paintings == 0);
        for (int i = 0; i < count; i++) // nothing was to vanish
            EXPECT(stream.outputs[static_cast<size_t>(i)].samples[0] ==
                   stream.inputs[static_cast<size_t>(i)].samples[0]);
    }
}

void a_failed_inference_drops_its_picture_only(const Folder &folder) {
    Host host;
    const clv_format format = yuv420p(64, 48);
    Inpainter run(host, painter_bundle(folder), format, dummy("fail=1"));
    const auto mask = Mask(64, 48).box(20, 10, 16, 16);
    Stream stream(run, format, 3, &mask);
    EXPECT(stream.submit(0) == CLV_OK);
    void *opaque = nullptr;
    EXPECT(clv_inpainter_receive(run.inpainter, 0, &opaque) == CLV_ERR_INFERENCE);
    EXPECT(opaque == stream.outputs.data());
    EXPECT_SAYS(host.error(), "inference 1 failed");
    EXPECT(clv_inpainter_pending(run.inpainter) == 0);
    for (const int i : {1, 2}) {
        EXPECT(stream.submit(static_cast<size_t>(i)) == CLV_OK);
        EXPECT(stream.receive(false) == i);
        EXPECT(stream.outputs[static_cast<size_t>(i)].code(0, 60, 40) == stream.inputs[0].code(0, 60, 40));
        EXPECT(stream.outputs[static_cast<size_t>(i)].samples[0] != stream.inputs[0].samples[0]);
    }
}

void an_output_may_be_its_input(const Folder &folder) {
    Host host;
    const clv_format format = yuv420p(64, 48);
    const auto mask = Mask(64, 48).box(20, 10, 16, 16);
    std::vector<uint16_t> found[2];
    for (const bool same : {false, true}) {
        Inpainter run(host, painter_bundle(folder), format, dummy());
        Picture input(format), output(format, 5);
        const auto in = input.view(), out = same ? in : output.view();
        const auto hole = mask.view();
        EXPECT(clv_inpainter_submit(run.inpainter, &in, &hole, &out, nullptr) == CLV_OK);
        EXPECT(clv_inpainter_receive(run.inpainter, 0, nullptr) == CLV_OK);
        (same ? input : output).take();
        found[same] = (same ? input : output).samples[0];
    }
    EXPECT(found[0] == found[1]);
}

void reset_forgets_pictures_and_statistics(const Folder &folder) {
    Host host;
    const clv_format format = yuv420p(64, 48);
    auto params = dummy();
    params.lookahead = 2;
    Inpainter run(host, painter_bundle(folder), format, params);
    const auto mask = Mask(64, 48).box(20, 10, 16, 16);
    Stream first(run, format, 2, &mask), second(run, format, 1, &mask);
    EXPECT(first.submit(0) == CLV_OK);
    EXPECT(first.submit(1) == CLV_OK);
    EXPECT(first.receive(true) == 0);
    EXPECT(clv_inpainter_reset(run.inpainter) == CLV_OK);
    EXPECT(clv_inpainter_pending(run.inpainter) == 0);
    EXPECT(first.receive(true) == CLV_EMPTY);
    clv_inpaint_stats stats;
    clv_inpainter_get_stats(run.inpainter, &stats);
    EXPECT(stats.pictures == 0 && stats.paintings == 0);
    EXPECT(second.submit(0) == CLV_OK);
    EXPECT(second.receive(true) == 0);
    EXPECT(second.outputs[0].samples[0] == first.outputs[0].samples[0]);
}

void bad_options_of_an_inpainter_get_one_sentence_each(const Folder &folder) {
    struct Case {
        std::function<void(clv_format &, clv_inpaint_params &)> change;
        int status;
        std::string says;
    };
    const Case cases[] = {
        {[](auto &, auto &p) { p.mesh_columns = 0; }, CLV_ERR_INVALID_ARGUMENT,
         "mesh=0x9 is not in 1x1..32x18"},
        {[](auto &, auto &p) { p.mesh_columns = 33; }, CLV_ERR_INVALID_ARGUMENT, "mesh=33x9"},
        {[](auto &, auto &p) { p.mesh_rows = 19; }, CLV_ERR_INVALID_ARGUMENT, "mesh=16x19"},
        {[](auto &, auto &p) { p.lookahead = 65; }, CLV_ERR_INVALID_ARGUMENT, "lookahead=65 is not in 0..64"},
        {[](auto &, auto &p) { p.dilate = -1; }, CLV_ERR_INVALID_ARGUMENT, "dilate=-1"},
        {[](auto &, auto &p) { p.feather = 65; }, CLV_ERR_INVALID_ARGUMENT, "feather=65"},
        {[](auto &, auto &p) { p.show = static_cast<clv_inpaint_show>(5); }, CLV_ERR_INVALID_ARGUMENT,
         "show=5"},
        {[](auto &, auto &p) { p.threads = 2000; }, CLV_ERR_INVALID_ARGUMENT, "threads=2000"},
        {[](auto &, auto &p) { p.precision = static_cast<clv_precision>(9); }, CLV_ERR_INVALID_ARGUMENT,
         "precision=9"},
        {[](auto &, auto &p) { p.precision = CLV_PRECISION_BF16; }, CLV_ERR_UNSUPPORTED, "fp32 only"},
        {[](auto &, auto &p) { p.backend = "nonsense"; }, CLV_ERR_NOT_FOUND, "one of auto"},
        {[](auto &, auto &p) { p.device = "nonsense"; }, CLV_ERR_UNSUPPORTED, "no device"},
        {[](auto &, auto &p) { p.struct_size = 0; }, CLV_ERR_INVALID_ARGUMENT, "CLV_INPAINT_PARAMS_DEFAULTS"},
        {[](auto &f, auto &) { f.width = 0; }, CLV_ERR_INVALID_ARGUMENT, "width=0"},
        {[](auto &f, auto &) { f.memory = CLV_MEMORY_CUDA; }, CLV_ERR_INVALID_ARGUMENT,
         "params.cuda is NULL"},
    };
    const auto model = painter_bundle(folder);
    for (const auto &item : cases) {
        Host host;
        auto format = yuv420p(64, 48);
        auto params = dummy();
        item.change(format, params);
        const Inpainter run(host, model, format, params);
        expect(run.status == item.status, std::string(clv_status_name(run.status)) + ": " + host.error(),
               __LINE__);
        EXPECT_SAYS(host.error(), item.says);
        EXPECT(run.inpainter == nullptr);
    }
}

void a_host_that_knows_fewer_options_gets_the_others_defaults(const Folder &folder) {
    Host host;
    auto params = dummy();
    params.dilate = 1000;
    params.show = static_cast<clv_inpaint_show>(77);
    params.struct_size = offsetof(clv_inpaint_params, dilate);
    const Inpainter run(host, painter_bundle(folder), yuv420p(64, 48), params);
    expect(run.status == CLV_OK, host.error(), __LINE__);
    EXPECT_SAYS(host.logged, "dilate 4, feather 4");
}

void models_for_other_tasks_are_refused_by_name(const Folder &folder) {
    Host host;
    const clv_format format = yuv420p(64, 48);
    const auto params = dummy();
    const auto sr = folder.write("sr.onnx", onnx({1, 6, -1, -1}, {{"clarivid.task", "sr"}}));
    const auto anonymous = folder.write("anonymous.onnx", onnx({1, 3, -1, -1}));
    const Inpainter wrong(host, sr, format, params);
    EXPECT(wrong.status == CLV_ERR_UNSUPPORTED);
    EXPECT_SAYS(host.error(), "model sr is for the task \"sr\", but inpainting needs one for \"inpaint\"");
    const Inpainter unknown(host, anonymous, format, params);
    EXPECT(unknown.status == CLV_ERR_UNSUPPORTED);
    EXPECT_SAYS(host.error(), "model anonymous names no task");
    clv_model *model = nullptr;
    clv_inpainter *inpainter = nullptr;
    EXPECT(clv_model_open(host.context, sr.c_str(), &model) == CLV_OK);
    EXPECT(clv_inpainter_create(host.context, nullptr, model, &format, &params, &inpainter) ==
           CLV_ERR_UNSUPPORTED);
    EXPECT_SAYS(host.error(), "but segment needs one for \"segment\"");
    clv_model_close(&model);
}

void a_session_refuses_models_of_other_calls(const Folder &folder) {
    const std::pair<std::string, std::string> cases[] = {
        {painter_bundle(folder), "mesh_inpaint (model=paint0_16), clarivid.Inpainter"},
        {folder.write("bare.onnx", onnx({1, 7, -1, -1})), "is for the task \"inpaint\", which needs a mask"},
        {folder.write("person.onnx", onnx({1, 3, 144, 256}, {{"clarivid.task", "segment"}})),
         "mesh_inpaint (segment=person)"},
    };
    for (const auto &[path, says] : cases) {
        Host host;
        clv_model *model = nullptr;
        EXPECT(clv_model_open(host.context, path.c_str(), &model) == CLV_OK);
        const clv_format format = yuv420p(64, 48);
        clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
        params.backend = "dummy";
        clv_session *session = nullptr;
        EXPECT(clv_session_create(host.context, model, &format, &params, &session) == CLV_ERR_UNSUPPORTED);
        EXPECT_SAYS(host.error(), says);
        EXPECT(session == nullptr);
        clv_model_close(&model);
    }
}

void cards_that_mix_tasks_and_layouts_are_refused(const Folder &folder) {
    const std::string net = onnx({1, 6, -1, -1});
    const auto card = [&](const std::string &name, const std::string &task, const std::string &layout,
                          const std::string &input = "") {
        folder.write(name + "/model.onnx", net);
        folder.write(name + "/card.json",
                     R"({"schema":1,"name":"x","task":")" + task + R"(","layout":")" + layout +
                         R"(","scale":1,"normalisation":"ycbcr_unit_centred","input":{)" + input +
                         R"(},"files":{"model.onnx":{"sha256":")" + clv::sha256_hex(as_bytes(net)) + "\"}}}");
        return folder.path() + "/" + name;
    };
    const std::pair<std::string, std::string> cases[] = {
        {card("unmasked", "inpaint", "yuv420_s2d"), "lacks the layout yuv420_s2d_mask"},
        {card("six", "inpaint", "yuv420_s2d_mask"), "its layout needs 7 channels"},
        {card("segment", "segment", "yuv420_s2d"), "lacks the layout rgb"},
        {card("size", "inpaint", "yuv420_s2d_mask", "\"best_size\":9"), "\"input.best_size\" is 9"},
        {folder.write("mask_sr.onnx", onnx({1, 7, -1, -1}, {{"clarivid.task", "sr"}})),
         "has the layout yuv420_s2d_mask, but is for the task \"sr\""},
    };
    for (const auto &[path, says] : cases) {
        Host host;
        clv_model *model = nullptr;
        EXPECT(clv_model_open(host.context, path.c_str(), &model) == CLV_ERR_INVALID_MODEL);
        EXPECT_SAYS(host.error(), says);
        EXPECT(model == nullptr);
    }
}

void bad_planes_and_masks_are_refused_before_anything_is_read(const Folder &folder) {
    struct Case {
        std::function<void(clv_picture &, clv_mask &, clv_picture &)> change;
        std::string says;
    };
    const Case cases[] = {
        {[](auto &in, auto &, auto &) { in.stride[1] = 3; }, "input plane 1 has a stride of 3"},
        {[](auto &, auto &, auto &out) { out.data[2] = nullptr; }, "output plane 2 is NULL"},
        {[](auto &, auto &mask, auto &) { mask.data = nullptr; }, "the mask's data are NULL"},
        {[](auto &, auto &mask, auto &) { mask.width = 0; }, "the mask's width=0"},
        {[](auto &, auto &mask, auto &) { mask.height = 40000; }, "the mask's height=40000"},
        {[](auto &, auto &mask, auto &) { mask.stride = -63; }, "the mask has a stride of -63"},
    };
    Host host;
    const clv_format format = yuv420p(64, 48);
    Inpainter run(host, painter_bundle(folder), format, dummy());
    const auto mask = Mask(64, 48).box(0, 0, 8, 8);
    for (const auto &item : cases) {
        Picture input(format), output(format);
        auto in = input.view(), out = output.view();
        auto hole = mask.view();
        item.change(in, hole, out);
        EXPECT(clv_inpainter_submit(run.inpainter, &in, &hole, &out, nullptr) == CLV_ERR_INVALID_ARGUMENT);
        EXPECT_SAYS(host.error(), item.says);
        EXPECT(clv_inpainter_pending(run.inpainter) == 0);
    }
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(the_painter_fills_the_hole_and_nothing_else_in_every_format);
    RUN(a_large_hole_is_seen_smaller_and_painted_at_its_size);
    RUN(pictures_of_any_size_and_shape_are_painted);
    RUN(a_hole_that_covers_everything_becomes_grey_without_the_net);
    RUN(a_picture_without_a_hole_is_left_alone_without_the_net);
    RUN(a_failed_painting_leaves_the_picture_and_the_painter_as_they_were);
    RUN(an_inpainter_without_a_net_diffuses);
    RUN(pictures_wait_for_those_that_they_look_ahead_to);
    RUN(a_failed_inference_drops_its_picture_only);
    RUN(an_output_may_be_its_input);
    RUN(reset_forgets_pictures_and_statistics);
    RUN(bad_options_of_an_inpainter_get_one_sentence_each);
    RUN(a_host_that_knows_fewer_options_gets_the_others_defaults);
    RUN(models_for_other_tasks_are_refused_by_name);
    RUN(a_session_refuses_models_of_other_calls);
    RUN(cards_that_mix_tasks_and_layouts_are_refused);
    RUN(bad_planes_and_masks_are_refused_before_anything_is_read);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
