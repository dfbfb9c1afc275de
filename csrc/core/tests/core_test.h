// SPDX-License-Identifier: BSD-2-Clause
// What the tests of core share: a count of failures, ONNX files made byte by byte, and a host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "clarivid/clarivid.h"

namespace core_test {

namespace fs = std::filesystem;

inline int failures_in_test = 0;

inline void expect(bool condition, const std::string &what, int line) {
    if (condition)
        return;
    failures_in_test++;
    std::fprintf(stderr, "  line %d: %s\n", line, what.c_str());
}
#define EXPECT(condition) expect((condition), #condition, __LINE__)
#define EXPECT_SAYS(text, part)                                                                              \
    expect((text).find(part) != std::string::npos, "\"" + (text) + "\" does not say \"" + (part) + "\"",     \
           __LINE__)

// ---- ONNX by hand: protobuf wire format
// -----------------------------------------------------------------------

inline std::string varint(uint64_t value) {
    std::string out;
    for (; value >= 0x80; value >>= 7)
        out += static_cast<char>(value | 0x80);
    return out + static_cast<char>(value);
}
inline std::string number(int field, uint64_t value) {
    return varint(static_cast<uint64_t>(field) << 3) + varint(value);
}
inline std::string body(int field, const std::string &bytes) {
    return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(bytes.size()) + bytes;
}
inline std::string tensor_value(const std::string &name, const std::vector<int> &shape) {
    std::string dims;
    for (const int dim : shape)
        dims += body(1, dim > 0 ? number(1, static_cast<uint64_t>(dim)) : body(2, "d"));
    return body(1, name) + body(2, body(1, number(1, 1) + body(2, dims)));
}
inline std::string onnx(const std::vector<int> &input,
                        const std::vector<std::pair<std::string, std::string>> &metadata = {},
                        const std::string &more_inputs = {}) {
    std::string model = number(1, 8) + body(7, body(11, tensor_value("input", input)) + more_inputs +
                                                   body(12, tensor_value("output", {-1, -1, -1, -1})));
    for (const auto &[key, value] : metadata)
        model += body(14, body(1, key) + body(2, value));
    return model;
}

inline std::span<const std::byte> as_bytes(const std::string &text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

// ---- a host
// -----------------------------------------------------------------------------------------------------

class Folder {
public:
    Folder() : path_(fs::temp_directory_path() / ("clarivid-core-test-" + std::to_string(getpid()))) {
        fs::create_directories(path_);
    }
    ~Folder() { fs::remove_all(path_); }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    std::string write(const std::string &name, const std::string &content) const {
        fs::create_directories((path_ / name).parent_path());
        std::ofstream(path_ / name, std::ios::binary) << content;
        return (path_ / name).string();
    }
    std::string path() const { return path_.string(); }

private:
    fs::path path_;
};

class Host {
public:
    Host() : context(clv_context_create(&Host::log, this)) {}
    ~Host() { clv_context_destroy(&context); }
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    std::string error() const {
        char text[2048];
        clv_last_error(context, text, sizeof(text));
        return text;
    }
    clv_context *context;
    std::string logged;

private:
    static void log(void *opaque, clv_log_level, const char *message) {
        static_cast<Host *>(opaque)->logged += std::string(message) + "\n";
    }
};

struct Planes {
    Planes(int w, int h)
        : width(w), height(h), data(static_cast<size_t>(w * h + 2 * ((w + 1) / 2) * ((h + 1) / 2))) {}
    clv_picture view() {
        const int cw = (width + 1) / 2;
        const int ch = (height + 1) / 2;
        uint8_t *u = data.data() + width * height;
        clv_picture picture = {{data.data(), u, u + cw * ch, nullptr}, {width, cw, cw, 0}};
        return picture;
    }
    int width, height;
    std::vector<uint8_t> data;
};

inline clv_format yuv420p(int width, int height) {
    clv_format format = {};
    format.width = width;
    format.height = height;
    format.pixel_format = CLV_PIXEL_YUV420P;
    return format;
}

/// An opened model and a session on it, closed in the right order.
struct Run {
    Run(Host &host, const std::string &path, const clv_format &format, const clv_session_params &params) {
        status = clv_model_open(host.context, path.c_str(), &model);
        if (status == CLV_OK)
            status = clv_session_create(host.context, model, &format, &params, &session);
    }
    ~Run() {
        clv_session_destroy(&session);
        clv_model_close(&model);
    }
    Run(const Run &) = delete;
    Run &operator=(const Run &) = delete;
    int process(const clv_picture &in, const clv_picture &out) const {
        const int submitted = clv_session_submit(session, &in, &out, nullptr);
        return submitted == CLV_OK ? clv_session_receive(session, 0, nullptr) : submitted;
    }
    clv_session_info info() const {
        clv_session_info all;
        clv_session_get_info(session, &all);
        return all;
    }
    clv_model *model = nullptr;
    clv_session *session = nullptr;
    int status = 0;
};

#define RUN(test)                                                                                            \
    do {                                                                                                     \
        core_test::failures_in_test = 0;                                                                     \
        test(folder);                                                                                        \
        std::printf("%s %s\n", core_test::failures_in_test ? "FAIL" : "ok  ", #test);                        \
        (core_test::failures_in_test ? failed : passed)++;                                                   \
    } while (0)

} // namespace core_test
