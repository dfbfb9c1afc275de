// SPDX-License-Identifier: BSD-2-Clause
#include "core/painter_on_device.h"

#include "core/backend_loader.h"
#include "core/checks.h"
#include "core/error.h"
#include "core/excerpt.h"

namespace clv {

std::unique_ptr<PainterOnDevice> PainterOnDevice::make(const Bundle &bundle,
                                                       const pixels::PictureFormat &format,
                                                       const EngineOptions &options, const cuda::Place &place,
                                                       CudaServices &services) {
    const bool automatic = options.backend.empty() || options.backend == "auto";
    const std::string name = automatic ? "cuda" : options.backend;
    const TensorShape input = painter_input(bundle, format);
    const CompileRequest request = compile_request(bundle, input, options);
    std::unique_ptr<PainterOnDevice> made(new PainterOnDevice);
    made->backend_ = load_backend(name);
    if (!made->backend_->suits_tensors(request, place)) {
        if (!automatic && name == "cuda")
            throw Error(CLV_ERR_UNSUPPORTED,
                        "backend cuda does not know the architecture of model " + bundle.name +
                            ": use backend=auto or openvino, which run it on the host for pictures in CUDA "
                            "memory too");
        return nullptr;
    }
    if (automatic && !request.fp16_passed && request.precision != CLV_PRECISION_FP16)
        return nullptr;
    if (automatic && request.precision != CLV_PRECISION_AUTO && request.precision != CLV_PRECISION_FP16)
        return nullptr;
    made->net_ = made->backend_->compile_tensors(request, place);
    made->painter_ = services.make_painter(format, place, *made->net_, input);
    const std::string how = made->net_->text();
    made->text_ =
        "model " + bundle.name + ": paints at " +
        size_text(2 * static_cast<int>(input.width), 2 * static_cast<int>(input.height)) +
        " for pictures of " + size_text(format.width, format.height) + " on " + made->backend_->runtime() +
        " (backend=" + name + ", " +
        (automatic ? "chosen because it knows this net and the pictures are in CUDA memory" : "as asked") +
        "), precision=" + precision_name(made->net_->precision()) + (how.empty() ? "" : ", " + how);
    return made;
}

} // namespace clv
