// SPDX-License-Identifier: BSD-2-Clause
// A painting net that runs where the pictures are.
#pragma once

#include <memory>
#include <string>

#include "core/cuda_services.h"
#include "core/engine.h"
#include "core/model.h"
#include "mesh/painter.h"

namespace clv {

/// The net, compiled for one size (excerpt.h), and the kernels that feed it. One thread at a time.
class PainterOnDevice {
public:
    /// Null when the net is to run on the host: backend=auto takes "cuda" when it knows the net in a
    /// precision that passed the parity gate; a named backend runs it on the device when it takes tensors
    /// there. `services` must outlive the painter. Throws Error: CLV_ERR_UNSUPPORTED (backend=cuda, which
    /// does not know the net), and what backends throw.
    static std::unique_ptr<PainterOnDevice> make(const Bundle &bundle, const pixels::PictureFormat &format,
                                                 const EngineOptions &options, const cuda::Place &place,
                                                 CudaServices &services);

    mesh::DevicePainter &painter() { return *painter_; }
    /// For the log: the model, its size, and where it runs.
    const std::string &text() const { return text_; }

private:
    PainterOnDevice() = default;

    // Destroyed from the last to the first.
    std::unique_ptr<Backend> backend_;
    std::unique_ptr<TensorModel> net_;
    std::unique_ptr<mesh::DevicePainter> painter_;
    std::string text_;
};

} // namespace clv
