// SPDX-License-Identifier: BSD-2-Clause
//
// How the net is divided into launches, by arithmetic. 1080p, 16 channels, 9 blocks: P = 2.07 M positions.
//
// Bytes. Activations of 16 halves are P * 32 = 66 MB; luma comes as 8 MB of f32 and goes as 33 MB, f32
// because the base must stay exact at 10 bits, where fp16 has a step of 1/2048 below 1. Core's conversions
// around the net move 2 + 8 and 33 + 8 MB more (8 bits).
//
// Operations, multiply-adds a position: head 144, a block 2304, tail 576; 44.5 G a picture. The kernel does
// 16 places of depth for the head's 9 and 8 columns for the tail's 4: 47.0 G.
//
// A kernel a layer would move 130 MB each, 1.3 GB in all, and wait for memory all the time. A launch of n
// convolutions on tiles moves 130 MB once, and computes a border of n - 1 positions around each tile for the
// next one: more with every layer. Per launches, as plan() reckons (sr_plan.cpp): tiles of the height that
// suits the number of multiprocessors, two blocks of threads on each, halos and unused places of the last
// runs counted; 3.0 of an H100's 3.35 TB/s, mma.sync at 0.62 of 989 TFLOP/s, which is 307 G multiply-adds a
// millisecond:
//
//     launches               1      2      3      4      5     10
//     MB, halos included    58    229    389    510    638   1314
//     multiply-adds, G    75.8   65.6   59.7   54.6   52.4   47.8
//     us                   281    242    206    209    242    450
//
// so three:                       head, 3 blocks   3 blocks   3 blocks, tail
//     tile                            58 x 36       58 x 36       56 x 18
//     KiB of shared memory              111            97            68
//     MB                                 79           156           154    389
//     us at 3.0 TB/s                     26            52            51    130
//     multiply-adds, G                 18.1          17.4          24.2   59.7
//     us at 307 G a ms                   59            57            79    194
//     us with the last round of tiles    63            61            81    206
//
// 206 us is 4,900 fps, and 4,300 with 25 us for the conversions. If nothing of a load ran beside the other
// block's products it would be 350 us, 2,800 fps. 16 channels x 4 blocks: two launches (head, 2 | 2, tail),
// 97 us; x 3: one, 84 us; 24 x 4: three (head, 1 | 2 | 1, tail), 199 us.
//
// Shared memory. A task of a warp (four runs of 16 positions) takes 18 matrices of A and 9 of B of 512 bytes
// and leaves 2 KB, 124 clocks of 128 bytes where the tensor cores need 115 for its 72 products: as good as
// even. A row of A that was loaded serves three rows of the output, and in the middle it is the f that the
// block adds to, in the very lanes that have its sums; else it would be 212. Convolutions are in place, which
// makes tiles twice as large as two buffers would: of what a launch of three computes 82 % is of use, not 71.
//
// Every second launch goes through the tiles backwards and finds what was written last in the L2 cache: of an
// H100's 50 MB perhaps 30 a launch of the 66.
//
// Knobs, for measurements: the constants of sr_plan.cpp; kRunRows (six: 26 clocks a run of shared memory
// instead of 31, but more registers than there are); kSerpentine. wgmma multiplies at 1.6 times the rate but
// reads A for each tap, 16 clocks for 8 of products with 16 columns: nothing to gain.
#include "backends/cuda/sr.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/cuda/sr_layout.h"
#include "backends/cuda/sr_plan.h"
#include "backends/cuda/sr_weights.h"
#include "backends/sr_luma.h"
#include "cuda/driver.h"

CLV_CUDA_IMAGE(sr_layers);

namespace clv::cuda {
namespace {

using namespace sr;

constexpr bool kSerpentine = true;
constexpr int64_t kMaxSide = 32768;

Chip chip_of(const DeviceInfo &device) {
    return {device.multiprocessors, device.shared_per_block, device.shared_per_multiprocessor,
            device.sm >= 80 ? size_t{1024} : size_t{0}};
}

class SrModel final : public TensorModel {
public:
    SrModel(const CompileRequest &request, const Place &place)
        : place_(place), input_(request.input), net_(read_sr_luma(request, "cuda")),
          channels_(padded_channels(net_.channels)) {
        if (input_.height < 1 || input_.width < 1 || input_.height > kMaxSide || input_.width > kMaxSide)
            throw Error(CLV_ERR_UNSUPPORTED, "model " + request.model_name + " was asked for an input of " +
                                                 input_.text() +
                                                 ": backend cuda takes 1x1xHxW with H and W "
                                                 "of 1 to 32768");
        const Current current(place_);
        const DeviceInfo device = device_info(place_);
        const std::vector<Step> steps =
            plan(channels_, static_cast<int>(net_.blocks.size()), static_cast<int>(input_.height),
                 static_cast<int>(input_.width), chip_of(device));
        if (steps.empty())
            throw Error(CLV_ERR_UNSUPPORTED, "model " + request.model_name + " of " +
                                                 std::to_string(net_.channels) +
                                                 " channels does not fit into the shared memory of " +
                                                 device.name + ": use another backend");
        module_ = Module(place_, clv_image_sr_layers);
        // A launch reads what the one before wrote; tiles read beyond their own part of it.
        const size_t bytes =
            static_cast<size_t>(steps[0].grid.plane) * static_cast<size_t>(channels_) * sizeof(uint16_t);
        for (size_t i = 0; i < std::min<size_t>(2, steps.size() - 1); i++)
            activations_.emplace_back(place_, bytes);
        int most = 0;
        for (const Step &step : steps) {
            add(step, device);
            most = std::max(most, step.bytes);
        }
        kernel(most); // all launches are of one function, whose limit is what was said last
    }

    TensorShape output() const override { return {1, input_.height * kSrScale, input_.width * kSrScale}; }
    ElementType input_type() const override { return ElementType::f32; }
    ElementType output_type() const override { return ElementType::f32; }
    clv_precision precision() const override { return CLV_PRECISION_FP16; }
    uint64_t device_bytes() const override {
        uint64_t sum = 0;
        for (const Buffer &buffer : activations_)
            sum += buffer.bytes();
        for (const Launch &launch : launches_)
            sum += launch.constants.bytes();
        return sum;
    }
    std::string text() const override {
        std::string out = std::to_string(launches_.size()) +
                          (launches_.size() == 1 ? " kernel" : " kernels") + " of " +
                          std::to_string(channels_) + " channels:";
        for (const Launch &launch : launches_)
            out += (&launch == launches_.data() ? " " : ", ") + text_of(launch);
        return out;
    }

    void enqueue(const void *in, void *out) override {
        const Current current(place_);
        for (Launch &launch : launches_) {
            launch.params.x = static_cast<const float *>(in);
            launch.params.out = launch.params.layers.tail ? static_cast<float *>(out) : nullptr;
            launch.kernel.launch(dim3(launch.blocks), dim3(kThreads), launch.params, stream_of(place_));
        }
    }

private:
    struct Launch {
        Kernel kernel;
        LayersParams params{};
        Buffer constants;
        unsigned blocks = 0;
        int of_multiprocessor = 0;
    };

    Kernel kernel(int shared_bytes) const {
        return module_.kernel("clv_sr_layers_" + std::to_string(channels_),
                              static_cast<size_t>(shared_bytes));
    }

    void add(const Step &step, const DeviceInfo &device) {
        const size_t index = launches_.size();
        Launch &launch = launches_.emplace_back();
        launch.kernel = kernel(step.bytes);
        // Of the memory that L1 and shared memory divide, as much as there is.
        check(driver().cuFuncSetAttribute(launch.kernel.get(),
                                          CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                          CU_SHAREDMEM_CARVEOUT_MAX_SHARED),
              "set up kernel " + launch.kernel.name());
        launch.of_multiprocessor = launch.kernel.blocks_per_multiprocessor(kThreads);
        if (launch.of_multiprocessor < 1)
            throw Error(CLV_ERR_UNSUPPORTED, device.name + " has no room for kernel " + launch.kernel.name() +
                                                 ": use another backend");
        launch.blocks = static_cast<unsigned>(
            std::min(step.grid.tiles, launch.of_multiprocessor * device.multiprocessors));
        const std::vector<std::byte> constants = constants_of(net_, step.layers, step.first_block);
        launch.constants = Buffer(place_, constants.size());
        copy_to_device_async(place_, launch.constants.get(), constants.data(), constants.size());
        LayersParams &params = launch.params;
        params.grid = step.grid;
        params.grid.backward = kSerpentine ? static_cast<int>(index % 2) : 0;
        params.layers = step.layers;
        params.memory = memory_of(step.layers, channels_, step.grid.rows);
        params.constants = launch.constants.get();
        params.in = step.layers.head ? nullptr : activations_[(index + 1) % 2].get();
        params.to = step.layers.tail ? nullptr : activations_[index % 2].get();
        params.slope = net_.slope;
    }

    /// "3 blocks and the tail in tiles of 56x34, 108 KiB of shared memory, 2 on a multiprocessor".
    static std::string text_of(const Launch &launch) {
        const LayersParams &p = launch.params;
        std::string what = p.layers.head ? "head, " : "";
        what += std::to_string(p.layers.blocks) + (p.layers.blocks == 1 ? " block" : " blocks");
        what += p.layers.tail ? ", tail" : "";
        return what + " in tiles of " + std::to_string(p.grid.tile_width) + "x" +
               std::to_string(p.grid.tile_height) + " (" +
               std::to_string(launch.kernel.shared_bytes() / 1024) + " KiB of shared memory, " +
               std::to_string(launch.of_multiprocessor) + " on a multiprocessor)";
    }

    const Place place_;
    const TensorShape input_;
    const SrLuma net_;
    const int channels_; ///< that the kernels compute
    Module module_;
    std::vector<Buffer> activations_; ///< written in turn
    std::vector<Launch> launches_;
};

} // namespace

bool suits_sr(const CompileRequest &request) {
    return is_sr_luma(request);
}

std::unique_ptr<TensorModel> make_sr(const CompileRequest &request, const Place &place) {
    return std::make_unique<SrModel>(request, place);
}

} // namespace clv::cuda
