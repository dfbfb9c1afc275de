// SPDX-License-Identifier: BSD-2-Clause
//
// What the checks of nets on a device share: pictures there whose every byte around the planes is watched,
// bundles, and what two pictures differ by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "cuda/driver.h"
#include "cuda/tests/device.h"
#include "pixels/tests/harness.h"

namespace clv::cuda::test {

using pixels::PictureFormat;
using pixels::test::Random;
using pixels::test::Report;
using pixels::test::RowLayout;
using pixels::test::TestPicture;

/// Planes with strides forward and addresses that are multiples of a sample, otherwise anything.
std::vector<RowLayout> device_layouts(const PictureFormat &format, Random &random);

/// A picture's planes in device memory, bytes around the rows included.
class DevicePlanes {
public:
    DevicePlanes(const Place &place, TestPicture &picture);
    /// What is there now, into the picture. Waits.
    void fetch();

    pixels::Picture view;

private:
    std::uint8_t *first_byte(std::size_t plane);
    Place place_;
    TestPicture &picture_;
    std::vector<Buffer> memory_;
};

/// Neither noise nor flat: smooth with edges and a little noise, different at each call.
void draw(TestPicture &picture, Random &random);

/// A .safetensors file of f32 tensors of random values.
class WeightsFile {
public:
    void add(const std::string &name, const std::vector<int> &shape, Random &random, float size,
             float offset = 0);
    std::vector<std::byte> bytes() const;

private:
    nlohmann::json header_ = nlohmann::json::object();
    std::vector<float> values_;
};

/// What a bundle holds of a net.
struct Bundle {
    std::string name;
    std::string architecture;
    std::vector<std::byte> weights;

    /// In fp16, with the tensor that a picture of this format needs. The bundle has to outlive it.
    CompileRequest request(const PictureFormat &format, int scale) const;
};

/// Of the folder of models; nothing when it is not there.
std::optional<Bundle> shipped_bundle(const std::string &folder, const std::string &name);

struct Difference {
    double squares = 0; ///< of differences in units of the full range
    double largest = 0; ///< likewise
    long samples = 0;
    long different = 0;
    int codes = 0; ///< largest, in codes
    bool untouched = true;

    double psnr() const;
    void join(const Difference &other);
};
Difference compare(const TestPicture &got, const TestPicture &wanted);

/// A sum over the samples of pictures, one after the other.
inline constexpr std::uint64_t kDigestStart = 0xcbf29ce484222325ULL;
std::uint64_t digest(std::uint64_t sum, const TestPicture &picture);

/// What this program prints for --digest with another seed of the emulator, whose threads then take turns in
/// another order. A GPU has no such thing, and the same digest.
std::string digest_with_seed(const char *program, int seed);

/// The options of a check's command line, "--name value" in any order and "--digest" alone, over `defaults`.
using Options = std::map<std::string, std::string>;

/// main() of a check: `body` gets the options and the program's path. Returns 1 with the sentence of what it
/// throws.
int run_check(int argc, char **argv, const char *name, Options defaults,
              int (*body)(const Options &options, const char *program));

} // namespace clv::cuda::test
