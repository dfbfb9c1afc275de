// SPDX-License-Identifier: BSD-2-Clause
// What the C ABI promises of colour conversion: there and back, and a sentence for what cannot be.
#include <cmath>

#include "core/tests/core_test.h"

using namespace core_test; // NOLINT(google-build-using-namespace): it is made for this

namespace {

struct Converter {
    Converter(Host &host, const clv_format &format, clv_dither dither = CLV_DITHER_NONE)
        : status(clv_rgb_converter_create(host.context, &format, dither, &converter)) {}
    ~Converter() { clv_rgb_converter_destroy(&converter); }
    Converter(const Converter &) = delete;
    Converter &operator=(const Converter &) = delete;
    clv_rgb_converter *converter = nullptr;
    int status;
};

void grey_goes_there_and_back(const Folder &) {
    constexpr int width = 13, height = 7;
    Host host;
    clv_format format = yuv420p(width, height);
    format.matrix = CLV_MATRIX_BT709;
    const Converter one(host, format);
    EXPECT(one.status == CLV_OK);
    Planes picture(width, height), back(width, height);
    for (size_t i = 0; i < picture.data.size(); i++)
        picture.data[i] = i < size_t{width} * height ? 126 : 128;
    std::vector<float> rgb(3 * width * height, -9.0F);
    const clv_picture from = picture.view(), to = back.view();
    EXPECT(clv_rgb_from_picture(one.converter, &from, rgb.data()) == CLV_OK);
    for (const float value : rgb)
        EXPECT(std::abs(value - (126.0F - 16.0F) / 219.0F) < 1e-5F);
    EXPECT(clv_rgb_to_picture(one.converter, rgb.data(), &to) == CLV_OK);
    EXPECT(back.data == picture.data);
}

void what_cannot_be_gets_a_sentence(const Folder &) {
    Host host;
    clv_format none = yuv420p(0, 8), device = yuv420p(8, 8);
    device.memory = CLV_MEMORY_CUDA;
    EXPECT(Converter(host, none).status == CLV_ERR_INVALID_ARGUMENT);
    EXPECT(Converter(host, device).status == CLV_ERR_UNSUPPORTED);
    EXPECT_SAYS(host.error(), "host memory only");
    EXPECT(clv_rgb_converter_create(nullptr, &device, CLV_DITHER_NONE, nullptr) == CLV_ERR_INVALID_ARGUMENT);
    EXPECT(clv_rgb_converter_create(host.context, &device, CLV_DITHER_NONE, nullptr) ==
           CLV_ERR_INVALID_ARGUMENT);
    const Converter one(host, yuv420p(8, 8), CLV_DITHER_ORDERED);
    EXPECT(one.status == CLV_OK);
    std::vector<float> rgb(3 * 8 * 8);
    clv_picture missing = {};
    EXPECT(clv_rgb_from_picture(one.converter, &missing, rgb.data()) == CLV_ERR_INVALID_ARGUMENT);
    EXPECT_SAYS(host.error(), "plane 0 is NULL");
    Planes picture(8, 8);
    const clv_picture view = picture.view();
    EXPECT(clv_rgb_to_picture(one.converter, nullptr, &view) == CLV_ERR_INVALID_ARGUMENT);
    EXPECT_SAYS(host.error(), "rgb is NULL");
    EXPECT(clv_rgb_to_picture(nullptr, rgb.data(), &view) == CLV_ERR_INVALID_ARGUMENT);
    clv_rgb_converter_destroy(nullptr);
}

} // namespace

int main() {
    const Folder folder;
    int passed = 0, failed = 0;
    RUN(grey_goes_there_and_back);
    RUN(what_cannot_be_gets_a_sentence);
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
