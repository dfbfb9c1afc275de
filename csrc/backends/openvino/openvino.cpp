// SPDX-License-Identifier: BSD-2-Clause
// The OpenVINO backend: any ONNX model on CPUs (and on the other devices that OpenVINO knows, by device=).
#include <algorithm>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include <openvino/op/constant.hpp>
#include <openvino/openvino.hpp>

#include "core/backend.h"

namespace {

using clv::Error;
using clv::TensorShape;

/// The part of OpenVINO's message that says why, on one line: what follows "Summary:", else the last line.
/// The lines before carry source files and the chain of checks.
std::string reason(const std::string &message) {
    const std::string heading = "\nSummary:\n";
    const size_t summary = message.find(heading);
    std::istringstream lines(summary == std::string::npos ? message
                                                          : message.substr(summary + heading.size()));
    std::string line, joined, last;
    while (std::getline(lines, line)) {
        if (line.starts_with("-- "))
            line.erase(0, 3);
        if (line.empty() || line.starts_with("To facilitate"))
            continue;
        joined += (joined.empty() ? "" : "; ") + line;
        last = line;
    }
    return summary == std::string::npos ? last : joined;
}

/// What to throw for OpenVINO's `error`: `what` failed, why, and CLV_ERR_NO_MEMORY when that is what it is
/// about. OpenVINO has no type of its own for it; its generator of machine code says "can't alloc".
Error failure(const std::exception &error, clv_status otherwise, const std::string &what) {
    const std::string message = error.what();
    bool memory = dynamic_cast<const std::bad_alloc *>(&error) != nullptr;
    for (const char *sign : {"Failed to allocate", "bad_alloc", "can't alloc"})
        memory = memory || message.find(sign) != std::string::npos;
    return {memory ? CLV_ERR_NO_MEMORY : otherwise,
            what + ": " + (memory ? "memory ran out: " : "") + reason(message)};
}

/// body(), and what it throws as failure() tells it.
template <class Body>
auto guarded(clv_status otherwise, const std::string &what, Body body) {
    try {
        return body();
    } catch (const std::exception &error) {
        throw failure(error, otherwise, what);
    }
}

/// Puts a constant in the place of the input "strength", which is then folded into the layer before it.
void bind_strength(ov::Model &model, float strength) {
    const auto parameters = model.get_parameters();
    const auto found = std::find_if(parameters.begin(), parameters.end(), [](const auto &parameter) {
        return parameter->output(0).get_names().contains("strength");
    });
    if (found == parameters.end())
        throw Error(CLV_ERR_INTERNAL,
                    "the input \"strength\" that the file has was lost by OpenVINO's reader");
    const auto constant = ov::op::v0::Constant::create((*found)->get_element_type(), {1}, {strength});
    (*found)->output(0).replace(constant->output(0));
    model.remove_parameter(*found);
}

/// A layer of a compiled model, as the runtime tells it.
std::string told(const ov::Node &node, const char *key) {
    const auto &info = node.get_rt_info();
    const auto found = info.find(key);
    return found == info.end() ? std::string() : found->second.as<std::string>();
}

/// What a tensor takes. CPUs keep channels in blocks: layouts "aBcd16b" fill them up.
uint64_t bytes_of(const ov::Output<const ov::Node> &output, const std::string &layout) {
    auto shape = output.get_shape();
    const uint64_t block = layout.find("16b") != std::string::npos  ? 16
                           : layout.find("8b") != std::string::npos ? 8
                                                                    : 1;
    uint64_t count = 1;
    for (size_t i = 0; i < shape.size(); i++)
        count *= i == 1 ? (shape[i] + block - 1) / block * block : shape[i];
    return count * output.get_element_type().size();
}

/// The most that is alive at once between the input and the output of a compiled model, layer by layer in the
/// order of execution. What layers take for themselves while they run is not told, and not counted.
uint64_t peak_bytes(const ov::CompiledModel &compiled) {
    const auto model = compiled.get_runtime_model();
    const auto nodes = model->get_ordered_ops();
    std::map<const ov::Node *, size_t> last_use; ///< of what the node gives
    for (size_t i = 0; i < nodes.size(); i++)
        for (const auto &input : nodes[i]->input_values())
            last_use[input.get_node()] = i;
    std::vector<uint64_t> freed(nodes.size() + 1, 0);
    uint64_t alive = 0, peak = 0;
    for (size_t i = 0; i < nodes.size(); i++) {
        const ov::Node &node = *nodes[i];
        const std::string type = told(node, "layerType");
        const bool outside =
            type == "Const" || type == "Input" || type == "Output"; // weights, and our tensors
        uint64_t bytes = 0;
        for (const auto &output : node.outputs())
            if (!outside && output.get_partial_shape().is_static())
                bytes += bytes_of(output, told(node, "outputLayouts"));
        alive += bytes;
        peak = std::max(peak, alive);
        const auto last = last_use.find(&node);
        freed[last == last_use.end() ? i : last->second] += bytes;
        alive -= freed[i];
    }
    return peak;
}

class OpenVinoRequest final : public clv::InferRequest {
public:
    OpenVinoRequest(ov::CompiledModel &model, const TensorShape &input)
        : request_(model.create_infer_request()), input_(request_.get_input_tensor().data<float>()),
          input_count_(input.count()) {}

    std::span<float> input() override { return {input_, input_count_}; }

    void start() override {
        guarded(CLV_ERR_INFERENCE, kFailed, [&] { request_.start_async(); });
    }

    bool ready() override {
        try {
            return request_.wait_for(std::chrono::milliseconds(0));
        } catch (const std::exception &) {
            return true; // it failed: wait() tells why
        }
    }

    void wait() override {
        guarded(CLV_ERR_INFERENCE, kFailed, [&] { request_.wait(); });
    }

    const void *output() override { return request_.get_output_tensor().data(); }

private:
    static constexpr const char *kFailed = "OpenVINO failed on a picture";

    ov::InferRequest request_;
    float *const input_;
    const size_t input_count_;
};

class OpenVinoModel final : public clv::CompiledModel {
public:
    OpenVinoModel(ov::Core &core, const clv::CompileRequest &request)
        : input_(request.input), threads_(request.threads),
          streams_(std::clamp(request.in_flight, 1, request.threads)) {
        const std::string what = "model " + request.model_name;
        const std::string device = request.device.empty() ? "CPU" : request.device;
        check_device(core, device);
        precision_ = choose_precision(core, device, request);
        if (precision_ != CLV_PRECISION_FP32 && request.half_output)
            output_type_ = clv::ElementType::f16;
        const auto model = read(core, request, what);
        guarded(CLV_ERR_UNSUPPORTED,
                "OpenVINO cannot compile " + what + " for " + input_.text() + " on " + device,
                [&] { compiled_ = core.compile_model(model, device, properties(device)); });
        const auto shape = compiled_.output().get_shape();
        output_ = {static_cast<int64_t>(shape[1]), static_cast<int64_t>(shape[2]),
                   static_cast<int64_t>(shape[3])};
    }

    TensorShape output() const override { return output_; }
    clv::ElementType output_type() const override { return output_type_; }
    clv_precision precision() const override { return precision_; }
    int threads() const override { return threads_; }
    uint64_t activation_bytes() const override {
        try {
            return peak_bytes(compiled_) * static_cast<uint64_t>(streams_); // each works on a picture
        } catch (const std::exception &) { // a device that does not tell its layers
            return 0;
        }
    }
    std::unique_ptr<clv::InferRequest> create_request() override {
        return guarded(CLV_ERR_BACKEND, "OpenVINO cannot make tensors for " + input_.text(),
                       [&] { return std::make_unique<OpenVinoRequest>(compiled_, input_); });
    }

private:
    static void check_device(ov::Core &core, const std::string &device) {
        const auto devices = core.get_available_devices();
        const std::string family = device.substr(0, device.find_first_of(".:"));
        std::string known;
        for (const auto &name : devices) {
            if (name.starts_with(family))
                return;
            known += (known.empty() ? "" : ", ") + name;
        }
        throw Error(CLV_ERR_UNSUPPORTED,
                    "OpenVINO has no device \"" + device + "\" on this machine; it has: " + known);
    }

    static bool has(const std::vector<std::string> &capabilities, const std::string &name) {
        return std::find(capabilities.begin(), capabilities.end(), name) != capabilities.end();
    }

    /// AUTO: what OpenVINO prefers on this device (bf16 or fp16 where the processor computes in it), when the
    /// bundle's parity gate passed in it; else fp32, which gives the reference's pixels.
    static clv_precision choose_precision(ov::Core &core, const std::string &device,
                                          const clv::CompileRequest &request) {
        const auto capabilities = core.get_property(device, ov::device::capabilities);
        const auto need = [&](const char *capability, const char *option) {
            if (!has(capabilities, capability))
                throw Error(CLV_ERR_UNSUPPORTED, std::string("precision=") + option +
                                                     " is not computed by device " + device +
                                                     " of this machine: use precision=fp32 or auto");
        };
        switch (request.precision) {
        case CLV_PRECISION_BF16:
            need("BF16", "bf16");
            return CLV_PRECISION_BF16;
        case CLV_PRECISION_FP16:
            need("FP16", "fp16");
            return CLV_PRECISION_FP16;
        case CLV_PRECISION_INT8:
            throw Error(CLV_ERR_UNSUPPORTED,
                        "precision=int8 needs a quantised model: backend openvino runs the "
                        "precision that is in the ONNX file");
        case CLV_PRECISION_AUTO: {
            const auto preferred = core.get_property(device, ov::hint::inference_precision);
            if (preferred == ov::element::bf16 && request.bf16_passed)
                return CLV_PRECISION_BF16;
            if (preferred == ov::element::f16 && request.fp16_passed)
                return CLV_PRECISION_FP16;
            return CLV_PRECISION_FP32;
        }
        case CLV_PRECISION_FP32:
            break;
        }
        return CLV_PRECISION_FP32;
    }

    std::shared_ptr<ov::Model> read(ov::Core &core, const clv::CompileRequest &request,
                                    const std::string &what) {
        auto model = guarded(CLV_ERR_INVALID_MODEL, "OpenVINO cannot read " + what, [&] {
            const auto *text = reinterpret_cast<const char *>(request.onnx.data());
            return core.read_model(std::string(text, request.onnx.size()), ov::Tensor());
        });
        if (request.strength)
            bind_strength(*model, *request.strength);
        guarded(CLV_ERR_UNSUPPORTED,
                what + " cannot take a picture as " + input_.text() +
                    ", its shape is fixed or it was exported for other sizes",
                [&] {
                    ov::preprocess::PrePostProcessor ports(model);
                    ports.input().tensor().set_element_type(ov::element::f32);
                    ports.output().tensor().set_element_type(
                        output_type_ == clv::ElementType::f16 ? ov::element::f16 : ov::element::f32);
                    model = ports.build();
                    model->reshape(ov::PartialShape{1, input_.channels, input_.height, input_.width});
                });
        const auto shape = model->output().get_partial_shape();
        if (shape.is_dynamic() || shape.size() != 4 || shape[0].get_length() != 1)
            throw Error(CLV_ERR_UNSUPPORTED, what + " gives a tensor of shape " + shape.to_string() +
                                                 " for " + input_.text() +
                                                 ": one picture of four dimensions is needed");
        return model;
    }

    ov::AnyMap properties(const std::string &device) const {
        const auto type = precision_ == CLV_PRECISION_BF16   ? ov::element::bf16
                          : precision_ == CLV_PRECISION_FP16 ? ov::element::f16
                                                             : ov::element::f32;
        ov::AnyMap map = {ov::hint::inference_precision(type)};
        if (device.starts_with("CPU")) {
            // A stream works on one picture with threads/streams threads: streams do not wait for each other,
            // threads within one do. Pinning to cores hurts on shared machines.
            map.insert(ov::inference_num_threads(threads_));
            map.insert(ov::num_streams(streams_));
            map.insert(ov::hint::enable_cpu_pinning(false));
        }
        return map;
    }

    const TensorShape input_;
    TensorShape output_;
    clv::ElementType output_type_ = clv::ElementType::f32;
    const int threads_;
    const int streams_;
    clv_precision precision_ = CLV_PRECISION_FP32;
    ov::CompiledModel compiled_;
};

class OpenVinoBackend final : public clv::Backend {
public:
    std::string runtime() const override {
        const std::string build = ov::get_openvino_version().buildNumber; // "2026.4.1-22982-..."
        return "OpenVINO " + build.substr(0, build.find('-'));
    }
    std::unique_ptr<clv::CompiledModel> compile(const clv::CompileRequest &request) override {
        return std::make_unique<OpenVinoModel>(core_, request);
    }

private:
    ov::Core core_;
};

} // namespace

clv::Backend *clarivid_backend_create(uint32_t abi) {
    if (abi != clv::kBackendAbi)
        return nullptr;
    try {
        return new OpenVinoBackend;
    } catch (const std::exception &error) {
        throw Error(CLV_ERR_BACKEND, "OpenVINO does not start: " + reason(error.what()));
    }
}
