// SPDX-License-Identifier: BSD-2-Clause
// What core and csrc/mesh need of a device, over cuda/driver.h.
#include "core/cuda_services.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "backends/cuda/device_painter.h"
#include "core/error.h"
#include "cuda/driver.h"
#include "mesh/cuda/cuda_ops.h"
#include "pixels/cuda/colour_cuda.h"
#include "pixels/cuda/pixels_cuda.h"

namespace {

using clv::Error;
using clv::cuda::Place;

constexpr int kOldest = 75; // Turing: the first with the tensor cores' instructions that the kernels use

class Memory final : public clv::DeviceMemory {
public:
    Memory(const Place &place, size_t bytes) : buffer_(place, bytes) {}
    void *data() const override { return buffer_.get(); }
    size_t bytes() const override { return buffer_.bytes(); }

private:
    clv::cuda::Buffer buffer_;
};

class Rgb final : public clv::DeviceRgb {
public:
    explicit Rgb(clv::pixels::device::RgbConverter converter) : converter_(std::move(converter)) {}
    void to_tensor(const clv::pixels::ConstPicture &picture, const clv::pixels::Tensor &tensor) override {
        converter_.to_tensor(picture, tensor);
    }
    void from_tensor(const clv::pixels::ConstTensor &tensor, const clv::pixels::Picture &picture) override {
        converter_.from_tensor(tensor, picture);
    }

private:
    clv::pixels::device::RgbConverter converter_;
};

class Chroma final : public clv::DeviceChroma {
public:
    explicit Chroma(clv::pixels::device::ChromaScaler scaler) : scaler_(std::move(scaler)) {}
    void scale(const clv::pixels::ConstPicture &from, const clv::pixels::Picture &to) override {
        scaler_.scale(from, to);
    }
    size_t bytes() const override { return scaler_.device_bytes(); }

private:
    clv::pixels::device::ChromaScaler scaler_;
};

class Services final : public clv::CudaServices {
public:
    std::string check(const Place &place) override {
        const clv::cuda::DeviceInfo info = clv::cuda::device_info(place);
        std::string name = info.name + " (sm_" + std::to_string(info.sm) + ")";
        if (info.sm < kOldest)
            throw Error(CLV_ERR_UNSUPPORTED,
                        name + " is older than clarivid's CUDA kernels, which need sm_75 (Turing) or newer: "
                               "download the pictures first (in ffmpeg: hwdownload,format=nv12)");
        return name;
    }

    std::unique_ptr<clv::DeviceMemory> allocate(const Place &place, size_t bytes) override {
        return std::make_unique<Memory>(place, bytes);
    }
    void copy(const Place &place, const void *from, ptrdiff_t from_stride, void *to, ptrdiff_t to_stride,
              size_t row_bytes, int rows) override {
        clv::cuda::copy_on_device_2d(place, to, static_cast<size_t>(to_stride), from,
                                     static_cast<size_t>(from_stride), row_bytes, static_cast<size_t>(rows));
    }
    void copy_window(const Place &place, const clv::DeviceWindow &from, const clv::DeviceWindow &to,
                     size_t row_bytes, size_t rows, size_t channels) override {
        const auto window = [](const clv::DeviceWindow &w) {
            return clv::cuda::Window{w.tensor, w.row_bytes, w.rows, w.left_bytes, w.top};
        };
        clv::cuda::copy_on_device_3d(place, window(to), window(from), row_bytes, rows, channels);
    }
    void download(const Place &place, const void *from, ptrdiff_t from_stride, void *host_to,
                  ptrdiff_t to_stride, size_t row_bytes, int rows) override {
        clv::cuda::copy_to_host_2d(place, host_to, static_cast<size_t>(to_stride), from,
                                   static_cast<size_t>(from_stride), row_bytes, static_cast<size_t>(rows));
        clv::cuda::synchronise(place);
    }
    void upload(const Place &place, const void *host_from, ptrdiff_t from_stride, void *to,
                ptrdiff_t to_stride, size_t row_bytes, int rows) override {
        clv::cuda::copy_to_device_2d(place, to, static_cast<size_t>(to_stride), host_from,
                                     static_cast<size_t>(from_stride), row_bytes, static_cast<size_t>(rows));
    }
    void synchronise(const Place &place) override { clv::cuda::synchronise(place); }

    void space_to_depth(const Place &place, const clv::pixels::PictureFormat &format,
                        const clv::pixels::ConstPicture &picture,
                        const clv::pixels::Tensor &tensor) override {
        conversions(place).space_to_depth(place, format, picture, tensor);
    }
    void depth_to_space(const Place &place, const clv::pixels::ConstTensor &tensor, int scale,
                        const clv::pixels::PictureFormat &format, const clv::pixels::Picture &picture,
                        clv::pixels::Dither dither) override {
        conversions(place).depth_to_space(place, tensor, scale, format, picture, dither);
    }
    void luma_to_tensor(const Place &place, const clv::pixels::PictureFormat &format,
                        const clv::pixels::ConstPicture &picture,
                        const clv::pixels::Tensor &tensor) override {
        conversions(place).luma_to_tensor(place, format, picture, tensor);
    }
    void tensor_to_luma(const Place &place, const clv::pixels::ConstTensor &tensor,
                        const clv::pixels::PictureFormat &format, const clv::pixels::Picture &picture,
                        clv::pixels::Dither dither) override {
        conversions(place).tensor_to_luma(place, tensor, format, picture, dither);
    }

    std::unique_ptr<clv::DeviceRgb> make_rgb(const Place &place, const clv::pixels::PictureFormat &format,
                                             int scale, clv::pixels::Dither dither,
                                             clv::pixels::Element input,
                                             clv::pixels::Element output) override {
        return std::make_unique<Rgb>(
            clv::pixels::device::RgbConverter(place, format, scale, dither, input, output));
    }
    std::unique_ptr<clv::DeviceChroma>
    make_chroma(const Place &place, const clv::pixels::PictureFormat &format, int scale) override {
        return std::make_unique<Chroma>(clv::pixels::device::ChromaScaler(place, format, scale));
    }

    std::unique_ptr<clv::mesh::PictureOps> make_picture_ops(const clv::pixels::PictureFormat &format,
                                                            const Place &place) override {
        return clv::mesh::cuda::make_cuda_ops(format, place);
    }
    std::unique_ptr<clv::mesh::DevicePainter> make_painter(const clv::pixels::PictureFormat &format,
                                                           const Place &place, clv::TensorModel &net,
                                                           const clv::TensorShape &input) override {
        return clv::cuda::make_device_painter(format, place, net, input);
    }

private:
    /// Loaded when they are first asked for: most sessions need none.
    clv::pixels::device::Conversions &conversions(const Place &place) {
        if (!conversions_)
            conversions_.emplace(place);
        return *conversions_;
    }
    std::optional<clv::pixels::device::Conversions> conversions_;
};

} // namespace

clv::CudaServices *clarivid_cuda_services_create(uint32_t abi) {
    return abi == clv::kBackendAbi ? new Services : nullptr;
}
