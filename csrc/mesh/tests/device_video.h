// SPDX-License-Identifier: BSD-2-Clause
// Videos on a device, for the checks of what works there.
#pragma once

#include <memory>
#include <stdexcept>
#include <vector>

#include "cuda/driver.h"
#include "mesh/cuda/cuda_ops.h"
#include "video.h"

namespace clv::mesh::test {

using clv::cuda::Buffer;
using clv::cuda::Place;

/// The first device, with a stream of its own.
class Device {
public:
    Device() {
        const auto &driver = clv::cuda::driver();
        CUdevice device = 0;
        clv::cuda::check(driver.cuDeviceGet(&device, 0), "find a device");
        CUcontext context = nullptr;
        clv::cuda::check(driver.cuDevicePrimaryCtxRetain(&context, device), "make a context");
        place_.context = context;
        place_.counters = std::make_shared<clv::cuda::Counters>();
        stream_ = clv::cuda::Stream(place_);
        place_.stream = stream_.get();
    }
    /// With counters of its own.
    Place place() const {
        Place own = place_;
        own.counters = std::make_shared<clv::cuda::Counters>();
        return own;
    }

private:
    Place place_;
    clv::cuda::Stream stream_;
};

/// A picture's planes on the device, row by row as they are in the image, guard bytes and all.
class DeviceImage {
public:
    DeviceImage(const Place &place, const Image &image) : place_(place), image_(image) {
        const pixels::PictureFormat &format = image.format();
        const pixels::Picture view = image_.view();
        for (int plane = 0; plane < (format.semi_planar ? 2 : 3); plane++) {
            const int rows = plane == 0 ? format.height : format.chroma_height();
            pitch_[plane] = static_cast<size_t>(view.stride[plane]);
            bytes_[plane] = pitch_[plane] * static_cast<size_t>(rows);
            memory_[plane] = Buffer(place, bytes_[plane]);
            clv::cuda::copy_to_device_async(place, memory_[plane].get(), view.data[plane], bytes_[plane]);
        }
    }
    pixels::Picture view() const {
        pixels::Picture picture;
        for (int plane = 0; plane < 3; plane++) {
            picture.data[plane] = memory_[plane].get<uint8_t>();
            picture.stride[plane] = static_cast<ptrdiff_t>(pitch_[plane]);
        }
        return picture;
    }
    Image read() {
        const pixels::Picture view = image_.view();
        for (int plane = 0; plane < (image_.format().semi_planar ? 2 : 3); plane++)
            clv::cuda::copy_to_host_async(place_, view.data[plane], memory_[plane].get(), bytes_[plane]);
        clv::cuda::synchronise(place_);
        return image_;
    }

private:
    Place place_;
    Image image_;
    Buffer memory_[3];
    size_t pitch_[3] = {};
    size_t bytes_[3] = {};
};

struct DeviceMachine {
    DeviceMachine(const Device &device, const pixels::PictureFormat &picture_format,
                  const InpainterOptions &options, Painter *painter = nullptr, int threads = 2)
        : place(device.place()), pool(threads), format(picture_format) {
        auto ops = cuda::make_cuda_ops(format, place);
        if (painter)
            ops->use(painter);
        inpainter = std::make_unique<Inpainter>(format, options, std::move(ops), pool,
                                                [](clv_log_level, const std::string &) {});
    }

    Place place;
    pixels::ThreadPool pool;
    pixels::PictureFormat format;
    std::unique_ptr<Inpainter> inpainter;
    std::vector<std::unique_ptr<DeviceImage>> inputs; ///< that wait

    /// Submits, and receives when there is something: false when there is not.
    bool run(const Image *input, const clv_mask *mask, Image &shown) {
        if (input) {
            inputs.push_back(std::make_unique<DeviceImage>(place, *input));
            if (!inpainter->submit(inputs.back()->view(), mask))
                throw std::logic_error("submit refused a picture");
        }
        DeviceImage output(place, shown);
        if (inpainter->receive(input == nullptr, output.view()) != CLV_OK)
            return false;
        shown = output.read();
        return true;
    }
};

} // namespace clv::mesh::test
