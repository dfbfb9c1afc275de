// SPDX-License-Identifier: BSD-2-Clause
// The TensorRT backend: runs engines that `clarivid engines` built for this GPU, on tensors in device memory.
// It builds nothing. CUDA is probed before any call of TensorRT: without a driver those crash.
//
// After the first picture the work is a CUDA graph, recorded once for the addresses of input and output,
// which a session never changes: one launch instead of one a layer.
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "backends/tensorrt/engine_files.h"
#include "backends/tensorrt/library.h"
#include "core/backend.h"
#include "cuda/driver.h"

namespace clv::tensorrt {
namespace {

constexpr const char *kInput = "input";
constexpr const char *kOutput = "output";
constexpr const char *kStrength = "strength";

/// TensorRT's talk goes to the log of the session; its errors are kept for our own sentences.
class Logger final : public nvinfer1::ILogger {
public:
    explicit Logger(std::function<void(clv_log_level, const std::string &)> log) : log_(std::move(log)) {}

    void log(Severity severity, const char *message) noexcept override {
        try {
            const std::lock_guard lock(mutex_);
            if (severity <= Severity::kERROR)
                error_ = message;
            if (log_)
                log_(level(severity), std::string("TensorRT: ") + message);
        } catch (...) { // no memory for a message
        }
    }
    /// " (what it said last)", or "".
    std::string reason() {
        const std::lock_guard lock(mutex_);
        return error_.empty() ? "" : " (" + error_ + ")";
    }

private:
    static clv_log_level level(Severity severity) {
        switch (severity) {
        case Severity::kINTERNAL_ERROR:
        case Severity::kERROR:
            return CLV_LOG_ERROR;
        case Severity::kWARNING:
            return CLV_LOG_WARNING;
        case Severity::kINFO:
            return CLV_LOG_VERBOSE;
        case Severity::kVERBOSE:
            break;
        }
        return CLV_LOG_DEBUG;
    }

    std::function<void(clv_log_level, const std::string &)> log_;
    std::mutex mutex_;
    std::string error_;
};

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

Wanted wanted_of(const CompileRequest &request, const cuda::Place &place) {
    return {request.model_name, request.onnx_digests, request.input,     request.precision,
            "tensorrt",         library().version,    identity_of(place)};
}

ElementType element_of(nvinfer1::DataType type, const std::string &tensor, const std::string &model) {
    if (type == nvinfer1::DataType::kFLOAT)
        return ElementType::f32;
    if (type == nvinfer1::DataType::kHALF)
        return ElementType::f16;
    throw Error(CLV_ERR_UNSUPPORTED, "the engine of model " + model + " has a tensor \"" + tensor +
                                         "\" that is neither f32 nor f16: export the model anew");
}

/// What enqueueV3() enqueues, recorded once.
class Graph {
public:
    explicit Graph(const cuda::Place &place) : place_(place) {}
    ~Graph() {
        if (!executable_)
            return;
        try {
            const cuda::Current current(place_);
            cuda::driver().cuGraphExecDestroy(executable_);
        } catch (const std::exception &) { // the context is gone, and the graph with it
        }
    }
    Graph(const Graph &) = delete;
    Graph &operator=(const Graph &) = delete;

    bool ready() const { return executable_ != nullptr; }
    void launch(CUstream stream) {
        cuda::check(cuda::driver().cuGraphLaunch(executable_, stream), "launch a graph", CLV_ERR_INFERENCE);
    }
    /// Records what `work` enqueues on the stream that it is given; false when it cannot be recorded.
    template <class Work>
    bool record(Work &&work) {
        const auto &driver = cuda::driver();
        CUstream side = nullptr;
        cuda::check(driver.cuStreamCreate(&side, CU_STREAM_NON_BLOCKING), "make a stream");
        CUgraph graph = nullptr;
        bool good = driver.cuStreamBeginCapture(side, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == CUDA_SUCCESS;
        if (good) {
            good = work(side);
            good = driver.cuStreamEndCapture(side, &graph) == CUDA_SUCCESS && good && graph;
        }
        good = good && driver.cuGraphInstantiateWithFlags(&executable_, graph, 0) == CUDA_SUCCESS;
        if (graph)
            driver.cuGraphDestroy(graph);
        driver.cuStreamDestroy(side);
        return good;
    }

private:
    cuda::Place place_;
    CUgraphExec executable_ = nullptr;
};

class TensorRtModel final : public TensorModel {
public:
    TensorRtModel(const CompileRequest &request, const cuda::Place &place)
        : name_(request.model_name), place_(place), logger_(request.log), graph_(place) {
        const Wanted wanted = wanted_of(request, place);
        EngineFile file = find_engine(wanted, engine_folders());
        precision_ = file.precision;
        path_ = file.path.string();
        const cuda::Current current(place);
        runtime_.reset(
            static_cast<nvinfer1::IRuntime *>(library().create_runtime(&logger_, NV_TENSORRT_VERSION)));
        if (!runtime_)
            throw Error(CLV_ERR_BACKEND,
                        "TensorRT " + library().version + " does not start" + logger_.reason());
        // What its version-compatible form needs; the digest has been checked.
        runtime_->setEngineHostCodeAllowed(library().lean);
        engine_.reset(runtime_->deserializeCudaEngine(file.bytes.data(), file.bytes.size()));
        if (!engine_)
            throw Error(CLV_ERR_BACKEND,
                        "TensorRT " + library().version + " refuses the engine " + path_ + logger_.reason() +
                            ": build it anew with 'clarivid engines build " + name_ + " --for this'");
        input_type_ = element_of(engine_->getTensorDataType(kInput), kInput, name_);
        output_type_ = element_of(engine_->getTensorDataType(kOutput), kOutput, name_);
        context_.reset(
            engine_->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
        if (!context_)
            throw Error(CLV_ERR_NO_MEMORY, "TensorRT could not prepare " + path_ + logger_.reason());
        const TensorShape &in = request.input;
        const nvinfer1::Dims4 shape(1, in.channels, in.height, in.width);
        if (!context_->setInputShape(kInput, shape))
            throw Error(CLV_ERR_UNSUPPORTED,
                        "the engine " + path_ + " does not take a tensor of " + in.text() + logger_.reason());
        const nvinfer1::Dims out = context_->getTensorShape(kOutput);
        if (out.nbDims != 4)
            throw Error(CLV_ERR_INVALID_MODEL, "the engine " + path_ + " gives no picture");
        output_ = {out.d[1], out.d[2], out.d[3]};
        set_strength(request.strength);
        // What this size needs, not what the profile's largest would.
        const size_t bytes = context_->updateDeviceMemorySizeForShapes();
        if (bytes > 0) {
            memory_ = cuda::Buffer(place, bytes);
            context_->setDeviceMemoryV2(memory_.get(), static_cast<int64_t>(bytes));
        }
    }

    ~TensorRtModel() override {
        try {
            cuda::synchronise(place_);     // the work uses what goes now
        } catch (const std::exception &) { // the context is gone, and all of it
        }
    }

    TensorShape output() const override { return output_; }
    ElementType input_type() const override { return input_type_; }
    ElementType output_type() const override { return output_type_; }
    clv_precision precision() const override { return precision_; }
    uint64_t device_bytes() const override {
        return memory_.bytes() + strength_.bytes() + static_cast<uint64_t>(weight_bytes());
    }
    std::string text() const override { return "engine " + path_; }

    void enqueue(const void *in, void *out) override {
        const cuda::Current current(place_);
        const CUstream stream = cuda::stream_of(place_);
        if (graph_.ready() && in == in_ && out == out_) {
            graph_.launch(stream);
            return;
        }
        if (!context_->setTensorAddress(kInput, const_cast<void *>(in)) ||
            !context_->setTensorAddress(kOutput, out) ||
            (strength_ && !context_->setTensorAddress(kStrength, strength_.get())) || !run(stream))
            throw Error(CLV_ERR_INFERENCE, "TensorRT failed on model " + name_ + logger_.reason());
        // The first run is the warm-up: layers allocate and choose in it.
        if (!graph_.ready() && !plain_) {
            plain_ = !graph_.record([&](CUstream side) { return run(side); });
            in_ = in;
            out_ = out;
        }
    }

private:
    bool run(CUstream stream) { return context_->enqueueV3(reinterpret_cast<cudaStream_t>(stream)); }

    int64_t weight_bytes() const { return engine_->getEngineStat(nvinfer1::EngineStat::kTOTAL_WEIGHTS_SIZE); }

    void set_strength(const std::optional<float> &strength) {
        bool taken = false;
        for (int i = 0; i < engine_->getNbIOTensors(); i++)
            taken = taken || std::strcmp(engine_->getIOTensorName(i), kStrength) == 0;
        if (!taken)
            return;
        const bool half =
            element_of(engine_->getTensorDataType(kStrength), kStrength, name_) == ElementType::f16;
        const float value = strength.value_or(1.0F);
        const auto rounded = static_cast<_Float16>(value);
        strength_ = cuda::Buffer(place_, sizeof(float));
        cuda::copy_to_device_async(place_, strength_.get(),
                                   half ? static_cast<const void *>(&rounded) : &value,
                                   half ? sizeof(rounded) : sizeof(value));
    }

    template <class T>
    struct Delete {
        void operator()(T *object) const { delete object; }
    };
    template <class T>
    using Owned = std::unique_ptr<T, Delete<T>>;

    const std::string name_;
    const cuda::Place place_;
    std::string path_;
    clv_precision precision_ = CLV_PRECISION_FP16;
    TensorShape output_;
    ElementType input_type_ = ElementType::f16;
    ElementType output_type_ = ElementType::f16;
    // Destroyed from the last to the first: a context before its engine, that before the runtime and its log.
    Logger logger_;
    Owned<nvinfer1::IRuntime> runtime_;
    Owned<nvinfer1::ICudaEngine> engine_;
    cuda::Buffer memory_;
    cuda::Buffer strength_;
    Owned<nvinfer1::IExecutionContext> context_;
    Graph graph_;
    bool plain_ = false; ///< the work cannot be recorded
    const void *in_ = nullptr;
    const void *out_ = nullptr;
};

void need_driver() {
    try {
        cuda::driver();
    } catch (const Error &error) {
        throw Error(error.status(), std::string("backend tensorrt cannot start: ") + error.what());
    }
}

class TensorRtBackend final : public Backend {
public:
    std::string runtime() const override {
        need_driver(); // before TensorRT
        return "TensorRT " + library().version + (library().lean ? " (lean)" : "");
    }
    bool suits(const CompileRequest & /*request*/) const override { return false; }
    std::unique_ptr<CompiledModel> compile(const CompileRequest & /*request*/) override {
        throw Error(CLV_ERR_UNSUPPORTED,
                    "backend tensorrt takes pictures in CUDA memory only: upload them (in ffmpeg: "
                    "hwupload_cuda, or decode with -hwaccel cuda -hwaccel_output_format cuda), or use "
                    "backend=openvino");
    }
    bool suits_tensors(const CompileRequest &request, const cuda::Place &place) const override {
        try {
            return has_engine(wanted_of(request, place), engine_folders());
        } catch (const std::exception &) {
            return false;
        }
    }
    std::unique_ptr<TensorModel> compile_tensors(const CompileRequest &request,
                                                 const cuda::Place &place) override {
        need_driver();
        return std::make_unique<TensorRtModel>(request, place);
    }
};

} // namespace
} // namespace clv::tensorrt

clv::Backend *clarivid_backend_create(uint32_t abi) {
    return abi == clv::kBackendAbi ? new clv::tensorrt::TensorRtBackend : nullptr;
}
