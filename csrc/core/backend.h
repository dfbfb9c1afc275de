// SPDX-License-Identifier: BSD-2-Clause
// What core asks of a backend. A backend is a shared library libclarivid_<name>.so that exports
// clarivid_backend_create(); it knows tensors and runtimes and no filters. There are three ways to run a net:
//
//   compile()          tensors in host memory, in slots; core converts pictures
//   compile_tensors()  tensors in device memory, in the order of a stream; core's CudaServices convert
//   compile_pictures() pictures in device memory: conversions are fused into the net's first and last layer
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "clarivid/clarivid.h"
#include "core/error.h"
#include "cuda/place.h"
#include "pixels/pixels.h"

namespace clv {

/// Changes whenever anything in this header does; core refuses a backend with another number.
inline constexpr uint32_t kBackendAbi = 8;

/// N is always 1: pictures are not batched, slots in flight are.
struct TensorShape {
    int64_t channels = 0;
    int64_t height = 0;
    int64_t width = 0;

    size_t count() const { return static_cast<size_t>(channels * height * width); }
    bool operator==(const TensorShape &) const = default;
    std::string text() const {
        return "1x" + std::to_string(channels) + "x" + std::to_string(height) + "x" + std::to_string(width);
    }
};

/// What a tensor's values are stored as.
enum class ElementType { f32, f16 };

struct CompileRequest {
    std::span<const std::byte> onnx; ///< the whole model; valid during compile() only
    /// SHA-256 of the bundle's ONNX files, "fp32" and "fp16" -> digest: what engines are found by.
    std::map<std::string, std::string> onnx_digests;
    std::string model_name;   ///< for messages
    std::string architecture; ///< JSON, from the bundle's card; "" when there is none
    std::span<const std::byte>
        weights; ///< weights.safetensors of the bundle, empty when there is none; as onnx
    TensorShape input;
    int scale = 0; ///< of the picture, 0 when unknown; the dummy backend needs it
    clv_layout layout = CLV_LAYOUT_RGB;
    std::string device; ///< "" is the backend's default
    clv_precision precision = CLV_PRECISION_AUTO;
    bool bf16_passed = false; ///< what the bundle's parity gate recorded: AUTO may take it
    bool fp16_passed = false;
    bool half_output = false; ///< output may be f16 where the net computes in less than f32: half the traffic
    /// What the input "strength" of the net, one value, is set to; empty when the net has no such input. It
    /// is fixed so that the compiler of the runtime folds it into the weights.
    std::optional<float> strength;
    float sharpness = 0; ///< what the weights, above, were mixed with; for messages
    int threads = 1;     ///< CPU threads, at least 1
    int in_flight = 1;
    /// Takes what a runtime has to say; may be empty, and may be called from any thread while the model
    /// lives.
    std::function<void(clv_log_level, const std::string &)> log;
};

/// One slot: an input tensor, an output tensor, and work on them. Used by one thread at a time.
class InferRequest {
public:
    virtual ~InferRequest() = default;
    /// Contiguous f32 NCHW; the caller writes it before start() and leaves it alone until wait() returned.
    virtual std::span<float> input() = 0;
    /// Throws Error(CLV_ERR_INFERENCE).
    virtual void start() = 0;
    virtual bool ready() = 0;
    /// Returns when output() holds the result; throws Error(CLV_ERR_INFERENCE) when the runtime failed.
    virtual void wait() = 0;
    /// Contiguous NCHW of CompiledModel::output_type(), valid until the next start().
    virtual const void *output() = 0;
};

/// A net made ready for one input shape. create_request() is called by one thread at a time.
class CompiledModel {
public:
    virtual ~CompiledModel() = default;
    virtual TensorShape output() const = 0;
    virtual ElementType output_type() const { return ElementType::f32; }
    virtual clv_precision precision() const = 0; ///< what it took, never AUTO
    virtual int threads() const = 0;
    /// An estimate of the host memory that in_flight requests will take for what lies between the net's input
    /// and output, before any is created; 0: little, or not known.
    virtual uint64_t activation_bytes() const { return 0; }
    virtual std::unique_ptr<InferRequest> create_request() = 0;
};

/// Pictures that lie in device memory, and what their samples are rounded with.
struct PictureSpec {
    pixels::PictureFormat format; ///< of the input; the output is scale times its size
    pixels::Dither dither = pixels::Dither::round;
    cuda::Place place;
};

/// A net that takes and gives pictures in device memory. Used by one thread at a time. Its destructor gives
/// device memory back in the order of the stream, or waits for the stream (counted).
class PictureModel {
public:
    virtual ~PictureModel() = default;
    virtual int scale() const = 0;
    virtual clv_precision precision() const = 0; ///< what it took, never AUTO
    virtual uint64_t device_bytes() const = 0;   ///< held: weights, activations
    /// How the net is run, for the log, such as "1 kernel, tiles of 64x16, 41 KiB of shared memory"; may be
    /// "".
    virtual std::string text() const = 0;
    /// Enqueues on the place's stream and returns; the context need not be current. Planes are device
    /// pointers with positive strides. Throws Error(CLV_ERR_INFERENCE).
    virtual void enqueue(const pixels::ConstPicture &in, const pixels::Picture &out) = 0;
};

/// A net on contiguous NCHW tensors in device memory. Used by one thread at a time; destructor as above.
class TensorModel {
public:
    virtual ~TensorModel() = default;
    virtual TensorShape output() const = 0;
    virtual ElementType input_type() const = 0;
    virtual ElementType output_type() const = 0;
    virtual clv_precision precision() const = 0;
    virtual uint64_t device_bytes() const = 0; ///< held, without input and output
    virtual std::string text() const { return {}; }
    /// Enqueues on the place's stream and returns. Throws Error(CLV_ERR_INFERENCE).
    virtual void enqueue(const void *in, void *out) = 0;
};

/// Outlives every model it made.
class Backend {
public:
    virtual ~Backend() = default;
    /// The runtime's name and version, such as "OpenVINO 2026.4.1".
    virtual std::string runtime() const = 0;

    /// Whether backend=auto should take this one for the request rather than one that runs any net.
    virtual bool suits(const CompileRequest & /*request*/) const { return true; }
    /// Throws Error: CLV_ERR_UNSUPPORTED, CLV_ERR_INVALID_MODEL, CLV_ERR_BACKEND.
    virtual std::unique_ptr<CompiledModel> compile(const CompileRequest &request) = 0;

    /// Whether compile_pictures() knows this architecture. Cheap, and does not look at the precision or the
    /// device: what those cannot do is compile_pictures()' sentence.
    virtual bool suits_pictures(const CompileRequest & /*request*/, const PictureSpec & /*spec*/) const {
        return false;
    }
    /// Throws Error: CLV_ERR_UNSUPPORTED, CLV_ERR_INVALID_MODEL, CLV_ERR_BACKEND, CLV_ERR_NO_MEMORY. Uses
    /// nothing of the place before this call. `request.input` is the padded tensor of host backends.
    virtual std::unique_ptr<PictureModel> compile_pictures(const CompileRequest & /*request*/,
                                                           const PictureSpec & /*spec*/) {
        throw Error(CLV_ERR_UNSUPPORTED, runtime() + kHostOnly);
    }

    /// Whether compile_tensors() can run this net on that device: asked when suits_pictures() says no.
    virtual bool suits_tensors(const CompileRequest & /*request*/, const cuda::Place & /*place*/) const {
        return false;
    }
    /// Where suits_tensors() says no because request.input is too large: the largest input, in no dimension
    /// larger than that, which compile_tensors() can run on that device; tiles are made of it. Nothing when
    /// there is none.
    virtual std::optional<TensorShape> largest_input(const CompileRequest & /*request*/,
                                                     const cuda::Place & /*place*/) const {
        return std::nullopt;
    }
    /// Throws as compile_pictures().
    virtual std::unique_ptr<TensorModel> compile_tensors(const CompileRequest & /*request*/,
                                                         const cuda::Place & /*place*/) {
        throw Error(CLV_ERR_UNSUPPORTED, runtime() + kHostOnly);
    }

private:
    static constexpr const char *kHostOnly =
        " takes pictures in host memory only: leave out backend, use backend=cuda, or download the pictures "
        "first (in ffmpeg: hwdownload,format=nv12)";
};

} // namespace clv

/// The one symbol of a backend. Returns NULL when `abi` is not its kBackendAbi. Throws Error(CLV_ERR_BACKEND)
/// when the runtime cannot start. The caller owns the result.
extern "C" __attribute__((visibility("default"))) clv::Backend *clarivid_backend_create(uint32_t abi);
