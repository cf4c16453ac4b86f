#include "passes/rewrite.h"

#include <algorithm>

namespace sn {

Links::Links(const Graph& graph)
    : live(graph.nodes.size(), 0), reads_(graph.nodes.size()), writes_(graph.nodes.size(), kNoValue) {
  grow(graph);
  mark_outputs(graph);
  std::vector<char> needed = is_output;
  for (std::size_t n = graph.nodes.size(); n-- > 0;) {
    const Node& node = graph.nodes[n];
    if (node.output == kNoValue || !needed[node.output]) continue;
    live[n] = 1;
    for (const ValueId v : node.inputs)
      if (v != kNoValue) needed[v] = 1;
  }
  std::vector<int> all;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n)
    if (live[n]) all.push_back(static_cast<int>(n));
  update(graph, all);
}

void Links::grow(const Graph& graph) {
  writer.resize(graph.values.size(), -1);
  readers.resize(graph.values.size());
  is_output.resize(graph.values.size(), 0);
}

void Links::mark_outputs(const Graph& graph) {
  if (graph.outputs == outputs_) return;
  for (const ValueId v : outputs_) is_output[v] = 0;
  for (const ValueId v : graph.outputs) is_output[v] = 1;
  outputs_ = graph.outputs;
}

std::vector<int> Links::around(const Graph& graph, int node) const {
  std::vector<int> out{node};
  for (const ValueId v : graph.nodes[node].inputs)
    if (v != kNoValue && writer[v] >= 0) out.push_back(writer[v]);
  const std::vector<int>& after = readers[graph.nodes[node].output];
  out.insert(out.end(), after.begin(), after.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void Links::update(const Graph& graph, const std::vector<int>& changed) {
  grow(graph);
  mark_outputs(graph);
  // What is new comes first, so that nothing seems unread in between.
  std::vector<std::pair<int, std::vector<ValueId>>> before;
  for (const int n : changed) {
    const Node& node = graph.nodes[n];
    before.emplace_back(n, std::move(reads_[n]));
    reads_[n].clear();
    if (node.output == kNoValue) continue;
    for (const ValueId v : node.inputs) {
      if (v == kNoValue) continue;
      reads_[n].push_back(v);
      readers[v].push_back(n);
    }
  }
  for (const int n : changed) {
    if (writes_[n] == graph.nodes[n].output) continue;
    if (writes_[n] != kNoValue && writer[writes_[n]] == n) writer[writes_[n]] = -1;
    writes_[n] = graph.nodes[n].output;
  }
  for (const int n : changed) {
    live[n] = writes_[n] != kNoValue;
    if (live[n]) writer[writes_[n]] = n;
  }
  for (const auto& [n, values] : before)
    for (const ValueId v : values) forget_reader(v, n);
  for (const int n : changed)
    if (live[n] && readers[writes_[n]].empty() && !is_output[writes_[n]]) bury(n);
}

void Links::forget_reader(ValueId v, int node) {
  std::vector<int>& list = readers[v];
  list.erase(std::find(list.begin(), list.end(), node));
  if (list.empty() && !is_output[v] && writer[v] >= 0) bury(writer[v]);
}

void Links::bury(int node) {
  std::vector<int> graves{node};  // a stack of our own: chains may be long
  while (!graves.empty()) {
    const int n = graves.back();
    graves.pop_back();
    if (!live[n]) continue;
    live[n] = 0;
    writer[writes_[n]] = -1;
    for (const ValueId v : reads_[n]) {
      std::vector<int>& list = readers[v];
      list.erase(std::find(list.begin(), list.end(), n));
      if (list.empty() && !is_output[v] && writer[v] >= 0) graves.push_back(writer[v]);
    }
    reads_[n].clear();
    writes_[n] = kNoValue;
  }
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
      const std::vector<int> around = links.around(graph, static_cast<int>(n));
      for (const Rule rule : rules) {
        if (!rule(graph, links, static_cast<int>(n))) continue;
        links.update(graph, around);
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
    graph.swap_names(x, y);
    std::replace(graph.outputs.begin(), graph.outputs.end(), y, x);
  }
  graph.nodes[node].output = kNoValue;
  for (const int reader : links.readers[y]) {
    std::vector<ValueId>& inputs = graph.nodes[reader].inputs;
    std::replace(inputs.begin(), inputs.end(), y, x);
  }
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

Value make_constant(Shape shape, std::vector<float> data) {
  const auto owner = std::make_shared<std::vector<float>>(std::move(data));
  Value value{{}, std::move(shape), std::shared_ptr<const float>(owner, owner->data())};
  compress(value);
  return value;
}

void set_constant(Graph& graph, int node, std::size_t i, bool shared, Value numbers) {
  ValueId& at = graph.nodes[node].inputs[i];
  numbers.name = graph.values[at].name;
  if (!shared) {
    graph.values[at] = std::move(numbers);
    return;
  }
  numbers.name = graph.unique_name(numbers.name);
  at = static_cast<ValueId>(graph.values.size());
  graph.values.push_back(std::move(numbers));
}

Shared::Shared(const Graph& graph) : uses_(graph.values.size(), 0) {
  for (const Node& node : graph.nodes)
    for (const ValueId v : node.inputs)
      if (v != kNoValue) ++uses_[v];
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
    case Op::BatchNorm:
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
