// One function a class; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace sn {

void bind_channels(pybind11::module_& m);
void bind_engine(pybind11::module_& m);
void bind_graph(pybind11::module_& m);
void bind_kernels(pybind11::module_& m);
void bind_io(pybind11::module_& m);
void bind_pack(pybind11::module_& m);

}  // namespace sn
