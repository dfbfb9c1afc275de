// SPDX-License-Identifier: BSD-2-Clause
// What checks on a device begin with: a context on the first one, and a command line with a seed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "core/error.h"
#include "cuda/driver.h"

namespace clv::cuda::test {

/// The first device's primary context.
class Device {
public:
    Device() {
        check(driver().cuDeviceGet(&device_, 0), "find a device");
        CUcontext context = nullptr;
        check(driver().cuDevicePrimaryCtxRetain(&context, device_), "make a context");
        place_ = {context, nullptr, std::make_shared<Counters>()};
    }
    ~Device() { driver().cuDevicePrimaryCtxRelease(device_); }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;
    const Place &place() const { return place_; }

private:
    CUdevice device_ = 0;
    Place place_;
};

/// main() of a check of random rounds, "[--seed N] [--rounds N]": `body` gets the place, the seed of the
/// first round and how many rounds there are, and returns what main() does. Without --seed it is another one
/// each time, and printed.
template <class Body>
int run_rounds(int argc, char **argv, const char *name, int rounds, Body &&body) {
    std::uint64_t seed = std::random_device()();
    for (int i = 1; i < argc; i++) {
        const std::string option = argv[i];
        if (option == "--seed" && i + 1 < argc) {
            seed = std::strtoull(argv[++i], nullptr, 0);
        } else if (option == "--rounds" && i + 1 < argc) {
            rounds = std::atoi(argv[++i]);
        } else {
            std::fprintf(stderr, "usage: %s [--seed N] [--rounds N]\n", name);
            return 2;
        }
    }
    try {
        const Device device;
        std::printf("seed %llu, device %s\n", static_cast<unsigned long long>(seed),
                    device_info(device.place()).name.c_str());
        return body(device.place(), seed, rounds);
    } catch (const Error &error) {
        std::fprintf(stderr, "%s: %s\n", name, error.what());
        return EXIT_FAILURE;
    }
}

} // namespace clv::cuda::test
