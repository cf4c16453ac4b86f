// _core.Engine: buffers in, buffers out. What users may hand in (kinds of arrays, dtypes, strides) is decided in
// sparsenet/engine.py, which words the errors; here only what would be undefined behaviour is refused.
#include "plan/engine.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bind/bind.h"
#include "io/snet.h"

namespace py = pybind11;

namespace sn {
namespace {

py::tuple shape_tuple(const Shape& shape) {
  py::tuple out(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) {
    out[i] = shape[i] == kBatch ? py::object(py::none()) : py::object(py::int_(shape[i]));
  }
  return out;
}

py::list infos(const std::vector<TensorInfo>& tensors) {
  py::list out;
  for (const TensorInfo& t : tensors) out.append(py::make_tuple(t.name, shape_tuple(t.shape)));
  return out;
}

// Elements per sample: axis 0 is the batch, whether fixed or not.
std::int64_t sample_size(const Shape& shape) {
  std::int64_t n = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) n *= shape[i];
  return n;
}

float* checked_data(const py::handle& object, const TensorInfo& info, std::int64_t batch, bool writable) {
  if (!py::isinstance<py::array>(object)) fail(ErrorCode::InvalidArgument, "'", info.name, "': expected an ndarray");
  const auto array = py::reinterpret_borrow<py::array>(object);
  const bool fits = py::isinstance<py::array_t<float>>(array) && (array.flags() & py::array::c_style) &&
                    array.size() == batch * sample_size(info.shape) && (!writable || array.writeable());
  if (!fits) {
    fail(ErrorCode::Shape, "'", info.name, "': expected a C-contiguous ", writable ? "writable " : "",
         "float32 array of shape ", to_string(info.shape), " with N = ", batch);
  }
  return const_cast<float*>(static_cast<const float*>(array.data()));
}

std::vector<float*> checked_all(const py::sequence& arrays, const std::vector<TensorInfo>& infos, std::int64_t batch,
                                bool writable) {
  if (arrays.size() != infos.size()) {
    fail(ErrorCode::InvalidArgument, "expected ", infos.size(), writable ? " outputs" : " inputs", ", got ",
         arrays.size());
  }
  std::vector<float*> out;
  for (std::size_t i = 0; i < infos.size(); ++i) {
    out.push_back(checked_data(py::object(arrays[i]), infos[i], batch, writable));
  }
  return out;
}

py::dict step_dict(const StepInfo& s) {
  py::dict d;
  d["node"] = s.node;
  d["op"] = s.op;
  d["kernel"] = s.kernel;
  d["layout"] = s.layout;
  d["why"] = s.why;
  d["shape"] = shape_tuple(s.out_shape);
  d["weights"] = s.weights;
  d["nnz"] = s.nnz;
  d["macs"] = s.macs;
  d["useful_macs"] = s.useful_macs;
  d["packed_bytes"] = s.packed_bytes;
  return d;
}

// The keyword arguments of both compile functions.
CompileOptions to_options(const py::kwargs& given) {
  CompileOptions o;
  const auto take = [&](const char* name, auto& member) {
    member = given[name].cast<std::decay_t<decltype(member)>>();
  };
  take("threads", o.threads);
  take("tune", o.tune);
  take("tune_seconds", o.tune_seconds);
  take("batch", o.batch);
  take("isa", o.isa);
  take("kernel", o.kernel);
  take("winograd", o.winograd);
  take("passes", o.passes);
  take("disabled_passes", o.disabled_passes);
  return o;
}

// pybind11 holders are to non-const; every method bound below is const.
std::shared_ptr<Engine> holder(const std::shared_ptr<const Engine>& engine) {
  return std::const_pointer_cast<Engine>(engine);
}

std::shared_ptr<Engine> compile(const Graph& graph, const py::kwargs& options) {
  const CompileOptions o = to_options(options);
  Graph copy = graph;
  py::gil_scoped_release release;
  return holder(Engine::compile(std::move(copy), o));
}

// No Python object ever holds this graph, so its weights are freed one by one as they are packed.
py::tuple compile_file(const py::object& path, const py::kwargs& options) {
  const CompileOptions o = to_options(options);
  const std::string name = to_path(path);
  std::string digest;
  std::shared_ptr<Engine> engine;
  {
    py::gil_scoped_release release;
    engine = holder(Engine::compile(load_snet(name, {}, &digest), o));
  }
  return py::make_tuple(engine, digest);
}

void run(const Engine& engine, std::int64_t batch, const py::sequence& inputs, const py::sequence& outputs) {
  const std::vector<float*> in = checked_all(inputs, engine.inputs(), batch, false);
  const std::vector<float*> out = checked_all(outputs, engine.outputs(), batch, true);
  py::gil_scoped_release release;
  engine.run(batch, in.data(), out.data());
}

// The array's batch where it is just what a kernel reads in place, float32 of this shape, or 0.
std::int64_t plain_batch(const py::handle& object, const TensorInfo& info) {
  constexpr int kPlain = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (!py::isinstance<py::array_t<float>>(object)) return 0;
  const auto array = py::reinterpret_borrow<py::array>(object);
  const std::size_t axes = info.shape.size();
  if ((array.flags() & kPlain) != kPlain || static_cast<std::size_t>(array.ndim()) != axes) return 0;
  for (std::size_t i = 0; i < axes; ++i) {
    if (info.shape[i] != kBatch && info.shape[i] != array.shape(static_cast<py::ssize_t>(i))) return 0;
  }
  return array.shape(0);
}

// A call with nothing to convert: new arrays, one or a tuple; None where Python has to look closer. A small network
// runs in a few microseconds, and the general path in Python takes ten.
py::object call(const Engine& engine, const py::tuple& inputs) {
  const std::vector<TensorInfo>& in = engine.inputs();
  std::vector<const float*> data(in.size());
  std::int64_t batch = 0;
  if (inputs.size() != in.size()) return py::none();
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::int64_t n = plain_batch(inputs[i], in[i]);
    if (n == 0 || (i > 0 && n != batch)) return py::none();
    batch = n;
    data[i] = static_cast<const float*>(py::reinterpret_borrow<py::array>(inputs[i]).data());
  }
  py::tuple results(engine.outputs().size());
  std::vector<float*> out;
  for (std::size_t i = 0; i < results.size(); ++i) {
    std::vector<py::ssize_t> shape(engine.outputs()[i].shape.begin(), engine.outputs()[i].shape.end());
    shape[0] = batch;
    py::array_t<float> array(shape);
    out.push_back(array.mutable_data());
    results[i] = std::move(array);
  }
  {
    py::gil_scoped_release release;
    engine.run(batch, data.data(), out.data());
  }
  return results.size() == 1 ? py::object(results[0]) : results;
}

py::tuple run_timed(const Engine& engine, std::int64_t batch, const py::sequence& inputs, const py::sequence& outputs) {
  const std::vector<float*> in = checked_all(inputs, engine.inputs(), batch, false);
  const std::vector<float*> out = checked_all(outputs, engine.outputs(), batch, true);
  std::vector<double> begin(engine.steps().size()), end(engine.steps().size());
  {
    py::gil_scoped_release release;
    engine.run_timed(batch, in.data(), out.data(), begin.data(), end.data());
  }
  return py::make_tuple(begin, end);
}

}  // namespace

void bind_engine(py::module_& m) {
  py::class_<Engine, std::shared_ptr<Engine>>(m, "Engine", "A compiled network; see sparsenet.Engine.")
      .def_static("compile", &compile, py::arg("graph"),
                  "An engine for a graph, with the options of sparsenet.compile() as keywords.")
      .def_static("compile_file", &compile_file, py::arg("path"),
                  "(engine, digest) for a .snet file, whose weights are never in memory all at once but packed.")
      .def("run", &run, py::arg("batch"), py::arg("inputs"), py::arg("outputs"),
           "Fills `outputs` from `inputs`: C-contiguous float32 arrays of batch * elements per sample. Releases the "
           "GIL.")
      .def("call", &call, py::arg("inputs"),
           "What `run` fills, in arrays of its own: one, or a tuple. None unless the tuple `inputs` holds nothing but "
           "C-contiguous float32 ndarrays of the right shapes.")
      .def("run_timed", &run_timed, py::arg("batch"), py::arg("inputs"), py::arg("outputs"),
           "run, and (begin, end) of each step in seconds from the start of the call.")
      .def("arena_bytes", &Engine::arena_bytes, py::arg("batch"))
      .def("reserve", &Engine::reserve, py::arg("batch"), py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("inputs", [](const Engine& e) { return infos(e.inputs()); })
      .def_property_readonly("outputs", [](const Engine& e) { return infos(e.outputs()); })
      .def_property_readonly("steps",
                             [](const Engine& e) {
                               py::list out;
                               for (const StepInfo& s : e.steps()) out.append(step_dict(s));
                               return out;
                             })
      .def_property_readonly("isa", [](const Engine& e) { return e.options().isa; })
      .def_property_readonly("threads", [](const Engine& e) { return e.options().threads; })
      .def_property_readonly("packed_bytes", &Engine::packed_bytes);
}

}  // namespace sn
