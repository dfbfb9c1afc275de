// SPDX-License-Identifier: BSD-2-Clause
// Says which engine the backend would take: find_engine WANTED.json FOLDER...
// With "part": true in it, prints the largest part of the input that an engine takes, "HEIGHT WIDTH" or "0
// 0". Else prints "precision path" and exits with 0, or the sentence of the refusal, with its status, and
// exits with 1.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "backends/tensorrt/engine_files.h"

int main(int argc, char **argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: find_engine WANTED.json FOLDER...\n");
        return 2;
    }
    try {
        std::ifstream stream(argv[1]);
        const auto json = nlohmann::json::parse(stream);
        const auto &device = json.at("device");
        clv::tensorrt::Wanted wanted;
        wanted.model = json.at("model");
        wanted.onnx = json.at("onnx").get<std::map<std::string, std::string>>();
        wanted.input = {json.at("input")[0], json.at("input")[1], json.at("input")[2]};
        wanted.samples = json.value("samples", 1);
        wanted.precision = static_cast<clv_precision>(json.at("precision").get<int>());
        wanted.runtime = json.at("runtime");
        wanted.version = json.at("version");
        wanted.lean = json.value("lean", false);
        wanted.sharpness = json.value("sharpness", 0.0F);
        wanted.device = {device.at("sm"),         device.at("name"),      device.at("multiprocessors"),
                         device.at("memory_mib"), device.at("bus_width"), device.at("l2_bytes")};
        const std::vector<std::filesystem::path> folders(argv + 2, argv + argc);
        if (json.value("part", false)) {
            const auto part = clv::tensorrt::largest_part(wanted, folders).value_or(clv::TensorShape());
            std::printf("%lld %lld\n", static_cast<long long>(part.height),
                        static_cast<long long>(part.width));
            return 0;
        }
        const auto found = clv::tensorrt::find_engine(wanted, folders);
        std::printf("%d %s\n", static_cast<int>(found.precision), found.path.c_str());
        return 0;
    } catch (const clv::Error &error) {
        std::printf("%d %s\n", error.status(), error.what());
    } catch (const std::exception &error) {
        std::printf("?? %s\n", error.what());
    }
    return 1;
}
