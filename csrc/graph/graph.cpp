#include "graph/graph.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/error.h"
#include "graph/ops.h"
#include "graph/shape.h"

namespace sn {
namespace {

template <class T>
const T& attr(const Node& node, const char* name) {
  const auto it = node.attrs.find(name);
  const T* value = it == node.attrs.end() ? nullptr : std::get_if<T>(&it->second);
  if (!value) fail(ErrorCode::Internal, label(node), ": no attribute '", name, "' of the kind asked for");
  return *value;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

ValueId add_value(Graph& graph, const std::string& name, Shape shape, std::shared_ptr<const float> data) {
  if (name.empty()) fail(ErrorCode::Graph, "a value needs a name");
  if (graph.find(name) != kNoValue) fail(ErrorCode::Graph, "there is already a value named '", name, "'");
  graph.values.push_back(Value{name, std::move(shape), std::move(data)});
  compress(graph.values.back());
  return static_cast<ValueId>(graph.values.size()) - 1;
}

}  // namespace

void compress(Value& constant) {
  if (!constant.data) return;
  constant.sparse = SparseFloats::compress(constant.data.get(), constant.size());
  if (constant.sparse) constant.data.reset();
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ", ";
    text += i == 0 && shape[i] == kBatch ? "N" : std::to_string(shape[i]);
  }
  return text + "]";
}

std::int64_t Value::size() const {
  std::int64_t count = 1;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (!(i == 0 && shape[0] == kBatch)) count *= shape[i];
  return count;
}

std::shared_ptr<const float> Value::dense() const {
  if (!sparse) return data;
  std::shared_ptr<float> copy(static_cast<float*>(std::malloc(static_cast<std::size_t>(size()) * sizeof(float))),
                              [](float* p) { std::free(p); });
  if (!copy) throw std::bad_alloc();
  sparse->expand(copy.get());
  return copy;
}

std::int64_t Node::i(const char* name) const {
  return attr<std::int64_t>(*this, name);
}
double Node::f(const char* name) const {
  return attr<double>(*this, name);
}
const std::vector<std::int64_t>& Node::ints(const char* name) const {
  return attr<std::vector<std::int64_t>>(*this, name);
}
const std::vector<double>& Node::floats(const char* name) const {
  return attr<std::vector<double>>(*this, name);
}
const std::string& Node::str(const char* name) const {
  return attr<std::string>(*this, name);
}

ValueId Graph::add_input(const std::string& name, Shape shape) {
  check_activation_shape("input '" + name + "'", shape);
  const ValueId id = add_value(*this, name, std::move(shape), nullptr);
  inputs.push_back(id);
  return id;
}

ValueId Graph::add_constant(const std::string& name, Shape shape, std::shared_ptr<const float> data) {
  check_constant_shape("constant '" + name + "'", shape);
  if (!data) fail(ErrorCode::Graph, "constant '", name, "' has no data");
  return add_value(*this, name, std::move(shape), std::move(data));
}

ValueId Graph::add_constant(const std::string& name, Shape shape, const std::vector<float>& data) {
  check_constant_shape("constant '" + name + "'", shape);
  const Value probe{name, shape, nullptr};
  if (probe.size() != static_cast<std::int64_t>(data.size()))
    fail(ErrorCode::Shape, "constant '", name, "': shape ", to_string(shape), " holds ", probe.size(),
         " elements, got ", data.size());
  std::shared_ptr<float[]> copy(new float[data.size()]);
  std::copy(data.begin(), data.end(), copy.get());
  return add_value(*this, name, std::move(shape), std::shared_ptr<const float>(copy, copy.get()));
}

ValueId Graph::add_node(Op op, std::vector<ValueId> in, Attrs attrs, const std::string& name) {
  Node node;
  node.op = op;
  node.name = name.empty() ? unique_name(lower(op_name(op))) : name;
  node.attrs = complete_attrs(op, node.name, std::move(attrs));
  const auto fewest = static_cast<std::size_t>(op_info(op).min_in);
  while (in.size() > fewest && in.back() == kNoValue) in.pop_back();
  node.inputs = std::move(in);
  Shape shape = infer_shape(*this, node);
  node.output = add_value(*this, node.name, std::move(shape), nullptr);
  nodes.push_back(std::move(node));
  return nodes.back().output;
}

ValueId Graph::find(const std::string& value_name) const {
  return names_.find(values, value_name);
}

std::string Graph::unique_name(const std::string& wish) const {
  return names_.unique(values, wish);
}

void Graph::swap_names(ValueId a, ValueId b) {
  std::swap(values[static_cast<std::size_t>(a)].name, values[static_cast<std::size_t>(b)].name);
  names_.forget();
}

void Graph::infer_shapes() {
  for (const Node& node : nodes) {
    Shape shape = infer_shape(*this, node);
    if (node.output < 0 || static_cast<std::size_t>(node.output) >= values.size())
      fail(ErrorCode::Graph, label(node), ": its output is value ", node.output, " of ", values.size());
    values[static_cast<std::size_t>(node.output)].shape = std::move(shape);
  }
}

std::vector<std::vector<int>> Graph::consumers() const {
  std::vector<std::vector<int>> readers(values.size());
  for (std::size_t n = 0; n < nodes.size(); ++n)
    for (const ValueId v : nodes[n].inputs) {
      if (v == kNoValue) continue;
      std::vector<int>& list = readers[static_cast<std::size_t>(v)];
      if (list.empty() || list.back() != static_cast<int>(n)) list.push_back(static_cast<int>(n));
    }
  return readers;
}

std::vector<int> Graph::producers() const {
  std::vector<int> writers(values.size(), -1);
  for (std::size_t n = 0; n < nodes.size(); ++n)
    writers[static_cast<std::size_t>(nodes[n].output)] = static_cast<int>(n);
  return writers;
}

void Graph::compact() {
  const std::vector<int> writer = producers();

  // Depth first from the outputs' nodes, in the old order, with a stack of our own: chains may be long.
  enum : char { kNew, kOpen, kDone };
  std::vector<char> needed(nodes.size(), 0), state(nodes.size(), kNew);
  std::vector<int> stack, order;
  for (const ValueId v : outputs)
    if (writer[static_cast<std::size_t>(v)] >= 0) stack.push_back(writer[static_cast<std::size_t>(v)]);
  while (!stack.empty()) {
    const auto n = static_cast<std::size_t>(stack.back());
    stack.pop_back();
    if (needed[n]) continue;
    needed[n] = 1;
    for (const ValueId v : nodes[n].inputs)
      if (v != kNoValue && writer[static_cast<std::size_t>(v)] >= 0)
        stack.push_back(writer[static_cast<std::size_t>(v)]);
  }
  for (std::size_t root = 0; root < nodes.size(); ++root) {
    if (!needed[root] || state[root] == kDone) continue;
    stack.assign(1, static_cast<int>(root));
    while (!stack.empty()) {
      const auto n = static_cast<std::size_t>(stack.back());
      if (state[n] != kNew) {
        stack.pop_back();
        if (state[n] == kOpen) order.push_back(static_cast<int>(n));
        state[n] = kDone;
        continue;
      }
      state[n] = kOpen;
      for (auto v = nodes[n].inputs.rbegin(); v != nodes[n].inputs.rend(); ++v) {
        const int before = *v == kNoValue ? -1 : writer[static_cast<std::size_t>(*v)];
        if (before < 0) continue;
        if (state[static_cast<std::size_t>(before)] == kOpen)
          fail(ErrorCode::Graph, label(nodes[n]), ": it depends on its own output");
        if (state[static_cast<std::size_t>(before)] == kNew) stack.push_back(before);
      }
    }
  }

  std::vector<char> keep(values.size(), 0);
  for (const ValueId v : inputs) keep[static_cast<std::size_t>(v)] = 1;
  for (const ValueId v : outputs) keep[static_cast<std::size_t>(v)] = 1;
  for (const int n : order) {
    const Node& node = nodes[static_cast<std::size_t>(n)];
    keep[static_cast<std::size_t>(node.output)] = 1;
    for (const ValueId v : node.inputs)
      if (v != kNoValue) keep[static_cast<std::size_t>(v)] = 1;
  }

  std::vector<ValueId> renumbered(values.size(), kNoValue);
  std::vector<Value> kept_values;
  for (std::size_t v = 0; v < values.size(); ++v) {
    if (!keep[v]) continue;
    renumbered[v] = static_cast<ValueId>(kept_values.size());
    kept_values.push_back(std::move(values[v]));
  }
  const auto renumber = [&](ValueId& v) {
    if (v != kNoValue) v = renumbered[static_cast<std::size_t>(v)];
  };
  std::vector<Node> kept_nodes;
  for (const int n : order) {
    kept_nodes.push_back(std::move(nodes[static_cast<std::size_t>(n)]));
    for (ValueId& v : kept_nodes.back().inputs) renumber(v);
    renumber(kept_nodes.back().output);
  }
  for (ValueId& v : inputs) renumber(v);
  for (ValueId& v : outputs) renumber(v);
  values = std::move(kept_values);
  nodes = std::move(kept_nodes);
  names_.forget();
}

}  // namespace sn
