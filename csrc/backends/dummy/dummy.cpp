// SPDX-License-Identifier: BSD-2-Clause
// The dummy backend: every output value is the nearest input value, so that everything above inference can be
// tested to the bit, without a runtime. The picture comes out as its nearest-neighbour upscale in every
// layout. An inpainting net paints luma that rises from left to right over its whole input, the middle of
// each sample being (column + 0.5) / columns - 0.5, with U = -kTint and V = kTint, and leaves the rest to its
// input. With a net that has a strength, strength * kShift is taken from each value: on no format and range
// does that give a value half-way between two codes, for strengths of 1, 0.5 and 0.25.
//
// device="" or a ','-separated list of
//   delay=MS   each inference takes MS milliseconds on a thread of its own (the order of results is put to
//   the test) fail=N     the N-th inference of each session, counted from 1, fails
//   scratch=N  each inference takes N bytes of memory for each position of its input (in device memory it
//   does, in host memory it only says so)
//   largest=N  in device memory, inputs of more than N rows or columns are refused, as by an engine
// In device memory (dummy_kernel.cu) it computes the same.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "backends/dummy/dummy_device.h"
#include "core/backend.h"

namespace {

using clv::Error;
using clv::TensorShape;

constexpr float kShift = 0.22F;
constexpr float kTint = 0.125F;

struct Options {
    int delay_ms = 0;
    int fail_at = 0;
    int scratch = 0;
    int largest = 0; ///< 0: any
};

int parse_count(const std::string &text, const std::string &item) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0)
        throw Error(CLV_ERR_INVALID_ARGUMENT,
                    "device \"" + item +
                        "\" of backend dummy is not delay=MS, fail=N, scratch=N or largest=N");
    return value;
}

Options parse_device(std::string text) {
    Options options;
    while (!text.empty()) {
        const size_t comma = text.find(',');
        const std::string item = text.substr(0, comma);
        text = comma == std::string::npos ? "" : text.substr(comma + 1);
        const size_t equals = item.find('=');
        const std::string key = item.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : item.substr(equals + 1);
        if (key == "delay")
            options.delay_ms = parse_count(value, item);
        else if (key == "fail")
            options.fail_at = parse_count(value, item);
        else if (key == "scratch")
            options.scratch = parse_count(value, item);
        else if (key == "largest")
            options.largest = parse_count(value, item);
        else
            throw Error(CLV_ERR_UNSUPPORTED, "backend dummy has no device \"" + item +
                                                 "\": leave it empty, or use "
                                                 "delay=MS, fail=N, scratch=N, largest=N");
    }
    return options;
}

/// [c, h, w] -> [c, h*s, w*s], every value repeated s x s times.
void replicate(const float *in, float *out, const TensorShape &shape, int64_t scale) {
    for (int64_t y = 0; y < shape.channels * shape.height * scale; y++) {
        const float *row = in + y / scale * shape.width;
        for (int64_t x = 0; x < shape.width * scale; x++)
            *out++ = row[x / scale];
    }
}

/// Channels of a plane that was taken apart into b x b blocks -> the same for (b*s) x (b*s) blocks.
void replicate_block(const float *in, float *out, size_t plane, int64_t block, int64_t scale) {
    for (int64_t r = 0; r < block * scale; r++)
        for (int64_t c = 0; c < block * scale; c++, out += plane) {
            const float *from = in + static_cast<size_t>(r / scale * block + c / scale) * plane;
            std::copy(from, from + plane, out);
        }
}

class DummyRequest final : public clv::InferRequest {
public:
    DummyRequest(const TensorShape &shape, size_t output, clv_layout layout, int scale, float shift,
                 const Options &options, std::atomic<int> &counter)
        : shape_(shape), layout_(layout), scale_(scale), shift_(shift), options_(options), counter_(counter),
          input_(shape.count()), output_(output) {}

    std::span<float> input() override { return input_; }
    const void *output() override { return output_.data(); }
    void start() override {
        const int number = ++counter_;
        const auto launch = options_.delay_ms ? std::launch::async : std::launch::deferred;
        done_ = std::async(launch, [this, number] { run(number); });
    }
    bool ready() override {
        return !options_.delay_ms || done_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    }
    void wait() override { done_.get(); }

private:
    void run(int number) {
        if (options_.delay_ms)
            std::this_thread::sleep_for(std::chrono::milliseconds(options_.delay_ms));
        if (number == options_.fail_at)
            throw Error(CLV_ERR_INFERENCE, "inference " + std::to_string(number) + " failed as device=fail=" +
                                               std::to_string(number) + " of backend dummy asks");
        enlarge();
        if (shift_ != 0.0F)
            for (float &value : output_)
                value -= shift_;
    }

    void paint() {
        const auto width = static_cast<size_t>(shape_.width);
        const size_t plane = static_cast<size_t>(shape_.height) * width;
        const float *hole = input_.data() + 6 * plane;
        std::copy(input_.data(), input_.data() + 6 * plane, output_.data());
        for (size_t i = 0; i < plane; i++) {
            if (hole[i] == 0.0F)
                continue;
            for (size_t c = 0; c < 4; c++) {
                const size_t column = 2 * (i % width) + c % 2;
                output_[c * plane + i] =
                    (static_cast<float>(column) + 0.5F) / static_cast<float>(2 * width) - 0.5F;
            }
            output_[4 * plane + i] = -kTint;
            output_[5 * plane + i] = kTint;
        }
    }

    void enlarge() {
        if (layout_ == CLV_LAYOUT_YUV420_S2D_MASK) {
            paint();
            return;
        }
        if (layout_ != CLV_LAYOUT_YUV420_S2D) {
            replicate(input_.data(), output_.data(), shape_, scale_);
            return;
        }
        const size_t plane = static_cast<size_t>(shape_.height * shape_.width);
        const auto s2 = static_cast<size_t>(scale_) * static_cast<size_t>(scale_);
        replicate_block(input_.data(), output_.data(), plane, 2, scale_);
        replicate_block(input_.data() + 4 * plane, output_.data() + 4 * s2 * plane, plane, 1, scale_);
        replicate_block(input_.data() + 5 * plane, output_.data() + 5 * s2 * plane, plane, 1, scale_);
    }

    const TensorShape shape_;
    const clv_layout layout_;
    const int scale_;
    const float shift_;
    const Options options_;
    std::atomic<int> &counter_;
    std::vector<float> input_;
    std::vector<float> output_;
    std::future<void> done_; // last: its destructor waits for the thread that uses the rest
};

TensorShape output_of(const clv::CompileRequest &request, int scale) {
    const TensorShape &input = request.input;
    if (request.layout == CLV_LAYOUT_YUV420_S2D_MASK)
        return {6, input.height, input.width};
    if (request.layout == CLV_LAYOUT_YUV420_S2D)
        return {input.channels * scale * scale, input.height, input.width};
    return {input.channels, input.height * scale, input.width * scale};
}

int scale_of(const clv::CompileRequest &request) {
    return request.scale ? request.scale : 2;
}

float shift_of(const clv::CompileRequest &request) {
    return request.strength.value_or(0.0F) * kShift;
}

void check_precision(const clv::CompileRequest &request) {
    if (request.precision != CLV_PRECISION_AUTO && request.precision != CLV_PRECISION_FP32)
        throw Error(CLV_ERR_UNSUPPORTED, "backend dummy has precision=fp32 only");
}

class DummyModel final : public clv::CompiledModel {
public:
    explicit DummyModel(const clv::CompileRequest &request)
        : input_(request.input), layout_(request.layout), scale_(scale_of(request)),
          output_(output_of(request, scale_)), shift_(shift_of(request)), threads_(request.threads),
          options_(parse_device(request.device)) {
        check_precision(request);
    }
    TensorShape output() const override { return output_; }
    clv_precision precision() const override { return CLV_PRECISION_FP32; }
    int threads() const override { return threads_; }
    uint64_t activation_bytes() const override {
        return static_cast<uint64_t>(options_.scratch) * static_cast<uint64_t>(input_.height * input_.width);
    }
    std::unique_ptr<clv::InferRequest> create_request() override {
        return std::make_unique<DummyRequest>(input_, output().count(), layout_, scale_, shift_, options_,
                                              counter_);
    }

private:
    const TensorShape input_;
    const clv_layout layout_;
    const int scale_;
    const TensorShape output_;
    const float shift_;
    const int threads_;
    const Options options_;
    std::atomic<int> counter_ = 0;
};

class DummyBackend final : public clv::Backend {
public:
    std::string runtime() const override { return "dummy (nearest neighbour, for tests)"; }
    std::unique_ptr<clv::CompiledModel> compile(const clv::CompileRequest &request) override {
        return std::make_unique<DummyModel>(request);
    }
#ifdef CLARIVID_DUMMY_CUDA
    bool suits_tensors(const clv::CompileRequest &request,
                       const clv::cuda::Place & /*place*/) const override {
        const int64_t largest = parse_device(request.device).largest;
        if (largest && (request.input.height > largest || request.input.width > largest))
            return false;
        return true;
    }
    std::optional<TensorShape> largest_input(const clv::CompileRequest &request,
                                             const clv::cuda::Place & /*place*/) const override {
        const int64_t largest = parse_device(request.device).largest;
        if (!largest)
            return std::nullopt;
        return TensorShape{request.input.channels, std::min(request.input.height, largest),
                           std::min(request.input.width, largest)};
    }
    std::unique_ptr<clv::TensorModel> compile_tensors(const clv::CompileRequest &request,
                                                      const clv::cuda::Place &place) override {
        check_precision(request);
        clv::dummy::Net net;
        net.scale = scale_of(request);
        net.input = request.input;
        net.output = output_of(request, net.scale);
        net.paints = request.layout == CLV_LAYOUT_YUV420_S2D_MASK;
        net.enlarges = request.layout == CLV_LAYOUT_Y || request.layout == CLV_LAYOUT_RGB;
        net.shift = shift_of(request);
        net.tint = kTint;
        net.fail_at = parse_device(request.device).fail_at;
        net.scratch = static_cast<size_t>(parse_device(request.device).scratch) *
                      static_cast<size_t>(request.input.height * request.input.width);
        return clv::dummy::make_device_net(net, place);
    }
#endif
};

} // namespace

clv::Backend *clarivid_backend_create(uint32_t abi) {
    return abi == clv::kBackendAbi ? new DummyBackend : nullptr;
}
