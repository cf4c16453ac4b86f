#include "graph/graph.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <iomanip>
#include <optional>
#include <sstream>

#include "base/error.h"
#include "bind/bind.h"
#include "graph/ops.h"
#include "passes/passes.h"

namespace py = pybind11;

namespace sn {
namespace {

py::tuple shape_tuple(const Shape& shape) {
  py::tuple out(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i)
    out[i] = i == 0 && shape[i] == kBatch ? py::object(py::none()) : py::object(py::int_(shape[i]));
  return out;
}

ValueId find(const Graph& graph, const std::string& name) {
  const ValueId v = graph.find(name);
  if (v == kNoValue) fail(ErrorCode::Graph, "no value is named '", name, "'");
  return v;
}

const Value& value_of(const Graph& graph, const std::string& name) {
  return graph.values[static_cast<std::size_t>(find(graph, name))];
}

std::string add_input(Graph& graph, const std::string& name, const std::vector<std::optional<std::int64_t>>& dims) {
  Shape shape;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i > 0 && !dims[i]) fail(ErrorCode::Shape, "input '", name, "': only axis 0 may be None, got None on axis ", i);
    shape.push_back(dims[i].value_or(kBatch));
  }
  graph.add_input(name, std::move(shape));
  return name;
}

// The array itself where it is C-contiguous float32 with few zeros, a converted or compressed copy otherwise.
std::string add_constant(Graph& graph, const std::string& name, const py::array& array) {
  const char kind = array.dtype().kind();
  if (std::string("fiub").find(kind) == std::string::npos)
    fail(ErrorCode::Shape, "constant '", name, "': expected an array of real numbers, got dtype ",
         py::str(array.dtype()).cast<std::string>());
  auto floats = py::array_t < float, py::array::c_style | py::array::forcecast > ::ensure(array);
  if (!floats) throw py::error_already_set();
  Shape shape(floats.shape(), floats.shape() + floats.ndim());
  const float* data = floats.data();
  PyObject* owner = floats.release().ptr();
  // The last reference may go in an engine's thread without the GIL, or after the interpreter.
  graph.add_constant(name, std::move(shape), std::shared_ptr<const float>(data, [owner](const float*) {
                       if (!Py_IsInitialized()) return;
                       py::gil_scoped_acquire gil;
                       Py_DECREF(owner);
                     }));
  return name;
}

// A read-only view that keeps the data alive, with or without the graph; of a copy where the graph holds it compressed.
py::object constant(const Graph& graph, const std::string& name) {
  const Value& value = value_of(graph, name);
  if (!value.is_constant()) return py::none();
  auto* share = new std::shared_ptr<const float>(value.dense());
  const py::capsule owner(share, [](void* p) { delete static_cast<std::shared_ptr<const float>*>(p); });
  py::array_t<float> view(value.shape, share->get(), owner);
  view.attr("setflags")(py::arg("write") = false);
  return std::move(view);
}

// The table says what a Python value stands for: [] alone could be ints or floats, 1 an int or a float.
Attr to_attr(const AttrInfo& info, py::handle value) {
  switch (info.kind) {
    case AttrKind::Int:
      return value.cast<std::int64_t>();
    case AttrKind::Float:
      return value.cast<double>();
    case AttrKind::Ints:
      return value.cast<std::vector<std::int64_t>>();
    case AttrKind::Floats:
      return value.cast<std::vector<double>>();
    case AttrKind::Str:
      return value.cast<std::string>();
  }
  fail(ErrorCode::Internal, "unknown attribute kind");
}

std::string add_node(Graph& graph, const std::string& op_text, const std::vector<std::optional<std::string>>& in,
                     const py::dict& attrs, const std::string& name) {
  const Op op = op_from_name(op_text);
  const std::string who = "node '" + name + "' (" + op_text + "): ";
  std::vector<ValueId> ids;
  for (const auto& input : in) {
    ids.push_back(input ? graph.find(*input) : kNoValue);
    if (input && ids.back() == kNoValue) fail(ErrorCode::Graph, who, "no value is named '", *input, "'");
  }
  Attrs given;
  for (const auto& item : attrs) {
    const auto key = item.first.cast<std::string>();
    const AttrInfo* info = op_info(op).find(key);
    try {
      // An unknown attribute goes on as anything: add_node names the ones there are.
      given[key] = info ? to_attr(*info, item.second) : Attr(std::string());
    } catch (const py::cast_error&) {
      fail(ErrorCode::Graph, who, "attribute '", key, "' must be ", attr_kind_name(info->kind), ", got ",
           py::repr(item.second).cast<std::string>());
    }
  }
  return graph.values[static_cast<std::size_t>(graph.add_node(op, std::move(ids), std::move(given), name))].name;
}

struct NodeView {
  std::string op, name;
  std::vector<std::optional<std::string>> inputs;
  std::string output;
  Attrs attrs;
};

std::vector<NodeView> nodes(const Graph& graph) {
  std::vector<NodeView> views;
  for (const Node& node : graph.nodes) {
    NodeView view{
        op_name(node.op), node.name, {}, graph.values[static_cast<std::size_t>(node.output)].name, node.attrs};
    for (const ValueId v : node.inputs)
      view.inputs.push_back(v == kNoValue ? std::nullopt
                                          : std::make_optional(graph.values[static_cast<std::size_t>(v)].name));
    views.push_back(std::move(view));
  }
  return views;
}

py::list named_shapes(const Graph& graph, const std::vector<ValueId>& ids) {
  py::list out;
  for (const ValueId v : ids) {
    const Value& value = graph.values[static_cast<std::size_t>(v)];
    out.append(py::make_tuple(value.name, shape_tuple(value.shape)));
  }
  return out;
}

void set_outputs(Graph& graph, const std::vector<std::string>& names) {
  std::vector<ValueId> ids;
  for (const std::string& name : names) ids.push_back(find(graph, name));
  graph.outputs = std::move(ids);
}

std::string count_text(std::int64_t n) {
  std::ostringstream out;
  out << std::setprecision(3);
  if (n >= 1000000) {
    out << static_cast<double>(n) / 1e6 << " M";
  } else if (n >= 1000) {
    out << static_cast<double>(n) / 1e3 << " k";
  } else {
    out << n;
  }
  return out.str();
}

// <sparsenet.Graph x[N, 3, 32, 32] -> fc[N, 10]: 3 Conv, 2 Activation, 1 Linear; 12.3 k weights, 90.0% zeros>
std::string repr(const Graph& graph) {
  const auto list = [&](const std::vector<ValueId>& ids) {
    std::string text;
    for (const ValueId v : ids) {
      const Value& value = graph.values[static_cast<std::size_t>(v)];
      text += (text.empty() ? "" : ", ") + value.name + to_string(value.shape);
    }
    return text.empty() ? std::string("?") : text;
  };
  std::vector<std::pair<int, std::string>> ops;
  for (const Node& node : graph.nodes) {
    const auto it = std::find_if(ops.begin(), ops.end(), [&](const auto& o) { return o.second == op_name(node.op); });
    if (it == ops.end()) {
      ops.emplace_back(1, op_name(node.op));
    } else {
      ++it->first;
    }
  }
  std::stable_sort(ops.begin(), ops.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::int64_t weights = 0, zeros = 0;
  for (const Value& value : graph.values) {
    if (!value.is_constant()) continue;
    weights += value.size();
    zeros += value.sparse ? value.size() - value.sparse->count_nonzero()
                          : std::count(value.data.get(), value.data.get() + value.size(), 0.0f);
  }
  std::ostringstream out;
  out << "<sparsenet.Graph " << list(graph.inputs) << " -> " << list(graph.outputs) << ":";
  if (ops.empty()) out << " no nodes";
  for (std::size_t i = 0; i < ops.size(); ++i) out << (i ? ", " : " ") << ops[i].first << " " << ops[i].second;
  out << "; " << count_text(weights) << " weights";
  if (zeros)
    out << ", " << std::fixed << std::setprecision(1)
        << 100.0 * static_cast<double>(zeros) / static_cast<double>(weights) << "% zeros";
  out << ">";
  return out.str();
}

py::list op_table() {
  py::list rows;
  for (int i = 0; i < static_cast<int>(Op::kCount); ++i) {
    const OpInfo& info = op_info(static_cast<Op>(i));
    py::list attrs;
    for (const AttrInfo& a : info.attrs) {
      py::dict row(py::arg("name") = a.name, py::arg("kind") = attr_kind_name(a.kind));
      if (a.has_default) row["default"] = a.default_value;
      attrs.append(row);
    }
    rows.append(py::dict(py::arg("name") = info.name, py::arg("min_inputs") = info.min_in,
                         py::arg("max_inputs") = info.max_in, py::arg("attrs") = attrs));
  }
  return rows;
}

}  // namespace

void bind_graph(py::module_& m) {
  py::class_<NodeView>(m, "Node", "A snapshot of one node: changing it changes no graph.")
      .def_readonly("op", &NodeView::op)
      .def_readonly("name", &NodeView::name)
      .def_readonly("inputs", &NodeView::inputs)
      .def_readonly("output", &NodeView::output)
      .def_readonly("attrs", &NodeView::attrs)
      .def("__repr__", [](const NodeView& n) { return "<Node " + n.name + " (" + n.op + ") -> " + n.output + ">"; });

  py::class_<Graph>(m, "Graph")
      .def(py::init<>())
      .def(py::init<const Graph&>(), py::arg("other"))
      .def("add_input", &add_input, py::arg("name"), py::arg("shape"))
      .def("add_constant", &add_constant, py::arg("name"), py::arg("array"))
      .def("add_node", &add_node, py::arg("op"), py::arg("inputs"), py::arg("attrs") = py::dict(), py::arg("name") = "")
      .def("set_outputs", &set_outputs, py::arg("names"))
      .def_readwrite("fixed_batch", &Graph::fixed_batch)
      .def_property_readonly("nodes", &nodes)
      .def_property_readonly("inputs", [](const Graph& g) { return named_shapes(g, g.inputs); })
      .def_property_readonly("outputs", [](const Graph& g) { return named_shapes(g, g.outputs); })
      .def_property_readonly("values",
                             [](const Graph& g) {
                               std::vector<std::string> names;
                               for (const Value& value : g.values) names.push_back(value.name);
                               return names;
                             })
      .def(
          "shape", [](const Graph& g, const std::string& name) { return shape_tuple(value_of(g, name).shape); },
          py::arg("name"))
      .def("constant", &constant, py::arg("name"))
      .def("unique_name", &Graph::unique_name, py::arg("wish"))
      .def("verify", &Graph::verify)
      .def("compact", &Graph::compact)
      .def("run_passes", &run_passes, py::arg("disabled") = std::vector<std::string>{})
      .def("copy", [](const Graph& g) { return g; })
      .def("__repr__", &repr);

  m.def("op_table", &op_table);
  m.def("passes", [] {
    std::vector<std::pair<std::string, std::string>> out;
    for (const Pass& pass : all_passes()) out.emplace_back(pass.name, pass.what);
    return out;
  });
}

}  // namespace sn
