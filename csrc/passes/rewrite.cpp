#include "passes/rewrite.h"

#include <algorithm>

namespace sn {

Links::Links(const Graph& graph)
    : writer(graph.values.size(), -1),
      readers(graph.values.size()),
      live(graph.nodes.size(), 0),
      is_output(graph.values.size(), 0) {
  std::vector<char> needed(graph.values.size(), 0);
  for (const ValueId v : graph.outputs) needed[v] = is_output[v] = 1;
  for (std::size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    if (node.output == kNoValue || !needed[node.output]) continue;
    live[n] = 1;
    writer[node.output] = static_cast<int>(n);
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      needed[v] = 1;
      readers[v].push_back(static_cast<int>(n));
    }
  }
  for (auto& list : readers) std::reverse(list.begin(), list.end());
}

int Links::sole_reader(ValueId v) const {
  return !is_output[v] && readers[v].size() == 1 ? readers[v][0] : -1;
}

int Links::private_writer(ValueId v) const {
  return sole_reader(v) >= 0 ? writer[v] : -1;
}

bool rewrite(Graph& graph, std::initializer_list<Rule> rules) {
  bool changed = false;
  Links links(graph);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    for (bool again = true; again && links.live[n];) {
      again = false;
      for (const Rule rule : rules) {
        if (!rule(graph, links, static_cast<int>(n))) continue;
        links = Links(graph);
        again = changed = true;
        break;
      }
    }
  }
  if (!changed) return false;
  const auto taken_out = [](const Node& node) { return node.output == kNoValue; };
  graph.nodes.erase(std::remove_if(graph.nodes.begin(), graph.nodes.end(), taken_out), graph.nodes.end());
  graph.compact();
  return true;
}

bool bypass(Graph& graph, const Links& links, int node, ValueId x) {
  const ValueId y = graph.nodes[node].output;
  if (links.is_output[y]) {
    if (links.is_output[x] || links.writer[x] < 0) return false;
    std::swap(graph.values[x].name, graph.values[y].name);
    std::replace(graph.outputs.begin(), graph.outputs.end(), y, x);
  }
  graph.nodes[node].output = kNoValue;
  for (Node& reader : graph.nodes) std::replace(reader.inputs.begin(), reader.inputs.end(), y, x);
  return true;
}

void absorb(Graph& graph, int producer, int node) {
  graph.nodes[producer].output = graph.nodes[node].output;
  graph.nodes[node].output = kNoValue;
}

void replace(Graph& graph, int node, Op op, std::vector<ValueId> inputs, Attrs attrs) {
  Node& old = graph.nodes[node];
  old.op = op;
  old.inputs = std::move(inputs);
  old.attrs = std::move(attrs);
}

ValueId add_floats(Graph& graph, const std::string& wish, Shape shape, const std::vector<double>& data) {
  return graph.add_constant(graph.unique_name(wish), std::move(shape), std::vector<float>(data.begin(), data.end()));
}

void set_constant(Graph& graph, int node, std::size_t i, Shape shape, std::vector<float> data) {
  const ValueId old = graph.nodes[node].inputs[i];
  std::int64_t uses = 0;
  for (const Node& reader : graph.nodes) uses += std::count(reader.inputs.begin(), reader.inputs.end(), old);
  const bool shared = uses > 1;
  const std::string name = shared ? graph.unique_name(graph.values[old].name) : graph.values[old].name;
  if (!shared) graph.values[old].name.clear();
  const auto owner = std::make_shared<std::vector<float>>(std::move(data));
  const std::shared_ptr<const float> numbers(owner, owner->data());
  const ValueId fresh = graph.add_constant(name, std::move(shape), numbers);
  if (shared) {
    graph.nodes[node].inputs[i] = fresh;
  } else {
    graph.values[old] = std::move(graph.values[fresh]);
    graph.values.pop_back();
  }
}

const Value& input_value(const Graph& graph, const Node& node, std::size_t i) {
  return graph.values[node.inputs[i]];
}

const Shape& output_shape(const Graph& graph, const Node& node) {
  return graph.values[node.output].shape;
}

bool has_act(Op op) {
  switch (op) {
    case Op::Conv:
    case Op::ConvTranspose:
    case Op::Linear:
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Div:
      return true;
    default:
      return false;
  }
}

bool is_act(const Node& node, const char* name) {
  return node.op == Op::Activation && node.str("act") == name;
}

bool acts(const Node& node) {
  return has_act(node.op) && node.str("act") != "none";
}

void copy_act(Node& to, const Node& from) {
  for (const char* name : {"act", "act_a", "act_b"}) to.attrs[name] = from.attrs.at(name);
}

void clear_act(Node& node) {
  node.attrs["act"] = std::string("none");
  node.attrs["act_a"] = node.attrs["act_b"] = 0.0;
}

}  // namespace sn
