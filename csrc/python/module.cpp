// SPDX-License-Identifier: BSD-2-Clause
// clarivid._core: the C ABI for Python, a thin one. Names, defaults and types that users see live in
// clarivid.sr, clarivid.lowrank and clarivid.inpaint.
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "python/host.h"

namespace py = pybind11;

using clv::python::Context;
using clv::python::CoreError;
using clv::python::Log;
using clv::python::Planes;
using clv::python::pointer_of;
using clv::python::view;

namespace {

struct ModelDeleter {
    void operator()(clv_model *model) const { clv_model_close(&model); }
};
struct SessionDeleter {
    void operator()(clv_session *session) const {
        const py::gil_scoped_release release; // it waits for pictures in flight, which may log
        clv_session_destroy(&session);
    }
};

class Model {
public:
    Model(const std::string &name, Log log) : context_(std::make_shared<Context>(std::move(log))) {
        clv_model *model = nullptr;
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_model_open(context_->get(), name.c_str(), &model);
        }
        context_->check(status);
        model_.reset(model);
    }
    clv_model_info info() const {
        clv_model_info info;
        clv_model_get_info(model_.get(), &info);
        return info;
    }
    bool has_strength() const { return clv_model_has_strength(model_.get()) != 0; }
    bool has_sharpness() const { return clv_model_has_sharpness(model_.get()) != 0; }
    clv_model *get() const { return model_.get(); }
    const std::shared_ptr<Context> &context() const { return context_; }

private:
    std::shared_ptr<Context> context_; // before model_: destroyed after it
    std::unique_ptr<clv_model, ModelDeleter> model_;
};

/// A plane in device memory, as https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html has it.
struct DevicePlane {
    void *data;
    ptrdiff_t stride; ///< bytes
    ptrdiff_t rows;
    ptrdiff_t row_bytes; ///< of samples that lie side by side
    bool read_only;
};

DevicePlane device_plane(const py::object &plane, const std::string &which) {
    if (!py::hasattr(plane, "__cuda_array_interface__"))
        throw py::value_error(which + " is no array in CUDA memory: it has no __cuda_array_interface__");
    const auto interface = plane.attr("__cuda_array_interface__").cast<py::dict>();
    const auto data = interface["data"].cast<std::pair<uintptr_t, bool>>();
    const auto shape = interface["shape"].cast<std::vector<ptrdiff_t>>();
    const auto item = py::dtype(interface["typestr"].cast<std::string>()).itemsize();
    if (shape.size() < 2)
        throw py::value_error(which + " has no rows: its shape has " + std::to_string(shape.size()) +
                              " dimensions, not 2 or 3");
    ptrdiff_t inner = item;
    for (size_t i = shape.size() - 1; i > 0; i--)
        inner *= shape[i];
    DevicePlane out{pointer_of(data.first), inner, shape[0], inner, data.second};
    if (interface.contains("strides") && !interface["strides"].is_none()) {
        const auto strides = interface["strides"].cast<std::vector<ptrdiff_t>>();
        ptrdiff_t wanted = item;
        for (size_t i = shape.size() - 1; i > 0; wanted *= shape[i], i--)
            if (shape[i] > 1 && strides[i] != wanted)
                throw py::value_error(which + " has gaps between the samples of a row: copy it first");
        out.stride = strides[0];
    }
    return out;
}

/// Only what the C ABI cannot see is checked: sizes.
void check_device_plane(const DevicePlane &plane, const clv_format &format, size_t index,
                        const std::string &which) {
    const bool two_bytes =
        format.pixel_format == CLV_PIXEL_YUV420P10 || format.pixel_format == CLV_PIXEL_P010;
    const bool pairs = format.pixel_format == CLV_PIXEL_NV12 || format.pixel_format == CLV_PIXEL_P010;
    const ptrdiff_t rows = index ? (format.height + 1) / 2 : format.height;
    const ptrdiff_t samples = index ? ptrdiff_t{(format.width + 1) / 2} * (pairs ? 2 : 1) : format.width;
    if (plane.rows != rows || plane.row_bytes != samples * (two_bytes ? 2 : 1))
        throw py::value_error(which + " has " + std::to_string(plane.rows) + " rows of " +
                              std::to_string(plane.row_bytes) + " bytes, not " + std::to_string(rows) +
                              " of " + std::to_string(samples * (two_bytes ? 2 : 1)));
}

} // namespace

clv_picture clv::python::view(const Planes &planes, const clv_format &format, bool writeable) {
    clv_picture picture = {};
    if (planes.size() < 2 || planes.size() > 3)
        throw py::value_error("a picture has two or three planes, not " + std::to_string(planes.size()));
    for (size_t i = 0; i < planes.size(); i++) {
        const std::string which = "plane " + std::to_string(i) + (writeable ? " of the output" : "");
        bool read_only = false;
        if (format.memory == CLV_MEMORY_CUDA) {
            const DevicePlane plane = device_plane(planes[i], which);
            check_device_plane(plane, format, i, which);
            picture.data[i] = plane.data;
            picture.stride[i] = plane.stride;
            read_only = plane.read_only;
        } else {
            if (!py::isinstance<py::array>(planes[i]))
                throw py::type_error(which + " is no array of numpy");
            const auto plane = py::reinterpret_borrow<py::array>(planes[i]);
            picture.data[i] = const_cast<void *>(plane.data());
            picture.stride[i] = plane.strides(0);
            read_only = !plane.writeable();
        }
        if (writeable && read_only)
            throw py::value_error(which + " is read-only");
    }
    return picture;
}

namespace {

py::dict dict_of(const clv_device_stats &stats) {
    py::dict all;
#define CLV_FIELD(name) all[#name] = stats.name
    CLV_FIELD(copies_to_host);
    CLV_FIELD(bytes_to_host);
    CLV_FIELD(copies_to_device);
    CLV_FIELD(bytes_to_device);
    CLV_FIELD(synchronisations);
    CLV_FIELD(device_bytes);
#undef CLV_FIELD
    return all;
}

class Session {
public:
    Session(const Model &model, const clv_format &format, const std::string &backend,
            const std::string &device, int precision, int threads, int in_flight, int dither, double strength,
            const clv_cuda_device *cuda, const std::string &tile, int overlap, double sharpness)
        : context_(model.context()), format_(format) {
        clv_session_params params = CLV_SESSION_PARAMS_DEFAULTS;
        params.backend = backend.c_str();
        params.device = device.c_str();
        params.precision = static_cast<clv_precision>(precision);
        params.threads = threads;
        params.in_flight = in_flight;
        params.dither = static_cast<clv_dither>(dither);
        params.strength = strength;
        params.cuda = cuda;
        params.tile = tile.c_str();
        params.overlap = overlap;
        params.sharpness = sharpness;
        clv_session *session = nullptr;
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_session_create(context_->get(), model.get(), &format, &params, &session);
        }
        context_->check(status);
        session_.reset(session);
        output_format_ = info().output;
    }

    clv_session_info info() const {
        clv_session_info info;
        clv_session_get_info(session_.get(), &info);
        return info;
    }

    py::dict device_stats() const {
        clv_device_stats stats;
        clv_session_get_device_stats(session_.get(), &stats);
        return dict_of(stats);
    }

    void process(const Planes &input, const Planes &output) {
        const clv_picture in = view(input, format_, false);
        const clv_picture out = view(output, output_format_, true);
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_session_submit(session_.get(), &in, &out, nullptr);
            if (status == CLV_OK)
                status = clv_session_receive(session_.get(), 1, nullptr);
        }
        context_->check(status);
    }

private:
    std::shared_ptr<Context> context_;
    const clv_format format_;
    clv_format output_format_ = {};
    std::unique_ptr<clv_session, SessionDeleter> session_;
};

struct InpainterDeleter {
    void operator()(clv_inpainter *inpainter) const {
        const py::gil_scoped_release release; // its threads end, nets may log
        clv_inpainter_destroy(&inpainter);
    }
};

clv_mask view_mask(const py::object &any, const clv_format &format) {
    if (format.memory == CLV_MEMORY_CUDA && py::hasattr(any, "__cuda_array_interface__")) {
        const DevicePlane mask = device_plane(any, "the mask");
        return {static_cast<const uint8_t *>(mask.data), mask.stride, static_cast<int>(mask.row_bytes),
                static_cast<int>(mask.rows), CLV_MEMORY_CUDA};
    }
    if (!py::isinstance<py::array_t<uint8_t>>(any))
        throw py::type_error("a mask is an array of uint8");
    const auto mask = py::reinterpret_borrow<py::array_t<uint8_t>>(any);
    if (mask.ndim() != 2)
        throw py::value_error("a mask has two dimensions, not " + std::to_string(mask.ndim()));
    return {mask.data(), mask.strides(0), static_cast<int>(mask.shape(1)), static_cast<int>(mask.shape(0)),
            CLV_MEMORY_HOST};
}

class Inpainter {
public:
    using Mask = std::optional<py::object>;

    Inpainter(const Model *net, const Model *segmenter, const clv_format &format, const std::string &backend,
              const std::string &device, int precision, int threads, int mesh_columns, int mesh_rows,
              int lookahead, int dilate, int feather, int show, const clv_cuda_device *cuda, Log log)
        : context_(std::make_shared<Context>(std::move(log))), format_(format) {
        clv_inpaint_params params = CLV_INPAINT_PARAMS_DEFAULTS;
        params.backend = backend.c_str();
        params.device = device.c_str();
        params.precision = static_cast<clv_precision>(precision);
        params.threads = threads;
        params.mesh_columns = mesh_columns;
        params.mesh_rows = mesh_rows;
        params.lookahead = lookahead;
        params.dilate = dilate;
        params.feather = feather;
        params.show = static_cast<clv_inpaint_show>(show);
        params.cuda = cuda;
        clv_inpainter *inpainter = nullptr;
        int status;
        {
            const py::gil_scoped_release release;
            status =
                clv_inpainter_create(context_->get(), net ? net->get() : nullptr,
                                     segmenter ? segmenter->get() : nullptr, &format, &params, &inpainter);
        }
        context_->check(status);
        inpainter_.reset(inpainter);
    }

    bool submit(const Planes &input, const Mask &mask, const Planes &output) {
        const clv_picture in = view(input, format_, false);
        const clv_picture out = view(output, format_, true);
        const clv_mask hole = mask ? view_mask(*mask, format_) : clv_mask{};
        waiting_.push_back(output);
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_inpainter_submit(inpainter_.get(), &in, mask ? &hole : nullptr, &out, nullptr);
        }
        if (status != CLV_OK)
            waiting_.pop_back();
        if (status == CLV_AGAIN)
            return false;
        context_->check(status);
        return true;
    }

    /// The planes that were handed over as the oldest picture's output, or nothing.
    std::optional<Planes> receive(bool flush) {
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_inpainter_receive(inpainter_.get(), flush, nullptr);
        }
        if (status == CLV_AGAIN || status == CLV_EMPTY)
            return std::nullopt;
        std::optional<Planes> planes;
        if (status == CLV_OK || status == CLV_ERR_INFERENCE) {
            planes = std::move(waiting_.front());
            waiting_.pop_front();
        }
        context_->check(status);
        return planes;
    }

    void paint(const Planes &planes, const py::object &mask) {
        const clv_picture picture = view(planes, format_, true);
        const clv_mask hole = view_mask(mask, format_);
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_inpainter_paint(inpainter_.get(), &picture, &hole);
        }
        context_->check(status);
    }

    void reset() {
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_inpainter_reset(inpainter_.get());
        }
        context_->check(status);
        waiting_.clear();
    }

    int pending() const { return clv_inpainter_pending(inpainter_.get()); }

    py::dict stats() const {
        clv_inpaint_stats stats;
        clv_inpainter_get_stats(inpainter_.get(), &stats);
        py::dict all;
#define CLV_FIELD(name) all[#name] = stats.name
        CLV_FIELD(pictures);
        CLV_FIELD(cuts);
        CLV_FIELD(paintings);
        CLV_FIELD(memory_bytes);
        CLV_FIELD(track_ms);
        CLV_FIELD(solve_ms);
        CLV_FIELD(fill_ms);
        CLV_FIELD(paint_ms);
        CLV_FIELD(features);
        CLV_FIELD(inliers);
        CLV_FIELD(residual);
        CLV_FIELD(cost_features);
        CLV_FIELD(cost_shape);
        CLV_FIELD(cost_time);
        CLV_FIELD(hole);
        CLV_FIELD(remembered);
#undef CLV_FIELD
        return all;
    }

    py::dict device_stats() const {
        clv_device_stats stats;
        clv_inpainter_get_device_stats(inpainter_.get(), &stats);
        return dict_of(stats);
    }

private:
    std::shared_ptr<Context> context_;
    const clv_format format_;
    std::deque<Planes> waiting_; // keeps alive what the inpainter writes to
    std::unique_ptr<clv_inpainter, InpainterDeleter> inpainter_;
};

std::string probe(const std::string &name) {
    const Context context(nullptr);
    char buffer[256];
    int status;
    {
        const py::gil_scoped_release release;
        status = clv_backend_probe(context.get(), name.c_str(), buffer, sizeof(buffer));
    }
    context.check(status);
    return buffer;
}

void translate(const CoreError &error) {
    const py::module_ errors = py::module_::import("clarivid.errors");
    const char *name = "Error";
    switch (error.status) {
    case CLV_ERR_INVALID_ARGUMENT:
        name = "InputError";
        break;
    case CLV_ERR_NOT_FOUND:
    case CLV_ERR_INVALID_MODEL:
    case CLV_ERR_IO:
        name = "ModelError";
        break;
    case CLV_ERR_UNSUPPORTED:
    case CLV_ERR_BACKEND:
    case CLV_ERR_INFERENCE:
    case CLV_ERR_NO_MEMORY:
        name = "BackendError";
        break;
    default:
        break;
    }
    py::set_error(errors.attr(name), error.sentence.c_str());
}

} // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() =
        "The C ABI of libclarivid (clarivid.h). Use clarivid.SuperResolution and its siblings instead.";
    // NOLINTNEXTLINE(performance-unnecessary-value-param): the type is pybind11's
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer)
                std::rethrow_exception(pointer);
        } catch (const CoreError &error) {
            translate(error);
        }
    });

    clv::python::bind_dlpack(module);

    module.def("version", &clv_version_string, "Version of the loaded libclarivid.");
    module.def("probe", &probe, py::arg("backend"),
               "Name and version of a backend's runtime; raises when it is missing.");

    py::class_<clv_cuda_device>(module, "CudaDevice",
                                "Where pictures in CUDA memory live: handles of the driver API, which must "
                                "outlive what is made with them.")
        .def(py::init([](uintptr_t context, uintptr_t stream) {
                 return clv_cuda_device{pointer_of(context), pointer_of(stream)};
             }),
             py::arg("context"), py::arg("stream") = 0);

    py::class_<clv_format>(module, "Format")
        .def(py::init(
                 [](int width, int height, int pixel_format, int range, int matrix, int siting, int memory) {
                     return clv_format{width,
                                       height,
                                       static_cast<clv_pixel_format>(pixel_format),
                                       static_cast<clv_memory>(memory),
                                       static_cast<clv_range>(range),
                                       static_cast<clv_matrix>(matrix),
                                       static_cast<clv_chroma_siting>(siting)};
                 }),
             py::arg("width"), py::arg("height"), py::arg("pixel_format"), py::arg("range") = 0,
             py::arg("matrix") = 0, py::arg("siting") = 0, py::arg("memory") = 0)
        .def_readonly("width", &clv_format::width)
        .def_readonly("height", &clv_format::height);

    clv::python::bind_colour(module);

    py::class_<Model>(module, "Model")
        .def(py::init<const std::string &, Log>(), py::arg("name"), py::arg("log") = Log())
        .def_property_readonly("name", [](const Model &model) { return std::string(model.info().name); })
        .def_property_readonly("path", [](const Model &model) { return std::string(model.info().path); })
        .def_property_readonly("task", [](const Model &model) { return std::string(model.info().task); })
        .def_property_readonly("layout",
                               [](const Model &model) { return static_cast<int>(model.info().layout); })
        .def_property_readonly("scale", [](const Model &model) { return model.info().scale; })
        .def_property_readonly("has_card", [](const Model &model) { return model.info().has_card != 0; })
        .def_property_readonly("has_strength", &Model::has_strength)
        .def_property_readonly("has_sharpness", &Model::has_sharpness);

    py::class_<Session>(module, "Session")
        .def(py::init<const Model &, const clv_format &, const std::string &, const std::string &, int, int,
                      int, int, double, const clv_cuda_device *, const std::string &, int, double>(),
             py::arg("model"), py::arg("format"), py::arg("backend") = "auto", py::arg("device") = "",
             py::arg("precision") = 0, py::arg("threads") = 0, py::arg("in_flight") = 1,
             py::arg("dither") = 0, py::arg("strength") = 1.0, py::arg("cuda") = py::none(),
             py::arg("tile") = "auto", py::arg("overlap") = -1, py::arg("sharpness") = 0.0)
        .def("process", &Session::process, py::arg("input"), py::arg("output"),
             "Runs one picture; the planes' last axis must be contiguous and their sizes those of the "
             "formats. In CUDA memory (objects with __cuda_array_interface__) it is enqueued on the device's "
             "stream: planes must live until the stream has passed.")
        .def_property_readonly("scale", [](const Session &session) { return session.info().scale; })
        .def_property_readonly("backend",
                               [](const Session &session) { return std::string(session.info().backend); })
        .def_property_readonly("runtime",
                               [](const Session &session) { return std::string(session.info().runtime); })
        .def_property_readonly(
            "precision", [](const Session &session) { return static_cast<int>(session.info().precision); })
        .def_property_readonly("threads", [](const Session &session) { return session.info().threads; })
        .def_property_readonly("output", [](const Session &session) { return session.info().output; })
        .def_property_readonly("device_stats", &Session::device_stats);

    py::class_<Inpainter>(module, "Inpainter")
        .def(py::init<const Model *, const Model *, const clv_format &, const std::string &,
                      const std::string &, int, int, int, int, int, int, int, int, const clv_cuda_device *,
                      Log>(),
             py::arg("net"), py::arg("segmenter"), py::arg("format"), py::kw_only(),
             py::arg("backend") = "auto", py::arg("device") = "", py::arg("precision") = 0,
             py::arg("threads") = 0, py::arg("mesh_columns") = 16, py::arg("mesh_rows") = 9,
             py::arg("lookahead") = 0, py::arg("dilate") = 4, py::arg("feather") = 4, py::arg("show") = 0,
             py::arg("cuda") = py::none(), py::arg("log") = Log())
        .def("submit", &Inpainter::submit, py::arg("input"), py::arg("mask"), py::arg("output"),
             "Hands over the next picture; False when others must be received first.")
        .def("receive", &Inpainter::receive, py::arg("flush"),
             "The oldest picture's output planes, or None when it must wait or there is none.")
        .def("paint", &Inpainter::paint, py::arg("planes"), py::arg("mask"),
             "Has the net alone paint the hole of one picture, in place.")
        .def("reset", &Inpainter::reset, "Forgets everything but the nets.")
        .def_property_readonly("pending", &Inpainter::pending)
        .def_property_readonly("stats", &Inpainter::stats)
        .def_property_readonly("device_stats", &Inpainter::device_stats);
}
