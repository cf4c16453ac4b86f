// One function a class; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace sn {

void bind_channels(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_graph(pybind11::module_& m);
void bind_kernels(pybind11::module_& m);
void bind_io(pybind11::module_& m);
void bind_pack(pybind11::module_& m);

// str, bytes or os.PathLike, by Python's own rules for file names (which are not always UTF-8).
std::string to_path(const pybind11::object& path);

}  // namespace sn
