#include <pybind11/pybind11.h>

#include "base/error.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace {

// The class in sparsenet/errors.py.
const char* class_of(sn::ErrorCode code) {
  switch (code) {
    case sn::ErrorCode::InvalidArgument:
      return "InvalidArgumentError";
    case sn::ErrorCode::Graph:
      return "GraphError";
    case sn::ErrorCode::Shape:
      return "ShapeError";
    case sn::ErrorCode::UnsupportedOp:
      return "UnsupportedOpError";
    case sn::ErrorCode::FileFormat:
      return "FileFormatError";
    case sn::ErrorCode::Io:
      return "SparsenetIOError";
    case sn::ErrorCode::OutOfMemory:
    case sn::ErrorCode::Internal:
      break;
  }
  return "SparsenetError";
}

void translate(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const sn::Error& e) {
    if (e.code() == sn::ErrorCode::OutOfMemory) return py::set_error(PyExc_MemoryError, e.what());
    py::set_error(py::module_::import("sparsenet.errors").attr(class_of(e.code())), e.what());
  }
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of sparsenet; use it through the package.";
  m.attr("__version__") = SPARSENET_VERSION;
  py::register_exception_translator(translate);
  sn::bind_graph(m);
  sn::bind_channels(m);
  sn::bind_engine(m);
  sn::bind_kernels(m);
  sn::bind_io(m);
  sn::bind_pack(m);
}
