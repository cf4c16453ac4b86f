// What this binary and this machine can do: the kernel table, the ISAs, the FMA peak.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/cpu.h"
#include "bind/bind.h"
#include "kernels/peak/peak.h"
#include "kernels/registry.h"

namespace py = pybind11;

namespace sn {

void bind_kernels(py::module_& m) {
  m.def(
      "kernels",
      [] {
        py::list out;
        for (const KernelRow& row : all_kernels()) {
          py::dict d;
          d["family"] = row.family;
          d["name"] = row.name;
          d["isa"] = isa_name(row.isa);
          d["available"] = (isa_bit(row.isa) & available_isas()) != 0;
          out.append(d);
        }
        return out;
      },
      "Every kernel in this binary; 'available' says whether this CPU runs it.");
  m.def("isas", [] { return isa_names(available_isas()); }, "ISAs this binary holds kernels for and this CPU runs.");
  m.def(
      "best_isa", [](const std::string& requested) { return std::string(isa_name(select_isa(requested))); },
      py::arg("requested") = "",
      "The ISA compile() takes: the one asked for, else SPARSENET_FORCE_ISA, else the best.");
  m.def(
      "peak_gflops",
      [](const std::string& isa) {
        const Isa selected = select_isa(isa);
        py::gil_scoped_release release;
        return measure_peak_gflops(selected);
      },
      py::arg("isa") = "", "Measured FMA peak of one core in GFLOP/s (two operations an FMA); takes milliseconds.");
}

}  // namespace sn
