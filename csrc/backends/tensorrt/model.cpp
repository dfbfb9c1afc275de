// SPDX-License-Identifier: BSD-2-Clause
// One execution context for a session, whatever its number of pictures in flight: all of them are enqueued on
// one stream, which runs them one after the other, so that a second context could overlap with nothing and
// would cost a second set of activations. Sessions on one stream share theirs (scratch.h).
//
// TensorRT itself only ever sees a stream of the model's own: on the default stream, which FFmpeg's frames
// come with, enqueueV3() waits for the whole device, and cannot be recorded. Events order the two streams.
// After the first picture the work is a CUDA graph for the addresses of input and output, which a session
// never changes, launched on the caller's stream: one launch instead of one a layer.
#include "backends/tensorrt/model.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "backends/tensorrt/graph.h"
#include "backends/tensorrt/library.h"
#include "backends/tensorrt/logger.h"
#include "backends/tensorrt/scratch.h"
#include "cuda/driver.h"
#include "pixels/half.h"

namespace clv::tensorrt {
namespace {

constexpr const char *kInput = "input";
constexpr const char *kOutput = "output";
constexpr const char *kStrength = "strength";
constexpr int kHasEngineStat = 101100; ///< the first TensorRT whose engines tell the size of their weights

template <class T>
struct Delete {
    void operator()(T *object) const { delete object; }
};
template <class T>
using Owned = std::unique_ptr<T, Delete<T>>;

/// As `clarivid engines build` asks for them (python/clarivid/engines/targets.py).
Identity identity_of(const cuda::Place &place) {
    const cuda::Current current(place);
    const cuda::DeviceInfo info = cuda::device_info(place);
    CUdevice device = 0;
    cuda::check(cuda::driver().cuCtxGetDevice(&device), "name its device");
    const auto attribute = [&](CUdevice_attribute which) {
        int value = 0;
        cuda::check(cuda::driver().cuDeviceGetAttribute(&value, which, device), "describe its device");
        return value;
    };
    size_t available = 0, total = 0;
    cuda::check(cuda::driver().cuMemGetInfo(&available, &total), "tell its memory");
    return {info.sm,
            info.name,
            info.multiprocessors,
            static_cast<int>(total >> 20),
            attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH),
            attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)};
}

const char *name_of(nvinfer1::DataType type) {
    switch (type) {
    case nvinfer1::DataType::kFLOAT:
        return "f32";
    case nvinfer1::DataType::kHALF:
        return "f16";
    case nvinfer1::DataType::kBF16:
        return "bf16";
    case nvinfer1::DataType::kINT8:
        return "int8";
    case nvinfer1::DataType::kUINT8:
        return "uint8";
    case nvinfer1::DataType::kINT32:
        return "int32";
    default:
        return "of another type";
    }
}

std::string mib(uint64_t bytes) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
    return text.data();
}

struct Memory {
    size_t free = 0, total = 0;
};
Memory memory_now() {
    Memory found;
    cuda::check(cuda::driver().cuMemGetInfo(&found.free, &found.total), "tell its memory");
    return found;
}

/// What the input "strength" holds. It lies where the engine wants it: on the device, or in host memory.
class Strength {
public:
    Strength() = default;
    Strength(const cuda::Place &place, float value, bool half, bool on_host) {
        const uint16_t rounded = pixels::f16_from_f32(value);
        const void *bytes = half ? static_cast<const void *>(&rounded) : &value;
        const size_t count = half ? sizeof rounded : sizeof value;
        std::memcpy(host_.data(), bytes, count);
        if (on_host)
            return;
        device_ = cuda::Buffer(place, host_.size());
        cuda::copy_to_device_async(place, device_.get(), bytes, count);
    }
    void *data() { return device_ ? device_.get() : host_.data(); }

private:
    alignas(16) std::array<std::byte, 16> host_{};
    cuda::Buffer device_;
};

class Model final : public TensorModel {
public:
    Model(const CompileRequest &request, const cuda::Place &place)
        : name_(request.model_name), place_(place), sink_(std::make_shared<Sink>(request.log)),
          scratch_(Scratch::of(place)) {
        const EngineFile file = find_engine(wanted_of(request, place), engine_folders());
        precision_ = file.precision;
        path_ = file.path.string();
        const cuda::Current current(place);
        const Listening listening(sink_);
        try {
            load(file);
            check_tensors();
            own_ = cuda::Stream(place);
            context_.reset(
                engine_->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
            if (!context_)
                throw Error(CLV_ERR_NO_MEMORY, "TensorRT could not prepare " + path_ + sink_->reason());
            set_shapes(request.input);
            if (takes_strength_)
                strength_ =
                    Strength(place, request.strength.value_or(1.0F),
                             engine_->getTensorDataType(kStrength) == nvinfer1::DataType::kHALF,
                             engine_->getTensorLocation(kStrength) == nvinfer1::TensorLocation::kHOST);
            prepare_memory(request.input, file.bytes.size());
        } catch (...) {
            give_up();
            throw;
        }
    }

    ~Model() override {
        for (const cuda::Place &each : {place_, cuda::Place{place_.context, own_.get(), place_.counters}}) {
            try {
                cuda::synchronise(each); // the work uses what goes now
            } catch (const Error &error) {
                sink_->say(CLV_LOG_WARNING,
                           "model " + name_ + ": its last work on the GPU failed: " + error.what());
                break;
            }
        }
        try {
            const cuda::Current current(place_);
            const Listening listening(sink_);
            give_up();
        } catch (const std::exception &) {
            // The context is gone, and with it all that these hold on the device; to destroy them would be to
            // use it.
            static_cast<void>(context_.release());
            static_cast<void>(engine_.release());
            static_cast<void>(runtime_.release());
        }
    }
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    TensorShape output() const override { return output_; }
    ElementType input_type() const override { return input_type_; }
    ElementType output_type() const override { return output_type_; }
    clv_precision precision() const override { return precision_; }
    uint64_t device_bytes() const override { return weights_ + scratch_->memory().bytes(); }
    std::string text() const override { return "engine " + path_; }

    void enqueue(const void *in, void *out) override {
        const std::lock_guard lock(scratch_->mutex());
        const cuda::Current current(place_);
        const Listening listening(sink_);
        take_memory();
        if (graph_ && in == in_ && out == out_) {
            graph_.launch(cuda::stream_of(place_));
            return;
        }
        if (!context_->setTensorAddress(kInput, const_cast<void *>(in)) ||
            !context_->setTensorAddress(kOutput, out) ||
            (takes_strength_ && !context_->setTensorAddress(kStrength, strength_.data())))
            fail();
        run_between_events();
        // That was the warm-up: layers allocate and choose in it.
        if (!graph_ && !plain_)
            record(in, out);
    }

private:
    void load(const EngineFile &file) {
        const Library &trt = library();
        if (const Memory memory = memory_now(); memory.free < file.bytes.size())
            throw no_memory("its weights", file.bytes.size(), memory);
        // A library older than the headers is asked for no more than it has (library.h).
        void *made = trt.create_runtime(&logger(), std::min<int>(trt.number, NV_TENSORRT_VERSION));
        // Where CUDA does not start for it, such as on a driver that is too old, the pointer is neither null
        // nor one to anything (10.16): what it said counts.
        const std::string why = sink_->reason();
        if (!made || !why.empty())
            throw Error(CLV_ERR_BACKEND, "TensorRT " + trt.version + " does not start" + why +
                                             ": is the driver new enough for it?");
        runtime_.reset(static_cast<nvinfer1::IRuntime *>(made));
        // A version-compatible engine brings code for the host; its digest has been checked.
        runtime_->setEngineHostCodeAllowed(file.version_compatible);
        engine_.reset(runtime_->deserializeCudaEngine(file.bytes.data(), file.bytes.size()));
        if (!engine_)
            throw Error(CLV_ERR_BACKEND,
                        "TensorRT " + trt.version + " refuses the engine " + path_ + sink_->reason() +
                            ": remove it with its .json, and build it anew with 'clarivid engines build " +
                            name_ + " --for this --runtime tensorrt'");
        weights_ = file.bytes.size();
        if (trt.number >= kHasEngineStat)
            if (const int64_t told = engine_->getEngineStat(nvinfer1::EngineStat::kTOTAL_WEIGHTS_SIZE);
                told >= 0)
                weights_ = static_cast<uint64_t>(told);
    }

    [[noreturn]] void refuse(const std::string &why) const {
        throw Error(CLV_ERR_UNSUPPORTED,
                    "the engine " + path_ + " is no net of clarivid's: " + why +
                        "; remove it with its .json, and build one with 'clarivid engines build " + name_ +
                        " --for this --runtime tensorrt'");
    }

    /// Names, directions, types and formats are those that core counts on.
    void check_tensors() {
        bool input = false, output = false;
        for (int i = 0; i < engine_->getNbIOTensors(); i++) {
            const char *name = engine_->getIOTensorName(i);
            const std::string tensor = name ? name : "";
            const bool given = engine_->getTensorIOMode(tensor.c_str()) == nvinfer1::TensorIOMode::kINPUT;
            if (tensor == kInput && given)
                input = true;
            else if (tensor == kOutput && !given)
                output = true;
            else if (tensor == kStrength && given)
                takes_strength_ = true;
            else
                refuse(std::string("it has the ") + (given ? "input" : "output") + " \"" + tensor + "\"");
            if (engine_->getTensorFormat(tensor.c_str()) != nvinfer1::TensorFormat::kLINEAR)
                refuse("its tensor \"" + tensor + "\" is not stored row by row, channel by channel (" +
                       text_of(engine_->getTensorFormatDesc(tensor.c_str())) + ")");
            if (tensor != kStrength &&
                engine_->getTensorLocation(tensor.c_str()) != nvinfer1::TensorLocation::kDEVICE)
                refuse("its tensor \"" + tensor + "\" lies in host memory");
            type_of(tensor);
        }
        if (!input || !output)
            refuse(std::string("it has no ") + (input ? "output \"output\"" : "input \"input\""));
        input_type_ = type_of(kInput);
        output_type_ = type_of(kOutput);
    }

    static std::string text_of(const char *text) { return text ? text : "no description"; }

    ElementType type_of(const std::string &tensor) const {
        const nvinfer1::DataType type = engine_->getTensorDataType(tensor.c_str());
        if (type == nvinfer1::DataType::kFLOAT)
            return ElementType::f32;
        if (type != nvinfer1::DataType::kHALF)
            refuse("its tensor \"" + tensor + "\" is " + name_of(type) + ", not f32 or f16");
        return ElementType::f16;
    }

    void set_shapes(const TensorShape &in) {
        if (!context_->setInputShape(kInput, nvinfer1::Dims4(1, in.channels, in.height, in.width)))
            throw Error(CLV_ERR_UNSUPPORTED,
                        "the engine " + path_ + " does not take a tensor of " + in.text() + sink_->reason());
        if (takes_strength_ && !context_->setInputShape(kStrength, nvinfer1::Dims{1, {1}}))
            refuse("its strength is not one value" + sink_->reason());
        const nvinfer1::Dims out = context_->getTensorShape(kOutput);
        if (out.nbDims != 4 || out.d[0] != 1 || out.d[1] < 1 || out.d[2] < 1 || out.d[3] < 1)
            throw Error(CLV_ERR_INVALID_MODEL, "the engine " + path_ + " gives no picture" + sink_->reason());
        output_ = {out.d[1], out.d[2], out.d[3]};
    }

    Error no_memory(const std::string &what, uint64_t asked, const Memory &memory) const {
        return {
            CLV_ERR_NO_MEMORY,
            "model " + name_ + " needs " + std::to_string(asked) + " bytes of device memory for " + what +
                ", and " + std::to_string(memory.free) + " of " + std::to_string(memory.total) +
                " are free: take smaller tiles (tile=WIDTHxHEIGHT) or pictures, fewer filters and streams on "
                "this GPU, or fewer surfaces of the decoder"};
    }

    /// Takes what this size needs, not what the profile's largest would, and says so before the first
    /// picture.
    void prepare_memory(const TensorShape &in, uint64_t file_bytes) {
        const std::lock_guard lock(scratch_->mutex());
        activations_ = context_->updateDeviceMemorySizeForShapes();
        if (activations_ == 0)
            if (const std::string why = sink_->reason(); !why.empty())
                throw Error(CLV_ERR_BACKEND, "TensorRT cannot plan the memory of " + path_ + why);
        const Memory memory = memory_now();
        const size_t there = scratch_->memory().bytes();
        const std::string what = "the activations of 1 picture of " + in.text();
        if (activations_ > there && activations_ > memory.free + there)
            throw no_memory(what, activations_, {memory.free + there, memory.total});
        const bool shared = there > 0;
        try {
            take_memory();
        } catch (const Error &error) {
            if (error.status() == CLV_ERR_NO_MEMORY)
                throw no_memory(what, activations_, memory);
            throw;
        }
        sink_->say(CLV_LOG_INFO,
                   "model " + name_ + " takes " + mib(weights_) + " of device memory for weights (" +
                       mib(file_bytes) + " of engine) and " + mib(activations_) + " for activations of " +
                       in.text() + (shared ? ", shared with the other nets on this stream" : "") + "; " +
                       mib(memory_now().free) + " of " + mib(memory.total) + " stay free");
    }

    /// The scratch may have moved since, or never have been ours. Its mutex is held.
    void take_memory() {
        scratch_->reserve(activations_);
        const cuda::Buffer &memory = scratch_->memory();
        if (memory.address() == address_ || activations_ == 0)
            return;
        graph_.reset(); // which knows the old address
        address_ = memory.address();
        context_->setDeviceMemoryV2(memory.get(), static_cast<int64_t>(memory.bytes()));
    }

    bool run() { return context_->enqueueV3(reinterpret_cast<cudaStream_t>(own_.get())); }

    [[noreturn]] void fail() {
        throw Error(CLV_ERR_INFERENCE, "TensorRT failed on model " + name_ + sink_->reason());
    }

    void run_between_events() {
        if (!before_) {
            before_ = cuda::Event(place_);
            after_ = cuda::Event(place_);
        }
        before_.record(cuda::stream_of(place_));
        before_.hold(own_.get());
        const bool good = run();
        after_.record(own_.get()); // also of what was enqueued before it failed
        after_.hold(cuda::stream_of(place_));
        if (!good)
            fail();
    }

    void record(const void *in, void *out) {
        sink_->quiet(true);
        plain_ = !graph_.record(own_.get(), [this] { return run(); });
        sink_->quiet(false);
        if (plain_)
            sink_->say(CLV_LOG_VERBOSE, "model " + name_ + " cannot be recorded as a CUDA graph" +
                                            sink_->reason() + ": its layers are enqueued one by one");
        else
            sink_->say(CLV_LOG_VERBOSE, "model " + name_ + " is recorded as a CUDA graph");
        in_ = in;
        out_ = out;
    }

    /// With the context current, from the last to the first.
    void give_up() {
        graph_.reset();
        context_.reset();
        engine_.reset();
        runtime_.reset();
    }

    const std::string name_;
    const cuda::Place place_;
    const std::shared_ptr<Sink> sink_;
    const std::shared_ptr<Scratch> scratch_;
    std::string path_;
    clv_precision precision_ = CLV_PRECISION_FP16;
    TensorShape output_;
    ElementType input_type_ = ElementType::f16;
    ElementType output_type_ = ElementType::f16;
    uint64_t weights_ = 0;
    size_t activations_ = 0;
    CUdeviceptr address_ = 0; ///< of the scratch that the context and the graph know
    bool takes_strength_ = false;
    Strength strength_;
    cuda::Stream own_;
    cuda::Event before_, after_;
    Owned<nvinfer1::IRuntime> runtime_;
    Owned<nvinfer1::ICudaEngine> engine_;
    Owned<nvinfer1::IExecutionContext> context_;
    Graph graph_;
    bool plain_ = false; ///< the work cannot be recorded
    const void *in_ = nullptr;
    const void *out_ = nullptr;
};

} // namespace

Wanted wanted_of(const CompileRequest &request, const cuda::Place &place) {
    const Library &trt = library();
    const bool plain = request.layout == CLV_LAYOUT_Y || request.layout == CLV_LAYOUT_RGB;
    return {request.model_name, request.onnx_digests, request.input, plain ? 1 : 2,      request.precision,
            "tensorrt",         trt.version,          trt.lean,      identity_of(place), request.sharpness};
}

std::unique_ptr<TensorModel> load_model(const CompileRequest &request, const cuda::Place &place) {
    return std::make_unique<Model>(request, place);
}

} // namespace clv::tensorrt
