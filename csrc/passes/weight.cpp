#include "passes/weight.h"

#include "passes/rewrite.h"

namespace sn {

Weight::Weight(const Graph& graph, const Node& node) {
  const Value& w = input_value(graph, node, 1);
  transposed = node.op == Op::ConvTranspose;
  const std::int64_t g = node.op == Op::Linear ? 1 : node.i("groups");
  transposed ? regroup(w.shape[1] * g, w.shape[0], g) : regroup(w.shape[0], w.shape[1] * g, g);
  taps = 1;
  for (std::size_t i = 2; i < w.shape.size(); ++i) taps *= w.shape[i];
  data = w.data.get();
}

void Weight::regroup(std::int64_t m, std::int64_t c, std::int64_t g) {
  M = m;
  C = c;
  groups = g;
  outs = M / groups;
  ins = C / groups;
}

bool has_weight(Op op) {
  return op == Op::Conv || op == Op::ConvTranspose || op == Op::Linear;
}

std::size_t output_axis(const Graph& graph, const Node& node) {
  return node.op == Op::Linear ? output_shape(graph, node).size() - 1 : 1;
}

bool reads_border(const Node& node) {
  if (node.op == Op::Linear) return false;
  if (node.op == Op::ConvTranspose) return true;
  const auto& padding = node.ints("padding");
  return std::any_of(padding.begin(), padding.end(), [](std::int64_t p) { return p != 0; });
}

std::vector<double> bias_of(const Graph& graph, const Node& node) {
  if (!node.has_input(2)) return std::vector<double>(static_cast<std::size_t>(Weight(graph, node).M), 0);
  const Value& bias = input_value(graph, node, 2);
  return std::vector<double>(bias.data.get(), bias.data.get() + bias.size());
}

void set_bias(Graph& graph, int node, const std::vector<double>& bias) {
  std::vector<ValueId>& inputs = graph.nodes[node].inputs;
  const Shape shape{static_cast<std::int64_t>(bias.size())};
  const bool zero = std::all_of(bias.begin(), bias.end(), [](double v) { return static_cast<float>(v) == 0; });
  if (!zero && graph.nodes[node].has_input(2)) {
    set_constant(graph, node, 2, shape, std::vector<float>(bias.begin(), bias.end()));
    return;
  }
  inputs.resize(std::max<std::size_t>(inputs.size(), 3), kNoValue);
  inputs[2] = zero ? kNoValue : add_floats(graph, graph.nodes[node].name + ".bias", shape, bias);
  while (inputs.back() == kNoValue) inputs.pop_back();
}

}  // namespace sn
