// SPDX-License-Identifier: BSD-2-Clause
// clarivid._core: arrays handed over without a copy, as DLPack has it
// (https://dmlc.github.io/dlpack/latest/: the C structures and the Python protocol, version 1).
//
//     producer.__dlpack__() --> capsule "dltensor" --> consumer: renames it to "used_dltensor", and calls the
//                                                      deleter when it needs the memory no more
//
// A capsule that nobody consumed calls the deleter itself. Since version 1.0 there is a second structure,
// which begins with the version and has flags; its capsules are called "dltensor_versioned".
#include <cstdint>
#include <iterator>
#include <memory>

#include "python/host.h"

namespace clv::python {
namespace {

struct DlDevice {
    int32_t type;
    int32_t id;
};

struct DlType {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
};

struct DlTensor {
    void *data;
    DlDevice device;
    int32_t dimensions;
    DlType type;
    int64_t *shape;
    int64_t *strides; ///< in elements; null: contiguous
    uint64_t byte_offset;
};

struct Managed {
    DlTensor tensor;
    void *manager;
    void (*deleter)(Managed *self);
};

struct Versioned {
    uint32_t major;
    uint32_t minor;
    void *manager;
    void (*deleter)(Versioned *self);
    uint64_t flags;
    DlTensor tensor;
};

constexpr uint32_t kMajor = 1; ///< that of the structures above
constexpr uint64_t kReadOnly = 1;
constexpr int kHost = 1;
constexpr int kPinned = 3; ///< kDLCUDAHost: host memory that the device reads, too

constexpr const char *kPlain = "dltensor";
constexpr const char *kWithVersion = "dltensor_versioned";

/// What an exported tensor holds until its deleter is called.
template <class Tensor>
struct Export {
    Tensor managed = {};
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;
    PyObject *owner = nullptr;
};

template <class Tensor>
void release(Tensor *managed) {
    auto *self = static_cast<Export<Tensor> *>(managed->manager);
    if (Py_IsInitialized()) { // consumers may outlive the interpreter; nobody needs the memory then
        const py::gil_scoped_acquire gil;
        Py_XDECREF(self->owner);
    }
    delete self;
}

template <class Tensor>
void drop(PyObject *capsule, const char *name) {
    if (!PyCapsule_IsValid(capsule, name))
        return; // consumed
    auto *managed = static_cast<Tensor *>(PyCapsule_GetPointer(capsule, name));
    managed->deleter(managed);
}

struct Description {
    py::object owner;
    uintptr_t address;
    std::vector<int64_t> shape;
    std::vector<int64_t> strides;
    DlType type;
    DlDevice device;
    bool read_only;
};

template <class Tensor>
std::unique_ptr<Export<Tensor>> make_export(const Description &what) {
    auto self = std::make_unique<Export<Tensor>>();
    self->shape = what.shape;
    self->strides = what.strides;
    self->managed.tensor = {pointer_of(what.address),
                            what.device,
                            static_cast<int32_t>(what.shape.size()),
                            what.type,
                            self->shape.data(),
                            self->strides.data(),
                            0};
    self->managed.manager = self.get();
    self->managed.deleter = &release<Tensor>;
    self->owner = py::object(what.owner).release().ptr();
    return self;
}

py::object capsule_of(const Description &what, bool versioned) {
    PyObject *capsule;
    if (versioned) {
        auto self = make_export<Versioned>(what);
        self->managed.major = kMajor;
        self->managed.minor = 0;
        self->managed.flags = what.read_only ? kReadOnly : 0;
        capsule = PyCapsule_New(&self.release()->managed, kWithVersion,
                                [](PyObject *one) { drop<Versioned>(one, kWithVersion); });
    } else {
        auto self = make_export<Managed>(what);
        capsule = PyCapsule_New(&self.release()->managed, kPlain,
                                [](PyObject *one) { drop<Managed>(one, kPlain); });
    }
    return py::reinterpret_steal<py::object>(capsule);
}

py::object export_array(py::object owner, uintptr_t address, std::vector<int64_t> shape,
                        std::vector<int64_t> strides, int code, int bits, int device_type, int device_id,
                        bool read_only, bool versioned) {
    if (shape.size() != strides.size())
        throw py::value_error("an array has as many strides as dimensions");
    return capsule_of({std::move(owner), address, std::move(shape), std::move(strides),
                       DlType{static_cast<uint8_t>(code), static_cast<uint8_t>(bits), 1},
                       DlDevice{device_type, device_id}, read_only},
                      versioned);
}

/// An array of somebody else's, held until this goes.
class Import {
public:
    explicit Import(const py::object &capsule) {
        PyObject *const handle = capsule.ptr();
        if (PyCapsule_IsValid(handle, kWithVersion)) {
            versioned_ = static_cast<Versioned *>(PyCapsule_GetPointer(handle, kWithVersion));
            PyCapsule_SetName(handle, "used_dltensor_versioned");
            if (versioned_->major != kMajor) { // of the rest only the deleter is known to be where it is
                const uint32_t major = versioned_->major;
                drop();
                throw py::value_error("it comes as version " + std::to_string(major) +
                                      " of DLPack, and version 1 is known here");
            }
            tensor_ = &versioned_->tensor;
        } else if (PyCapsule_IsValid(handle, kPlain)) {
            managed_ = static_cast<Managed *>(PyCapsule_GetPointer(handle, kPlain));
            PyCapsule_SetName(handle, "used_dltensor");
            tensor_ = &managed_->tensor;
        } else {
            throw py::value_error("its __dlpack__() gave no capsule of DLPack that is still to be consumed");
        }
    }
    ~Import() { drop(); }
    Import(const Import &) = delete;
    Import &operator=(const Import &) = delete;

    uintptr_t address() const {
        return reinterpret_cast<uintptr_t>(tensor_->data) + static_cast<uintptr_t>(tensor_->byte_offset);
    }
    std::vector<int64_t> shape() const { return {tensor_->shape, tensor_->shape + tensor_->dimensions}; }
    /// In bytes.
    std::vector<int64_t> strides() const {
        const auto dimensions = static_cast<size_t>(tensor_->dimensions);
        std::vector<int64_t> all(dimensions);
        int64_t step = item_bytes();
        for (size_t i = dimensions; i-- > 0; step *= tensor_->shape[i])
            all[i] = tensor_->strides ? tensor_->strides[i] * item_bytes() : step;
        return all;
    }
    /// As numpy calls it, such as "uint8"; "" for types that numpy has not.
    std::string type() const {
        constexpr const char *names[] = {"int", "uint", "float", nullptr, nullptr, "complex"};
        const DlType type = tensor_->type;
        if (type.lanes == 1 && type.code == 6 && type.bits == 8)
            return "bool";
        if (type.lanes != 1 || type.code >= std::size(names) || !names[type.code] || type.bits % 8 != 0)
            return "";
        return names[type.code] + std::to_string(type.bits);
    }
    std::pair<int, int> device() const { return {tensor_->device.type, tensor_->device.id}; }
    bool read_only() const { return versioned_ && (versioned_->flags & kReadOnly) != 0; }

    /// An array of numpy on the same memory, which holds `self`.
    static py::array numpy(const py::object &self) {
        const auto &one = self.cast<const Import &>();
        if (one.tensor_->device.type != kHost && one.tensor_->device.type != kPinned)
            throw py::value_error("an array in device memory is none of numpy's");
        if (one.type().empty())
            throw py::value_error("numpy has no type for it");
        py::array array(py::dtype(one.type()), one.shape(), one.strides(), pointer_of(one.address()), self);
        if (one.read_only())
            array.attr("flags").attr("writeable") = false;
        return array;
    }

private:
    int64_t item_bytes() const { return int64_t{tensor_->type.bits} * tensor_->type.lanes / 8; }
    void drop() {
        if (versioned_ && versioned_->deleter)
            versioned_->deleter(versioned_);
        if (managed_ && managed_->deleter)
            managed_->deleter(managed_);
        versioned_ = nullptr;
        managed_ = nullptr;
    }

    Managed *managed_ = nullptr;
    Versioned *versioned_ = nullptr;
    const DlTensor *tensor_ = nullptr;
};

} // namespace

void bind_dlpack(py::module_ &module) {
    module.def("dlpack_export", &export_array, py::arg("owner"), py::arg("address"), py::arg("shape"),
               py::arg("strides"), py::kw_only(), py::arg("code"), py::arg("bits"), py::arg("device_type"),
               py::arg("device_id"), py::arg("read_only"), py::arg("versioned"),
               "A capsule of DLPack for an array in memory that `owner` keeps; strides in elements.");
    py::class_<Import>(module, "DlpackImport", "An array that came by DLPack, held until this goes.")
        .def(py::init<const py::object &>(), py::arg("capsule"))
        .def_property_readonly("address", &Import::address)
        .def_property_readonly("shape", &Import::shape)
        .def_property_readonly("strides", &Import::strides, "In bytes.")
        .def_property_readonly("type", &Import::type, "numpy's name; empty for types that numpy has not.")
        .def_property_readonly("device", &Import::device, "DLDeviceType and number.")
        .def_property_readonly("read_only", &Import::read_only)
        .def("numpy", &Import::numpy, "An array of numpy on the same memory, which keeps it.");
}

} // namespace clv::python
