// SPDX-License-Identifier: BSD-2-Clause
// The TensorRT backend: runs engines that `clarivid engines` built for this GPU, on tensors in device memory.
// It builds nothing. CUDA is probed before any call of TensorRT: without a driver those crash.
#include <memory>
#include <optional>
#include <string>

#include "backends/tensorrt/engine_files.h"
#include "backends/tensorrt/library.h"
#include "backends/tensorrt/model.h"
#include "core/backend.h"
#include "cuda/driver.h"

namespace clv::tensorrt {
namespace {

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
        const std::string why = why_not(request, place);
        if (!why.empty() && request.log && why != told_)
            request.log(CLV_LOG_VERBOSE,
                        "backend tensorrt cannot take a tensor of " + request.input.text() + ": " + why);
        told_ = why;
        return why.empty();
    }
    std::optional<TensorShape> largest_input(const CompileRequest &request,
                                             const cuda::Place &place) const override {
        try {
            return largest_part(wanted_of(request, place), engine_folders());
        } catch (const std::exception &) {
            return std::nullopt;
        }
    }
    std::unique_ptr<TensorModel> compile_tensors(const CompileRequest &request,
                                                 const cuda::Place &place) override {
        need_driver();
        return load_model(request, place);
    }

private:
    static std::string why_not(const CompileRequest &request, const cuda::Place &place) {
        try {
            return why_no_engine(wanted_of(request, place), engine_folders());
        } catch (const std::exception &error) {
            return error.what();
        }
    }

    mutable std::string told_; ///< backend=auto may ask twice
};

} // namespace
} // namespace clv::tensorrt

clv::Backend *clarivid_backend_create(uint32_t abi) {
    return abi == clv::kBackendAbi ? new clv::tensorrt::TensorRtBackend : nullptr;
}
