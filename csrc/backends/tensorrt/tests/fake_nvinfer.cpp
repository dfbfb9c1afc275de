// SPDX-License-Identifier: BSD-2-Clause
// A libnvinfer.so.10 for tests on the emulator: "engines" are JSON, the net enlarges a picture without
// interpolation, and it is strict: what TensorRT lets pass and then goes wrong ends the program.
//
// Engine: {"fake": 1, "version": "10.14.1.48", "type": "f16", "channels": 6, "scale": 2, "least": [1,6,..],
//          "largest": [..], "weights": bytes on the device, "activations": bytes for each value of the input}
// and, where a test asks for them: "strength": "device" or "host"; "format": "chw16"; "io_type": "bf16";
// "input": another name; "host_code": true; "capture": false; "say": [severity, text]; "fail": a message.
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include <cuda.h>

#include "pixels/half.h"
#include "stubs.h"

using nvinfer1::DataType;
using nvinfer1::Dims;
using Severity = nvinfer1::ILogger::Severity;
using Json = nlohmann::json;

namespace {

[[noreturn]] void misuse(const std::string &what) {
    std::fprintf(stderr, "fake TensorRT: misused: %s\n", what.c_str());
    std::abort();
}

/// As the driver has it: cuda.h's names carry versions.
template <class F>
F *driver(const char *name) {
    static void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    void *found = library ? dlsym(library, name) : nullptr;
    if (!found)
        misuse(std::string("no driver has been loaded: ") + name);
    return reinterpret_cast<F *>(found); // NOLINT
}
#define CU_TEXT(name) #name
#define CU_NAME(name) CU_TEXT(name)
#define CU(name) driver<decltype(::name)>(CU_NAME(name))

CUcontext current() {
    CUcontext found = nullptr;
    CU(cuCtxGetCurrent)(&found);
    return found;
}

int alive = 0;      ///< objects
int enqueued = 0;   ///< calls of enqueueV3(), recorded ones included
int on_default = 0; ///< ... on the default stream, where TensorRT waits for the device

struct Object {
    explicit Object(const char *name) : name_(name), context_(current()) {
        if (!context_)
            misuse(std::string("made without a CUDA context: ") + name);
        alive++;
    }
    ~Object() {
        if (current() != context_)
            misuse(std::string("destroyed without its CUDA context: ") + name_);
        if (children != 0)
            misuse(std::string("destroyed before what was made of it: ") + name_);
        alive--;
    }
    Object(const Object &) = delete;
    Object &operator=(const Object &) = delete;
    int children = 0;

private:
    const char *name_;
    CUcontext context_;
};

Dims dims_of(const Json &json) {
    Dims dims{};
    dims.nbDims = static_cast<int32_t>(json.size());
    for (size_t i = 0; i < json.size(); i++)
        dims.d[i] = json[i];
    return dims;
}

int64_t volume(const Dims &dims) {
    int64_t count = 1;
    for (int i = 0; i < dims.nbDims; i++)
        count *= dims.d[i];
    return count;
}

/// What one enqueueV3() does, in two steps: input to activations, activations to output.
struct Work {
    const std::byte *input;
    std::byte *scratch, *output;
    const std::byte *strength;
    Dims shape;
    int64_t scale;
    bool half;

    float read(const std::byte *at) const {
        if (half) {
            uint16_t value = 0;
            std::memcpy(&value, at, sizeof value);
            return clv::pixels::f32_from_f16(value);
        }
        float value = 0;
        std::memcpy(&value, at, sizeof value);
        return value;
    }
    void write(std::byte *at, float value) const {
        const uint16_t rounded = clv::pixels::f16_from_f32(value);
        if (half)
            std::memcpy(at, &rounded, sizeof rounded);
        else
            std::memcpy(at, &value, sizeof value);
    }
    size_t element() const { return half ? 2 : 4; }

    void first() const { std::memcpy(scratch, input, static_cast<size_t>(volume(shape)) * element()); }
    void second() const {
        const float factor = strength ? 1 - read(strength) / 2 : 1.0F;
        const int64_t plane = shape.d[2] * shape.d[3], block = 2 * scale;
        if (shape.d[1] != 6) { // luma or RGB: rows and columns are repeated
            const int64_t width = shape.d[3] * scale;
            for (int64_t i = 0; i < volume(shape) * scale * scale; i++)
                write(output + static_cast<size_t>(i) * element(),
                      factor * read(scratch +
                                    static_cast<size_t>(i / width / scale * shape.d[3] + i % width / scale) *
                                        element()));
            return;
        }
        const auto copy = [&](int64_t to, int64_t from) {
            for (int64_t i = 0; i < plane; i++)
                write(output + static_cast<size_t>(to * plane + i) * element(),
                      factor * read(scratch + static_cast<size_t>(from * plane + i) * element()));
        };
        for (int64_t r = 0; r < block; r++)
            for (int64_t c = 0; c < block; c++)
                copy(r * block + c, r / scale * 2 + c / scale);
        for (int64_t i = 0; i < 2 * scale * scale; i++)
            copy(block * block + i, 4 + i / (scale * scale));
    }
};

class Engine;

class Context final : public nvinfer1::apiv::VExecutionContextStub, public nvinfer1::IExecutionContext {
public:
    Context(const Json &json, nvinfer1::ILogger &log, Object &engine)
        : json_(json), log_(log), engine_(engine) {
        mImpl = this;
        engine_.children++;
    }
    ~Context() noexcept override {
        if (lazy_)
            CU(cuMemFree)(lazy_);
        engine_.children--;
    }
    nvinfer1::IExecutionContext *getPImpl() noexcept override { return this; }

    bool setInputShape(const char *name, const Dims &dims) noexcept override {
        if (std::string(name) == "strength")
            return dims.nbDims == 1 && dims.d[0] == 1;
        const Dims least = dims_of(json_["least"]), largest = dims_of(json_["largest"]);
        for (int i = 0; i < 4; i++)
            if (dims.nbDims != 4 || dims.d[i] < least.d[i] || dims.d[i] > largest.d[i]) {
                log_.log(Severity::kERROR, "the shape satisfies no optimization profile");
                return false;
            }
        shape_ = dims;
        return true;
    }
    Dims getTensorShape(const char *name) const noexcept override {
        if (std::string(name) != "output" || shape_.nbDims != 4)
            return Dims{-1, {}};
        const int64_t scale = json_["scale"];
        if (shape_.d[1] != 6)
            return {4, {1, shape_.d[1], scale * shape_.d[2], scale * shape_.d[3]}};
        return {4, {1, 6 * scale * scale, shape_.d[2], shape_.d[3]}};
    }
    size_t updateDeviceMemorySizeForShapes() noexcept override {
        return json_["activations"].get<size_t>() * static_cast<size_t>(volume(shape_));
    }
    void setDeviceMemoryV2(void *memory, int64_t size) noexcept override {
        memory_ = static_cast<std::byte *>(memory);
        memory_size_ = size;
    }
    bool setTensorAddress(const char *name, void *data) noexcept override {
        addresses_[name] = static_cast<std::byte *>(data);
        return true;
    }
    bool enqueueV3(cudaStream_t handle) noexcept override {
        auto *stream = reinterpret_cast<CUstream>(handle);
        if (json_.contains("fail")) {
            log_.log(Severity::kERROR, json_["fail"].get<std::string>().c_str());
            return false;
        }
        const bool with_strength = json_.contains("strength");
        for (const std::string name : {"input", "output", "strength"})
            if (!addresses_[name] && (name != "strength" || with_strength))
                misuse("enqueueV3() without the address of " + name);
        if (memory_size_ < static_cast<int64_t>(updateDeviceMemorySizeForShapes()))
            misuse("enqueueV3() without memory for activations");
        enqueued++;
        on_default += stream == nullptr ? 1 : 0;
        CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
        CU(cuStreamIsCapturing)(stream, &status);
        if (status == CU_STREAM_CAPTURE_STATUS_NONE && last_ && last_ != stream &&
            CU(cuStreamQuery)(last_) != CUDA_SUCCESS)
            misuse("one context on two streams at once");
        // The first run allocates; one that cannot be captured, every run.
        if (!lazy_ || !json_.value("capture", true)) {
            CUdeviceptr more = 0;
            const bool good = CU(cuMemAlloc)(&more, 512) == CUDA_SUCCESS;
            if (good && lazy_)
                CU(cuMemFree)(std::exchange(lazy_, 0));
            lazy_ = good ? more : lazy_;
            if (!good) {
                log_.log(Severity::kERROR, "cannot allocate while a stream is captured");
                return false;
            }
        }
        const bool on_host = with_strength && json_["strength"] == "host";
        if (on_host)
            std::memcpy(host_strength_, addresses_["strength"], sizeof(float));
        work_.push_back(std::make_unique<Work>(Work{addresses_["input"], memory_, addresses_["output"],
                                                    !with_strength ? nullptr
                                                    : on_host      ? host_strength_
                                                                   : addresses_["strength"],
                                                    shape_, json_["scale"], json_["type"] == "f16"}));
        Work *work = work_.back().get();
        CU(cuLaunchHostFunc)
        (
            stream, [](void *data) { static_cast<Work *>(data)->first(); }, work);
        CU(cuLaunchHostFunc)
        (
            stream, [](void *data) { static_cast<Work *>(data)->second(); }, work);
        last_ = stream;
        return true;
    }

private:
    const Json json_;
    nvinfer1::ILogger &log_;
    Object &engine_;
    Object self_{"context"};
    Dims shape_{};
    std::byte *memory_ = nullptr;
    int64_t memory_size_ = 0;
    std::map<std::string, std::byte *> addresses_;
    std::deque<std::unique_ptr<Work>> work_;
    std::byte host_strength_[sizeof(float)] = {};
    CUstream last_ = nullptr;
    CUdeviceptr lazy_ = 0;
};

class Engine final : public nvinfer1::apiv::VCudaEngineStub, public nvinfer1::ICudaEngine {
public:
    Engine(Json json, nvinfer1::ILogger &log, Object &runtime, CUdeviceptr weights)
        : json_(std::move(json)), log_(log), runtime_(runtime), weights_(weights) {
        mImpl = this;
        runtime_.children++;
        names_ = {json_.value("input", "input"), "output"};
        if (json_.contains("strength"))
            names_.emplace_back("strength");
    }
    ~Engine() noexcept override {
        CU(cuMemFree)(weights_);
        runtime_.children--;
    }
    nvinfer1::ICudaEngine *getPImpl() noexcept override { return this; }

    nvinfer1::IExecutionContext *
    createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy strategy) noexcept override {
        if (strategy != nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED)
            misuse("createExecutionContext() with memory for the profile's largest picture");
        return new (std::nothrow) Context(json_, log_, self_);
    }
    int32_t getNbIOTensors() const noexcept override { return static_cast<int32_t>(names_.size()); }
    const char *getIOTensorName(int32_t index) const noexcept override {
        return index < getNbIOTensors() ? names_[static_cast<size_t>(index)].c_str() : nullptr;
    }
    nvinfer1::TensorIOMode getTensorIOMode(const char *name) const noexcept override {
        if (std::find(names_.begin(), names_.end(), name) == names_.end())
            return nvinfer1::TensorIOMode::kNONE;
        return std::string(name) == "output" ? nvinfer1::TensorIOMode::kOUTPUT
                                             : nvinfer1::TensorIOMode::kINPUT;
    }
    DataType getTensorDataType(const char *) const noexcept override {
        const std::string type = json_.value("io_type", json_["type"].get<std::string>());
        return type == "f16" ? DataType::kHALF : type == "bf16" ? DataType::kBF16 : DataType::kFLOAT;
    }
    nvinfer1::TensorFormat getTensorFormat(const char *) const noexcept override {
        return json_.contains("format") ? nvinfer1::TensorFormat::kCHW16 : nvinfer1::TensorFormat::kLINEAR;
    }
    const char *getTensorFormatDesc(const char *) const noexcept override { return "Channel major FP16"; }
    nvinfer1::TensorLocation getTensorLocation(const char *name) const noexcept override {
        return std::string(name) == "strength" && json_["strength"] == "host"
                   ? nvinfer1::TensorLocation::kHOST
                   : nvinfer1::TensorLocation::kDEVICE;
    }
    int64_t getEngineStat(nvinfer1::EngineStat) const noexcept override { return json_["weights"]; }

private:
    const Json json_;
    nvinfer1::ILogger &log_;
    Object &runtime_;
    Object self_{"engine"};
    const CUdeviceptr weights_;
    std::vector<std::string> names_;
};

int number(const char *variable, int otherwise) {
    const char *text = std::getenv(variable);
    return text ? std::atoi(text) : otherwise;
}

class Runtime final : public nvinfer1::apiv::VRuntimeStub, public nvinfer1::IRuntime {
public:
    explicit Runtime(nvinfer1::ILogger &log) : log_(log) { mImpl = this; }
    nvinfer1::IRuntime *getPImpl() noexcept override { return this; }
    void setEngineHostCodeAllowed(bool allowed) noexcept override { host_code_ = allowed; }

    nvinfer1::ICudaEngine *deserializeCudaEngine(const void *blob, size_t size) noexcept override {
        const auto *text = static_cast<const char *>(blob);
        Json json = Json::parse(text, text + size, nullptr, false);
        if (json.is_discarded() || json.value("fake", 0) != 1)
            return refuse("magic tag does not match");
        if (json.value("host_code", false) && !host_code_)
            return refuse("engines with host code are not allowed");
        if (json.contains("say"))
            log_.log(static_cast<Severity>(json["say"][0].get<int>()),
                     json["say"][1].get<std::string>().c_str());
        CUdeviceptr weights = 0;
        if (CU(cuMemAlloc)(&weights, json["weights"]) != CUDA_SUCCESS)
            return refuse("out of memory for weights");
        return new (std::nothrow) Engine(std::move(json), log_, self_, weights);
    }

private:
    nvinfer1::ICudaEngine *refuse(const char *why) {
        log_.log(Severity::kERROR, why);
        return nullptr;
    }
    nvinfer1::ILogger &log_;
    Object self_{"runtime"};
    bool host_code_ = false;
};

} // namespace

namespace nvinfer1::apiv {
void unexpected(const char *method) noexcept {
    misuse(std::string("it has no ") + method);
}
} // namespace nvinfer1::apiv

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int32_t getInferLibVersion() noexcept;
EXPORT int32_t getInferLibVersion() noexcept {
    return number("CLARIVID_FAKE_TENSORRT", 101401);
}
EXPORT int32_t getInferLibBuildVersion() noexcept;
EXPORT int32_t getInferLibBuildVersion() noexcept {
    return 48;
}
EXPORT void *createInferRuntime_INTERNAL(void *logger, int32_t version) noexcept {
    if (version > getInferLibVersion())
        misuse("asked for a later release than this is");
    static void *first = logger;
    if (first != logger)
        misuse("a second logger: TensorRT keeps the first");
    return static_cast<nvinfer1::IRuntime *>(new (std::nothrow)
                                                 Runtime(*static_cast<nvinfer1::ILogger *>(logger)));
}
/// For tests: objects that were not destroyed, and calls so far.
EXPORT int clarivid_fake_count(const char *what);
EXPORT int clarivid_fake_count(const char *what) {
    const std::string name = what;
    return name == "alive" ? alive : name == "enqueued" ? enqueued : on_default;
}
