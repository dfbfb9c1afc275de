// SPDX-License-Identifier: BSD-2-Clause
// clarivid._core: pictures <-> R'G'B'.
#include <memory>

#include "python/host.h"

namespace clv::python {
namespace {

struct Deleter {
    void operator()(clv_rgb_converter *converter) const { clv_rgb_converter_destroy(&converter); }
};

using Values = py::array_t<float, py::array::c_style>;

class RgbConverter {
public:
    RgbConverter(const clv_format &format, int dither)
        : context_(std::make_unique<Context>(nullptr)), format_(format) {
        clv_rgb_converter *converter = nullptr;
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_rgb_converter_create(context_->get(), &format, static_cast<clv_dither>(dither),
                                              &converter);
        }
        context_->check(status);
        converter_.reset(converter);
    }

    Values from_picture(const Planes &planes) {
        const clv_picture picture = view(planes, format_, false);
        Values rgb({3, format_.height, format_.width});
        float *values = rgb.mutable_data();
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_rgb_from_picture(converter_.get(), &picture, values);
        }
        context_->check(status);
        return rgb;
    }

    void to_picture(const Values &rgb, const Planes &planes) {
        if (rgb.ndim() != 3 || rgb.shape(0) != 3 || rgb.shape(1) != format_.height ||
            rgb.shape(2) != format_.width)
            throw py::value_error("rgb has not the shape [3, " + std::to_string(format_.height) + ", " +
                                  std::to_string(format_.width) + "]");
        const clv_picture picture = view(planes, format_, true);
        const float *values = rgb.data();
        int status;
        {
            const py::gil_scoped_release release;
            status = clv_rgb_to_picture(converter_.get(), values, &picture);
        }
        context_->check(status);
    }

private:
    std::unique_ptr<Context> context_; // before converter_: destroyed after it
    const clv_format format_;
    std::unique_ptr<clv_rgb_converter, Deleter> converter_;
};

} // namespace

void bind_colour(py::module_ &module) {
    py::class_<RgbConverter>(module, "RgbConverter",
                             "Pictures of one format <-> R'G'B'. One thread at a time; the GIL is released.")
        .def(py::init<const clv_format &, int>(), py::arg("format"), py::arg("dither") = 0)
        .def("from_picture", &RgbConverter::from_picture, py::arg("planes"),
             "float32 [3, height, width], 0..1 for legal colours.")
        .def("to_picture", &RgbConverter::to_picture, py::arg("rgb"), py::arg("planes"),
             "Writes float32 [3, height, width] into planes.");
}

} // namespace clv::python
