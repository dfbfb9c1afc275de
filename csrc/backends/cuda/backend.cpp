// SPDX-License-Identifier: BSD-2-Clause
// The CUDA backend: our own kernels, for pictures and tensors in device memory and the nets whose
// architecture they know, without any runtime. Activations and weights are fp16, sums f32.
#include <string>

#include "backends/cuda/inpaint_net.h"
#include "backends/cuda/lowrank.h"
#include "backends/cuda/sr.h"
#include "backends/lowrank_chain.h"
#include "backends/sr_luma.h"
#include "core/backend.h"
#include "cuda/driver.h"

namespace {

using clv::CompileRequest;
using clv::Error;
using clv::PictureSpec;

constexpr const char *kName = "clarivid's CUDA kernels";

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// The devices that the driver shows, without making a context on any.
std::string devices_text() {
    const auto &api = clv::cuda::driver();
    int count = 0;
    clv::cuda::check(api.cuDeviceGetCount(&count), "count the GPUs");
    if (count == 0)
        return "no GPU";
    CUdevice device = 0;
    char name[256] = {};
    int major = 0;
    int minor = 0;
    clv::cuda::check(api.cuDeviceGet(&device, 0), "find the first GPU");
    clv::cuda::check(api.cuDeviceGetName(name, sizeof(name) - 1, device), "ask the GPU for its name");
    clv::cuda::check(api.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
                     "ask the GPU for its properties");
    clv::cuda::check(api.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
                     "ask the GPU for its properties");
    return std::string(name) + " (sm_" + std::to_string(10 * major + minor) + ")" +
           (count > 1 ? " and " + std::to_string(count - 1) + " more" : "");
}

/// Everything here computes in fp16; what else is asked for is refused.
void check_precision(const CompileRequest &request) {
    if (request.precision == CLV_PRECISION_FP16)
        return;
    if (request.precision != CLV_PRECISION_AUTO)
        throw Error(CLV_ERR_UNSUPPORTED,
                    "backend cuda computes in precision=fp16 only (with sums in fp32): use that or auto, or "
                    "another backend");
    if (!request.fp16_passed)
        throw Error(CLV_ERR_UNSUPPORTED,
                    "backend cuda computes in fp16, and the card of model " + request.model_name +
                        " does not say that this passed the parity gate (`clarivid parity`): use "
                        "precision=fp16 to take it all the same");
}

class CudaBackend final : public clv::Backend {
public:
    /// Asked without any device at hand, and on machines that have none.
    std::string runtime() const override {
        try {
            int version = 0;
            clv::cuda::check(clv::cuda::driver().cuDriverGetVersion(&version),
                             "ask the driver for its version");
            return std::string(kName) + ", driver " + version_text(version) + ", " + devices_text();
        } catch (const Error &error) {
            return std::string(kName) + ", not usable here: " + error.what();
        }
    }

    bool suits(const CompileRequest & /*request*/) const override { return false; }
    std::unique_ptr<clv::CompiledModel> compile(const CompileRequest &request) override {
        throw Error(CLV_ERR_UNSUPPORTED,
                    "backend cuda takes pictures in CUDA memory only, and model " + request.model_name +
                        " was to get them in host memory: use backend=openvino or auto there, or upload the "
                        "pictures first (in ffmpeg: hwupload_cuda)");
    }

    bool suits_pictures(const CompileRequest &request, const PictureSpec &spec) const override {
        return clv::cuda::suits_lowrank(request, spec);
    }
    std::unique_ptr<clv::PictureModel> compile_pictures(const CompileRequest &request,
                                                        const PictureSpec &spec) override {
        check_precision(request);
        if (!clv::is_lowrank_chain(request))
            clv::read_sr_luma(request, "cuda"); // throws: its sentence names all that there is for pictures
        return clv::cuda::make_lowrank(request, spec);
    }

    bool suits_tensors(const CompileRequest &request, const clv::cuda::Place & /*place*/) const override {
        return clv::cuda::suits_inpaint(request) || clv::cuda::suits_sr(request);
    }
    std::unique_ptr<clv::TensorModel> compile_tensors(const CompileRequest &request,
                                                      const clv::cuda::Place &place) override {
        check_precision(request);
        if (clv::cuda::suits_sr(request))
            return clv::cuda::make_sr(request, place);
        return clv::cuda::make_inpaint(request, place);
    }
};

} // namespace

clv::Backend *clarivid_backend_create(uint32_t abi) {
    return abi == clv::kBackendAbi ? new CudaBackend : nullptr;
}
