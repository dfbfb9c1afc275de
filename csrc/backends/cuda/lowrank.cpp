// SPDX-License-Identifier: BSD-2-Clause
#include "backends/cuda/lowrank.h"

#include <cmath>
#include <vector>

#include "backends/cuda/lowrank_layout.h"
#include "backends/cuda/lowrank_plan.h"
#include "backends/lowrank_chain.h"
#include "cuda/driver.h"
#include "pixels/cuda/device_picture.h"

namespace clv::cuda {
namespace {

CLV_CUDA_IMAGE(lowrank);

using lowrank::Params;
using lowrank::Tiling;

constexpr int kMostBits = 10; ///< of samples: a half holds their codes exactly

/// What the kernel cannot do of a net, a sentence's second half; "" when it can.
std::string beyond(const LowrankChain &net) {
    const auto layers = static_cast<int>(net.layers.size());
    if (layers < lowrank::kMinLayers || layers > lowrank::kMaxLayers)
        return "has " + std::to_string(layers) + " layers, not " + std::to_string(lowrank::kMinLayers) +
               " to " + std::to_string(lowrank::kMaxLayers);
    for (const ChainLayer &layer : net.layers) {
        if (layer.dilation != 1)
            return "has a dilation of " + std::to_string(layer.dilation) + ", not 1";
        if (layer.out_channels > lowrank::kMaxChannels)
            return "has layers of " + std::to_string(layer.out_channels) + " channels, not " +
                   std::to_string(lowrank::kMaxChannels) + " at most";
    }
    return "";
}

class LowrankModel final : public PictureModel {
public:
    LowrankModel(const CompileRequest &request, const PictureSpec &spec, const LowrankChain &net)
        : place_(spec.place), format_(spec.format), dither_(spec.dither),
          layers_(static_cast<int>(net.layers.size())) {
        const Current current(place_);
        module_ = Module(place_, clv_image_lowrank);
        set_picture(request);
        set_net(net);
        set_tiles(request.model_name);
    }

    int scale() const override { return 1; }
    clv_precision precision() const override { return CLV_PRECISION_FP16; }
    uint64_t device_bytes() const override { return weights_.bytes() + biases_.bytes(); }
    std::string text() const override {
        return "1 kernel, " + std::to_string(tiling_.tiles()) + " tiles of " +
               std::to_string(lowrank::tile_columns(layers_)) + "x" + std::to_string(tiling_.rows) +
               " positions, each " + std::to_string(threads()) + " threads and " +
               std::to_string(tiling_.shared / 1024) + " KiB of shared memory, " + std::to_string(blocks_) +
               (blocks_ == 1 ? " block" : " blocks") + " a multiprocessor";
    }
    void enqueue(const pixels::ConstPicture &in, const pixels::Picture &out) override {
        Params params = params_;
        params.in = pixels::device::source_picture(format_, in);
        params.out = pixels::device::target_picture(format_, out, dither_);
        const Current current(place_);
        kernel_.launch(dim3(static_cast<unsigned>(tiling_.tiles())), dim3(static_cast<unsigned>(threads())),
                       params, stream_of(place_));
    }

private:
    void set_picture(const CompileRequest &request) {
        const TensorShape &tensor = request.input;
        if (tensor.channels != lowrank::kPictureChannels || 2 * tensor.width < format_.width ||
            2 * tensor.height < format_.height || tensor.width > INT32_MAX / 2 ||
            tensor.height > INT32_MAX / 2)
            throw Error(CLV_ERR_INVALID_ARGUMENT,
                        "a tensor of " + tensor.text() + " has no room for a picture of " +
                            std::to_string(format_.width) + "x" + std::to_string(format_.height));
        params_.width = static_cast<int32_t>(tensor.width);
        params_.height = static_cast<int32_t>(tensor.height);
        params_.kind = pixels::device::kind_of(format_);
        params_.dither = dither_ == pixels::Dither::ordered ? 1 : 0;
        // Any planes will do to learn the numbers of the format.
        const pixels::device::SampleFormat numbers = pixels::device::sample_format(format_, dither_);
        params_.unit = std::ldexp(1.0F, -format_.bit_depth);
        for (const bool chroma : {false, true}) {
            const pixels::device::SampleScale &scale = chroma ? numbers.chroma : numbers.luma;
            params_.middle[chroma ? 1 : 0] = scale.centre * scale.span * params_.unit;
            params_.from_kept[chroma ? 1 : 0] = 1.0F / (scale.span * params_.unit);
        }
    }

    void set_net(const LowrankChain &net) {
        params_.slope = net.slope;
        params_.limit = net.limit;
        params_.strength = net.strength;
        const float luma = params_.from_kept[0];
        const float chroma = params_.from_kept[1];
        const auto words = lowrank::arrange_weights(net.layers, {luma, luma, luma, luma, chroma, chroma});
        const auto biases = lowrank::arrange_biases(net.layers);
        weights_ = Buffer(place_, words.size() * sizeof(words[0]));
        biases_ = Buffer(place_, biases.size() * sizeof(biases[0]));
        copy_to_device_async(place_, weights_.get(), words.data(), weights_.bytes());
        copy_to_device_async(place_, biases_.get(), biases.data(), biases_.bytes());
        params_.weights = weights_.get();
        params_.bias = biases_.get<float>();
    }

    void set_tiles(const std::string &name) {
        const DeviceInfo device = device_info(place_);
        tiling_ = lowrank::choose_tiling(layers_, params_.width, params_.height, device.multiprocessors,
                                         device.shared_per_block, device.shared_per_multiprocessor);
        if (tiling_.rows == 0)
            throw Error(CLV_ERR_UNSUPPORTED, "model " + name + " needs " +
                                                 std::to_string(lowrank::shared_bytes(layers_, 1) / 1024) +
                                                 " KiB of shared memory in a block, and " + device.name +
                                                 " has " + std::to_string(device.shared_per_block / 1024) +
                                                 ": use another GPU");
        params_.tiles_across = tiling_.tiles_across;
        params_.rows = tiling_.rows;
        kernel_ =
            module_.kernel("clv_lowrank_" + std::to_string(layers_), static_cast<size_t>(tiling_.shared));
        blocks_ = kernel_.blocks_per_multiprocessor(threads());
    }

    int threads() const { return tiling_.parts * lowrank::kPartThreads; }

    const Place place_;
    const pixels::PictureFormat format_;
    const pixels::Dither dither_;
    const int layers_;
    Module module_;
    Kernel kernel_;
    Buffer weights_;
    Buffer biases_;
    Params params_ = {};
    Tiling tiling_;
    int blocks_ = 0;
};

} // namespace

bool suits_lowrank(const CompileRequest &request, const PictureSpec &spec) {
    if (!is_lowrank_chain(request) || spec.format.bit_depth > kMostBits)
        return false;
    try {
        return beyond(read_lowrank_chain(request, "cuda")).empty();
    } catch (const Error &) {
        return true; // make_lowrank() says what is wrong with it
    }
}

std::unique_ptr<PictureModel> make_lowrank(const CompileRequest &request, const PictureSpec &spec) {
    const LowrankChain net = read_lowrank_chain(request, "cuda");
    if (const std::string what = beyond(net); !what.empty())
        throw Error(CLV_ERR_UNSUPPORTED, "backend cuda cannot run model " + request.model_name + ": it " +
                                             what +
                                             "; use backend=tensorrt, or download the pictures first (in "
                                             "ffmpeg: hwdownload,format=nv12)");
    if (spec.format.bit_depth > kMostBits)
        throw Error(CLV_ERR_UNSUPPORTED, "backend cuda runs model " + request.model_name +
                                             " on samples of 8 to " + std::to_string(kMostBits) +
                                             " bits, not " + std::to_string(spec.format.bit_depth) +
                                             ": convert the pictures first");
    return std::make_unique<LowrankModel>(request, spec, net);
}

} // namespace clv::cuda
