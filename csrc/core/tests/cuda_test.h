// SPDX-License-Identifier: BSD-2-Clause
// What the tests of core on a device share: contexts, streams and pictures there, and the same on the host.
#pragma once

#include <array>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <random>
#include <vector>

#include "core/picture.h"
#include "core/tests/core_test.h"
#include "cuda/driver.h"

namespace core_test {

/// The first device's primary context, or one more beside it, and a stream.
class Device {
public:
    explicit Device(bool primary = true) : primary_(primary) {
        const auto &api = clv::cuda::driver();
        clv::cuda::check(api.cuDeviceGet(&device_, 0), "find the first GPU");
        if (primary)
            clv::cuda::check(api.cuDevicePrimaryCtxRetain(&context_, device_), "open the first GPU");
        else
            create();
        place_.context = context_;
        place_.counters = std::make_shared<clv::cuda::Counters>();
        stream_ = clv::cuda::Stream(place_);
        place_.stream = stream_.get();
    }
    ~Device() {
        stream_ = {};
        if (primary_)
            clv::cuda::driver().cuDevicePrimaryCtxRelease(device_);
    }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    const clv::cuda::Place &place() const { return place_; }
    clv_cuda_device handles() const { return {place_.context, place_.stream}; }
    /// Another stream of the same context, of which it stays.
    clv_cuda_device another_stream() {
        more_.emplace_back(place_);
        return {place_.context, more_.back().get()};
    }
    void wait() const { wait(handles()); }
    void wait(const clv_cuda_device &device) const {
        const clv::cuda::Current current(place_);
        clv::cuda::check(clv::cuda::driver().cuStreamSynchronize(static_cast<CUstream>(device.stream)),
                         "wait for a stream");
    }

private:
    /// As FFmpeg does; never destroyed, for pictures of it may outlive this.
    void create();

    const bool primary_;
    CUdevice device_ = 0;
    CUcontext context_ = nullptr;
    clv::cuda::Place place_;
    clv::cuda::Stream stream_;
    std::vector<clv::cuda::Stream> more_;
};

/// The planes of a picture in host memory, without gaps.
struct HostPicture {
    explicit HostPicture(const clv_format &look) : format(look) {
        format.memory = CLV_MEMORY_HOST;
        for (int i = 0; i < clv::plane_count(format); i++)
            planes[static_cast<size_t>(i)].resize(
                static_cast<size_t>(clv::row_bytes(format, i) * clv::plane_rows(format, i)));
    }
    clv_picture view() {
        clv_picture picture = {};
        for (int i = 0; i < clv::plane_count(format); i++) {
            picture.data[i] = planes[static_cast<size_t>(i)].data();
            picture.stride[i] = clv::row_bytes(format, i);
        }
        return picture;
    }
    /// Codes of the format's depth, anywhere in its range.
    void randomise(unsigned seed) {
        std::mt19937 random(seed);
        for (auto &plane : planes) {
            for (auto &byte : plane)
                byte = static_cast<uint8_t>(random());
            if (format.pixel_format != CLV_PIXEL_YUV420P10 && format.pixel_format != CLV_PIXEL_P010)
                continue;
            for (size_t i = 0; i < plane.size(); i += 2) {
                uint16_t sample;
                std::memcpy(&sample, &plane[i], 2);
                sample = format.pixel_format == CLV_PIXEL_P010 ? sample & 0xffc0 : sample & 0x3ff;
                std::memcpy(&plane[i], &sample, 2);
            }
        }
    }
    clv_format format;
    std::array<std::vector<uint8_t>, 3> planes;
};

/// The same in device memory, with some bytes between the rows.
class DevicePicture {
public:
    DevicePicture(const Device &device, const clv_format &look, size_t gap = 34)
        : device_(device), format_(look) {
        for (int i = 0; i < clv::plane_count(format_); i++) {
            const size_t pitch = static_cast<size_t>(clv::row_bytes(format_, i)) + gap;
            pitch_[static_cast<size_t>(i)] = pitch;
            planes_[static_cast<size_t>(i)] =
                clv::cuda::Buffer(device.place(), pitch * static_cast<size_t>(clv::plane_rows(format_, i)));
        }
    }
    clv_picture view() const {
        clv_picture picture = {};
        for (size_t i = 0; i < 3; i++) {
            picture.data[i] = planes_[i].get();
            picture.stride[i] = static_cast<ptrdiff_t>(pitch_[i]);
        }
        return picture;
    }
    void upload(HostPicture &from) {
        for (int i = 0; i < clv::plane_count(format_); i++) {
            const auto at = static_cast<size_t>(i);
            const auto row = static_cast<size_t>(clv::row_bytes(format_, i));
            clv::cuda::copy_to_device_2d(device_.place(), planes_[at].get(), pitch_[at],
                                         from.planes[at].data(), row, row,
                                         static_cast<size_t>(clv::plane_rows(format_, i)));
        }
        device_.wait();
    }
    /// `stream` has passed.
    HostPicture download() const {
        HostPicture to(format_);
        for (int i = 0; i < clv::plane_count(format_); i++) {
            const auto at = static_cast<size_t>(i);
            const auto row = static_cast<size_t>(clv::row_bytes(format_, i));
            clv::cuda::copy_to_host_2d(device_.place(), to.planes[at].data(), row, planes_[at].get(),
                                       pitch_[at], row, static_cast<size_t>(clv::plane_rows(format_, i)));
        }
        device_.wait();
        return to;
    }

private:
    const Device &device_;
    const clv_format format_;
    std::array<size_t, 3> pitch_ = {};
    std::array<clv::cuda::Buffer, 3> planes_;
};

inline clv_format look_of(int width, int height, clv_pixel_format pixel_format,
                          clv_memory memory = CLV_MEMORY_CUDA) {
    clv_format format = yuv420p(width, height);
    format.pixel_format = pixel_format;
    format.memory = memory;
    return format;
}

inline clv_device_stats stats_of(const clv_session *session) {
    clv_device_stats stats;
    clv_session_get_device_stats(session, &stats);
    return stats;
}

/// Of pictures: nothing went to the host or came from it, and nobody waited.
inline bool idle(const clv_device_stats &stats) {
    return stats.copies_to_host == 0 && stats.bytes_to_host == 0 && stats.copies_to_device == 0 &&
           stats.bytes_to_device == 0 && stats.synchronisations == 0;
}

/// All that the device has, but for less than `rest` bytes.
inline std::vector<clv::cuda::Buffer> fill(const Device &device, size_t rest) {
    std::vector<clv::cuda::Buffer> all;
    for (size_t bytes = size_t{1} << 36; bytes >= rest;) {
        try {
            all.emplace_back(device.place(), bytes);
        } catch (const clv::Error &) {
            bytes /= 2;
        }
    }
    return all;
}

/// cuda.h of CUDA 13 knows a later version only, drivers know both.
inline void Device::create() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    using Create = CUresult (*)(CUcontext *, unsigned, CUdevice);
    const auto make = reinterpret_cast<Create>(dlsym(library, "cuCtxCreate_v2"));
    clv::cuda::check(make(&context_, 0, device_), "make a context");
    CUcontext popped = nullptr;
    clv::cuda::driver().cuCtxPopCurrent(&popped);
}

} // namespace core_test
