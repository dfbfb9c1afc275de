// SPDX-License-Identifier: BSD-2-Clause
// What the tests of inpainters share: a bundle for the dummy backend, an inpainter on it, and masks.
#pragma once

#include <string>
#include <vector>

#include "core/sha256.h"
#include "core/tests/core_test.h"

namespace core_test {

/// A bundle of the task "inpaint"; best_size 0 leaves it out.
inline std::string painter_bundle(const Folder &folder, int best_size = 0, int multiple_of = 16) {
    const std::string name = "paint" + std::to_string(best_size) + "_" + std::to_string(multiple_of);
    const std::string net = onnx({-1, 7, -1, -1});
    folder.write(name + "/model.onnx", net);
    folder.write(name + "/card.json",
                 R"({"schema":1,"name":")" + name +
                     R"(","task":"inpaint","layout":"yuv420_s2d_mask","scale":1,)"
                     R"("normalisation":"ycbcr_unit_centred","files":{"model.onnx":{"sha256":")" +
                     clv::sha256_hex(as_bytes(net)) + R"("}},"input":{"multiple_of":)" +
                     std::to_string(multiple_of) +
                     (best_size ? R"(,"best_size":)" + std::to_string(best_size) : "") + "}}");
    return folder.path() + "/" + name;
}

inline clv_inpaint_params dummy(const char *device = "") {
    clv_inpaint_params params = CLV_INPAINT_PARAMS_DEFAULTS;
    params.backend = "dummy";
    params.device = device;
    params.threads = 2;
    return params;
}

struct Inpainter {
    Inpainter(Host &host, const std::string &model, const clv_format &format,
              const clv_inpaint_params &params) {
        status = model.empty() ? 0 : clv_model_open(host.context, model.c_str(), &net);
        if (status == CLV_OK)
            status = clv_inpainter_create(host.context, net, nullptr, &format, &params, &inpainter);
        clv_model_close(&net); // an inpainter keeps what it needs
    }
    ~Inpainter() { clv_inpainter_destroy(&inpainter); }
    Inpainter(const Inpainter &) = delete;
    Inpainter &operator=(const Inpainter &) = delete;
    clv_model *net = nullptr;
    clv_inpainter *inpainter = nullptr;
    int status = 0;
};

struct Mask {
    Mask(int w, int h) : width(w), height(h), data(static_cast<size_t>(w * h)) {}
    Mask &box(int x, int y, int w, int h) {
        for (int row = y; row < y + h; row++)
            for (int column = x; column < x + w; column++)
                data[static_cast<size_t>(row * width + column)] = 128;
        return *this;
    }
    bool at(int x, int y) const {
        return x < width && y < height && data[static_cast<size_t>(y * width + x)] >= 128;
    }
    bool chroma_at(int x, int y) const {
        return at(2 * x, 2 * y) || at(2 * x + 1, 2 * y) || at(2 * x, 2 * y + 1) || at(2 * x + 1, 2 * y + 1);
    }
    clv_mask view() const { return {data.data(), width, width, height, CLV_MEMORY_HOST}; }
    int width, height;
    std::vector<uint8_t> data;
};

} // namespace core_test
