#include <pybind11/pybind11.h>

#include "base/error.h"
#include "bind/bind.h"
#include "io/snet.h"

namespace py = pybind11;

namespace sn {

std::string to_path(const py::object& path) {
  PyObject* bytes = nullptr;
  if (!PyUnicode_FSConverter(path.ptr(), &bytes)) throw py::error_already_set();
  return std::string(py::reinterpret_steal<py::bytes>(bytes));
}

void bind_io(py::module_& m) {
  m.def(
      "save",
      [](const Graph& graph, const py::object& path, bool fp16) {
        const std::string name = to_path(path);
        const py::gil_scoped_release release;
        save_snet(graph, name, fp16);
      },
      py::arg("graph"), py::arg("path"), py::arg("fp16") = false, "Write a .snet file; see sparsenet.Graph.save.");
  m.def(
      "load",
      [](const py::object& path) {
        const std::string name = to_path(path);
        const py::gil_scoped_release release;
        return load_snet(name);
      },
      py::arg("path"), "Read a .snet file; see sparsenet.load.");
  m.def(
      "load_with_digest",
      [](const py::object& path) {
        const std::string name = to_path(path);
        std::string digest;
        Graph graph;
        {
          const py::gil_scoped_release release;
          graph = load_snet(name, {}, &digest);
        }
        return py::make_tuple(std::move(graph), digest);
      },
      py::arg("path"), "(graph, digest): the same, and the SHA-256 that tells this content from any other.");
  m.def(
      "save_bytes",
      [](const Graph& graph, bool fp16) {
        std::string bytes;
        {
          const py::gil_scoped_release release;
          bytes = serialize(graph, fp16);
        }
        return py::bytes(bytes);
      },
      py::arg("graph"), py::arg("fp16") = false, "What save() would write.");
  m.def(
      "load_bytes",
      [](const py::bytes& data) {
        const std::string_view bytes(data);
        const py::gil_scoped_release release;
        return parse_snet(bytes.data(), bytes.size());
      },
      py::arg("data"), "The graph in the bytes of a .snet file.");
  m.def(
      "load_bytes_with_digest",
      [](const py::bytes& data) {
        const std::string_view bytes(data);
        std::string digest;
        Graph graph;
        {
          const py::gil_scoped_release release;
          graph = parse_snet(bytes.data(), bytes.size(), {}, &digest);
        }
        return py::make_tuple(std::move(graph), digest);
      },
      py::arg("data"), "(graph, digest): the same from bytes.");
}

}  // namespace sn
