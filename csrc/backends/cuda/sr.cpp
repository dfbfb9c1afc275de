// SPDX-License-Identifier: BSD-2-Clause
//
// How the net is divided into kernels, by arithmetic. 1080p: 960 x 540 positions, P = 0.518 M.
//
// Bytes. A tensor of 48 halves at each position is P * 96 = 49.8 MB, the picture 3.1 MB, the result 12.4 MB.
// Operations, multiply-adds at a position: head 2592, a block 20736, tail 10368, in all 49.7 G a picture.
//
// A block's gate needs the mean over all of y before any of x + gate * y exists, so no kernel can hold more
// than one block. What a kernel can do besides its convolution is to make its own input, x_k = x_j + the
// gated y of the blocks since j, and even x_0, the head, from the picture. What each way must move (y is
// always written, the picture and halos, which the L2 cache has, aside):
//
//     x stored                        MB read + written, by kernel                               MB
//     a layer a kernel (a runtime)    50, per block 100 + 50 (mean) + 150 (x += gate y), 62     1312
//     every x; gate when reading      50 | 50+100 | 100+100 | 100+100 | 100+100 | 100+12         862
//     x_1, x_2, x_3; head on the way  50 | 50+100 | 100+100 | 100+100 | 100+12                   712
//     none; y_1 to y_4 and the head   50 | 50+50 | 100+50 | 150+50 | 200+12                      712
//     x_2 only                        50 | 50+50 | 100+100 | 100+50 | 150+12                     662
//
// so: x is stored where otherwise three y would have to be read; the head is computed again in the two
// kernels after the first (each time 3840 multiply-adds with their padding, at 1.25 times the positions, 23 %
// of a block; it saves 150 MB). Every second kernel goes through the tiles backwards and finds what was
// written last in the L2 cache: of an H100's 50 MB perhaps 30 a kernel, 660 -> about 540 MB.
//
// Floor on an H100, 132 multiprocessors. Memory gives 3.35 TB/s, of which about 3.0 are reached. mma.sync
// reaches about 0.62 of 989 TFLOP/s: 307 G multiply-adds a millisecond.
//
//                            block 1   block 2   block 3   block 4   tail
//     MB, picture included        53       103       203       153    165    677
//     us at 3.0 TB/s              18        34        68        51     55    226
//     multiply-adds, G          13.2      13.2      13.2      10.7    5.4   55.8
//     us at 307 G a ms            43        43        43        35     18    182
//     the larger of both          43        43        68        51     55    260
//
// With five launches of some 2 us each that is 270 us, 3700 fps.
//
// Loads of one block of threads run while the other one on its multiprocessor multiplies; with no overlap at
// all it would be 410 us, 2400 fps. Shared memory keeps up: a step of a warp (48 positions, 48 channels,
// depth 16) reads 1.5 + 1.5 KB for 18 products, 24 clocks of 128 B where the tensor cores need 29. Tiles of
// 32 x 12 are 1350, 10.2 a multiprocessor: 7 % are lost to the eleventh. wgmma, at 1.6 times the rate, would
// take some 25 us from the first two kernels, a tenth of the whole, and nothing from the others, which wait
// for memory: not without a chip to measure on. A tile's loads are 34 positions x 16 bytes in a row, which
// TMA would do with fewer instructions, but x = x_j + gate * y goes through registers on its way.
//
// Knobs, for measurements: the tiles (sr_layout.h; 32 x 16, four runs a warp, reads 3.5 KB for 24 products
// and has smaller halos, but spills some of 128 registers), the order of tiles (kSerpentine), which x are
// stored (plan()).
#include "backends/cuda/sr.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/sr_layout.h"
#include "backends/cuda/sr_net.h"
#include "cuda/driver.h"

CLV_CUDA_IMAGE(sr_block);
CLV_CUDA_IMAGE(sr_tail);

namespace clv::cuda {
namespace {

using namespace sr;

constexpr bool kSerpentine = true;
constexpr int kOutputs = 3; ///< the last ones of the blocks that are held

/// Where a kernel takes x from and what it leaves. Numbers of buffers, -1 for none.
struct Step {
    int x = -1;              ///< remembered; else it is the head
    std::vector<int> priors; ///< blocks since
    int x_out = -1;
};

/// The steps of all blocks and of the tail.
std::vector<Step> plan(int blocks) {
    std::vector<Step> steps;
    Step next;
    for (int i = 0; i <= blocks; i++) {
        Step step = next;
        if (i < blocks && step.priors.size() == kMaxPriors) {
            step.x_out = step.x == 0 ? 1 : 0;
            next = {step.x_out, {}, -1};
        }
        next.priors.push_back(i);
        steps.push_back(std::move(step));
    }
    return steps;
}

/// A kernel and the division of the picture that it is launched with.
struct Shape {
    const char *name;
    int width, height, threads;
    int bytes; ///< of shared memory
};

template <class T, template <class, int> class Memory, int Channels>
constexpr Shape shape(const char *name) {
    return {name, T::width, T::height, T::threads, Memory<T, Channels>::bytes};
}

using Shapes = std::array<Shape, 3>;
constexpr Shapes kBlock48 = {shape<Large, BlockMemory, 48>("clv_sr_block_large_48"),
                             shape<Medium, BlockMemory, 48>("clv_sr_block_medium_48"),
                             shape<Small, BlockMemory, 48>("clv_sr_block_small_48")};
constexpr Shapes kBlock32 = {shape<Large, BlockMemory, 32>("clv_sr_block_large_32"),
                             shape<Medium, BlockMemory, 32>("clv_sr_block_medium_32"),
                             shape<Small, BlockMemory, 32>("clv_sr_block_small_32")};
constexpr Shapes kTail48 = {shape<Large, TailMemory, 48>("clv_sr_tail_large_48"),
                            shape<Medium, TailMemory, 48>("clv_sr_tail_medium_48"),
                            shape<Small, TailMemory, 48>("clv_sr_tail_small_48")};
constexpr Shapes kTail32 = {shape<Large, TailMemory, 32>("clv_sr_tail_large_32"),
                            shape<Medium, TailMemory, 32>("clv_sr_tail_medium_32"),
                            shape<Small, TailMemory, 32>("clv_sr_tail_small_32")};
// 48 KB is what every device has; Turing's 64 KB and the 99 KB of Ada are what the tiles are made for.
static_assert(kBlock48[0].bytes <= 99 * 1024 && kBlock48[2].bytes <= 64 * 1024);
static_assert(kTail48[0].bytes <= 99 * 1024 && kTail48[2].bytes <= 64 * 1024);

struct Launch {
    Shape shape{};
    Kernel kernel;
    Grid grid{};
    int of_multiprocessor = 0;
    unsigned blocks = 0;

    void run(const auto &params, CUstream stream) const {
        kernel.launch(dim3(blocks), dim3(static_cast<unsigned>(shape.threads)), params, stream);
    }
};

/// The largest tile of which a multiprocessor holds two, so that one loads while the other multiplies; else
/// the largest that fits.
Launch choose(const Shapes &shapes, const Module &module, const DeviceInfo &device, const Grid &tensor) {
    std::optional<Launch> best;
    for (const Shape &shape : shapes) {
        if (static_cast<size_t>(shape.bytes) > device.shared_per_block)
            continue;
        Launch launch{shape, module.kernel(shape.name, static_cast<size_t>(shape.bytes)), tensor, 0, 0};
        // Of the memory that L1 and shared memory divide, as much as there is.
        check(driver().cuFuncSetAttribute(launch.kernel.get(),
                                          CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                          CU_SHAREDMEM_CARVEOUT_MAX_SHARED),
              std::string("set up kernel ") + shape.name);
        launch.of_multiprocessor = launch.kernel.blocks_per_multiprocessor(shape.threads);
        if (launch.of_multiprocessor > 0 && (!best || best->of_multiprocessor < launch.of_multiprocessor))
            best = std::move(launch);
        if (best && best->of_multiprocessor > 1)
            break;
    }
    if (!best)
        throw Error(CLV_ERR_UNSUPPORTED,
                    device.name + " gives a kernel " + std::to_string(device.shared_per_block / 1024) +
                        " KiB of shared memory, and the super-resolution net needs " +
                        std::to_string(shapes.back().bytes / 1024 + 1) +
                        ": download the pictures first (in ffmpeg: hwdownload,format=nv12)");
    best->grid = tiled(tensor, best->shape.width, best->shape.height);
    best->blocks =
        static_cast<unsigned>(std::min(best->grid.tiles, device.multiprocessors * best->of_multiprocessor));
    return *std::move(best);
}

/// Everything constant, put into one allocation and one upload.
class Constants {
public:
    template <typename T>
    size_t add(const std::vector<T> &values) {
        constexpr size_t alignment = 256;
        const size_t at = (bytes_.size() + alignment - 1) / alignment * alignment;
        bytes_.resize(at + values.size() * sizeof(T));
        std::memcpy(bytes_.data() + at, values.data(), values.size() * sizeof(T));
        return at;
    }
    Buffer upload(const Place &place) const {
        Buffer buffer(place, bytes_.size());
        copy_to_device_async(place, buffer.get(), bytes_.data(), bytes_.size());
        return buffer;
    }

private:
    std::vector<std::byte> bytes_;
};

std::vector<float> padded(std::vector<float> values, int count) {
    values.resize(static_cast<size_t>(count));
    return values;
}

/// [rows][columns] to [columns][rows], both sides filled up with zeros.
std::vector<float> transposed(const std::vector<float> &from, int rows, int columns, int to_rows,
                              int to_columns) {
    std::vector<float> out(static_cast<size_t>(to_rows) * static_cast<size_t>(to_columns));
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            out[static_cast<size_t>(c * to_columns + r)] = from[static_cast<size_t>(r * columns + c)];
    return out;
}

class SrModel final : public PictureModel {
public:
    SrModel(const CompileRequest &request, const PictureSpec &spec)
        : spec_(spec), net_(read_sr_net(request, "cuda")), channels_(padded_channels(net_.channels)),
          steps_(plan(static_cast<int>(net_.blocks.size()))) {
        const Grid tensor = tensor_of(request);
        const Current current(spec_.place);
        const DeviceInfo device = device_info(spec_.place);
        block_module_ = Module(spec_.place, clv_image_sr_block);
        tail_module_ = Module(spec_.place, clv_image_sr_tail);
        block_ = choose(channels_ == 48 ? kBlock48 : kBlock32, block_module_, device, tensor);
        tail_ = choose(channels_ == 48 ? kTail48 : kTail32, tail_module_, device, tensor);
        allocate(tensor);
        prepare(tensor);
        out_format_ = spec_.format;
        out_format_.width *= scale();
        out_format_.height *= scale();
    }

    int scale() const override { return 2; }
    clv_precision precision() const override { return CLV_PRECISION_FP16; }
    uint64_t device_bytes() const override {
        uint64_t sum = constants_.bytes() + partial_.bytes();
        for (const std::vector<Buffer> *buffers : {&x_, &y_})
            for (const Buffer &buffer : *buffers)
                sum += buffer.bytes();
        return sum;
    }
    std::string text() const override {
        const auto part = [](const Launch &launch) {
            return "tiles of " + std::to_string(launch.shape.width) + "x" +
                   std::to_string(launch.shape.height) + " positions, " +
                   std::to_string(launch.shape.bytes / 1024) + " KiB of shared memory, " +
                   std::to_string(launch.of_multiprocessor) + " on a multiprocessor";
        };
        return std::to_string(steps_.size()) + " kernels: blocks in " + part(block_) + "; tail in " +
               part(tail_);
    }

    void enqueue(const pixels::ConstPicture &in, const pixels::Picture &out) override {
        const auto source = pixels::device::source_picture(spec_.format, in);
        const auto target = pixels::device::target_picture(out_format_, out, spec_.dither);
        const Current current(spec_.place);
        const CUstream stream = stream_of(spec_.place);
        for (BlockParams &params : params_) {
            params.input.picture = source;
            block_.run(params, stream);
        }
        tail_params_.input.picture = source;
        tail_params_.out = target;
        tail_.run(tail_params_, stream);
    }

private:
    /// Positions that the tensor has, and that the gates' windows lie in.
    Grid tensor_of(const CompileRequest &request) const {
        Grid grid{};
        grid.height = static_cast<int>(request.input.height);
        grid.width = static_cast<int>(request.input.width);
        if (!net_.gates.empty() && (grid.height < 3 || grid.width < 3))
            throw Error(CLV_ERR_UNSUPPORTED, "model " + request.model_name +
                                                 " looks at windows of 3x3 positions, and a picture of " +
                                                 std::to_string(spec_.format.width) + "x" +
                                                 std::to_string(spec_.format.height) + " has " +
                                                 std::to_string(grid.width) + "x" +
                                                 std::to_string(grid.height) + ": give at least 5x5 pixels");
        // Rows start at whole lines of 128 bytes.
        grid.pitch = (grid.width + 7) / 8 * 8;
        grid.plane = static_cast<std::int64_t>(grid.pitch) * grid.height;
        return grid;
    }

    void allocate(const Grid &tensor) {
        const size_t bytes = static_cast<size_t>(tensor.plane) * static_cast<size_t>(channels_) * 2;
        int remembered = 0;
        for (const Step &step : steps_)
            remembered = std::max(remembered, step.x_out + 1);
        for (int i = 0; i < remembered; i++)
            x_.emplace_back(spec_.place, bytes);
        for (size_t i = 0; i < std::min<size_t>(kOutputs, net_.blocks.size()); i++)
            y_.emplace_back(spec_.place, bytes);
        partial_ = Buffer(spec_.place, block_.blocks * static_cast<size_t>(channels_) * sizeof(float));
    }

    /// All parameters but the pictures. Addresses of constants are known when all have been uploaded.
    void prepare(const Grid &tensor) {
        Constants constants;
        const size_t head_weights = constants.add(arrange_head(net_.head, channels_));
        const size_t head_bias = constants.add(padded(net_.head.bias, channels_));
        constexpr std::uint16_t one = 0x3c00;
        struct At {
            size_t weights, bias, gate, finished, down_weight, down_bias, up_weight, up_bias;
        };
        std::vector<At> at;
        for (size_t i = 0; i < net_.blocks.size(); i++) {
            At &block = at.emplace_back();
            block.weights = constants.add(arrange(net_.blocks[i], channels_, channels_));
            block.bias = constants.add(padded(net_.blocks[i].bias, channels_));
            block.gate = constants.add(std::vector<std::uint16_t>(static_cast<size_t>(channels_), one));
            block.finished = constants.add(std::vector<unsigned>{0});
            if (net_.gates.empty())
                continue;
            const SrGate &gate = net_.gates[i];
            const int c = net_.channels;
            const int hidden = net_.hidden;
            block.down_weight = constants.add(transposed(gate.down_weights, hidden, c, channels_, hidden));
            block.down_bias = constants.add(gate.down_bias);
            block.up_weight = constants.add(transposed(gate.up_weights, c, hidden, hidden, channels_));
            block.up_bias = constants.add(padded(gate.up_bias, channels_));
        }
        const size_t tail_weights = constants.add(arrange(net_.tail, channels_, kOutputChannels));
        const size_t tail_bias = constants.add(net_.tail.bias);
        constants_ = constants.upload(spec_.place);

        auto *const base = constants_.get<std::byte>();
        const auto floats = [&](size_t offset) { return reinterpret_cast<float *>(base + offset); };
        const auto input = [&](const Step &step) {
            Input in{};
            if (step.x < 0) {
                in.head_weights = base + head_weights;
                in.head_bias = floats(head_bias);
            } else {
                in.x = x_[static_cast<size_t>(step.x)].get();
            }
            in.priors = static_cast<int>(step.priors.size());
            for (size_t k = 0; k < step.priors.size(); k++) {
                in.y[k] = y_[static_cast<size_t>(step.priors[k] % kOutputs)].get();
                in.gate[k] = base + at[static_cast<size_t>(step.priors[k])].gate;
            }
            in.kind = pixels::device::kind_of(spec_.format);
            in.slope = net_.slope;
            return in;
        };
        const auto windows = [](int positions) { return (positions - 3) / kGateStride + 1; };
        for (size_t i = 0; i < net_.blocks.size(); i++) {
            BlockParams params{};
            params.grid = block_.grid;
            params.grid.backward = kSerpentine ? static_cast<int>(i % 2) : 0;
            params.input = input(steps_[i]);
            params.weights = base + at[i].weights;
            params.bias = floats(at[i].bias);
            params.x_out = steps_[i].x_out < 0 ? nullptr : x_[static_cast<size_t>(steps_[i].x_out)].get();
            params.y_out = y_[i % kOutputs].get();
            if (!net_.gates.empty())
                params.gate = {partial_.get<float>(),
                               reinterpret_cast<unsigned *>(base + at[i].finished),
                               floats(at[i].down_weight),
                               floats(at[i].down_bias),
                               floats(at[i].up_weight),
                               floats(at[i].up_bias),
                               base + at[i].gate,
                               net_.hidden,
                               1.0F / static_cast<float>(windows(tensor.height) * windows(tensor.width))};
            params_.push_back(params);
        }
        tail_params_.grid = tail_.grid;
        tail_params_.grid.backward = kSerpentine ? static_cast<int>(net_.blocks.size() % 2) : 0;
        tail_params_.input = input(steps_.back());
        tail_params_.weights = base + tail_weights;
        tail_params_.bias = floats(tail_bias);
    }

    const PictureSpec spec_;
    const SrNet net_;
    const int channels_; ///< that the kernels compute
    const std::vector<Step> steps_;
    pixels::PictureFormat out_format_;
    Module block_module_;
    Module tail_module_;
    Launch block_;
    Launch tail_;
    std::vector<Buffer> x_;
    std::vector<Buffer> y_;
    Buffer partial_;
    Buffer constants_; ///< and the gates, and the counters
    std::vector<BlockParams> params_;
    TailParams tail_params_{};
};

} // namespace

bool suits_sr(const CompileRequest &request, const PictureSpec & /*spec*/) {
    return is_sr_net(request);
}

std::unique_ptr<PictureModel> make_sr(const CompileRequest &request, const PictureSpec &spec) {
    return std::make_unique<SrModel>(request, spec);
}

} // namespace clv::cuda
