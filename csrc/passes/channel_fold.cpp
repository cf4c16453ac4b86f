#include <algorithm>
#include <cmath>

#include "passes/affine.h"
#include "passes/channels.h"
#include "passes/rewrite.h"
#include "passes/weight.h"

namespace sn {
namespace {

// The constant channel in each group that is largest, to stand for the others where only an input can (next to zero
// padding, which a bias does not see): W_c v_c = (W_c v_c / v_r) v_r. The largest, so that weights only get smaller.
std::int64_t representative(const std::vector<std::int64_t>& constants, const std::vector<double>& x) {
  std::int64_t r = -1;
  for (const std::int64_t c : constants)
    if (x[c] != 0 && (r < 0 || std::abs(x[c]) > std::abs(x[r]))) r = c;
  return r;
}

bool fold_into_weight(Graph& graph, const Shared& shared, int n, const std::vector<double>& x) {
  const Node& node = graph.nodes[n];
  const Weight w(graph, node);
  const bool border = reads_border(node);
  std::vector<std::vector<std::int64_t>> constants(static_cast<std::size_t>(w.groups));
  for (std::int64_t c = 0; c < w.C; ++c)
    if (std::isfinite(x[c])) constants[c / w.ins].push_back(c);
  std::vector<float> weight;
  std::vector<double> bias = bias_of(graph, node), moved(static_cast<std::size_t>(w.taps));
  for (std::int64_t m = 0; m < w.M; ++m) {
    const Weight::Row row = w.row(m);
    const std::int64_t r = border ? representative(constants[m / w.outs], x) : -1;
    std::fill(moved.begin(), moved.end(), 0.0);
    for (const std::int64_t c : constants[m / w.outs]) {
      const std::int64_t kernel = row.begin + (c - row.first) * row.step;
      if (c == r || w.is_zero(kernel)) continue;
      if (weight.empty()) weight = w.copy();
      if (!border) bias[m] += x[c] * w.sum(kernel);
      if (border && x[c] != 0)
        for (std::int64_t t = 0; t < w.taps; ++t) moved[t] += w[kernel + t] * (x[c] / x[r]);
      std::fill_n(weight.begin() + kernel, w.taps, 0.0f);
    }
    if (r < 0) continue;
    const std::int64_t kernel = row.begin + (r - row.first) * row.step;
    for (std::int64_t t = 0; t < w.taps; ++t)
      if (moved[t] != 0) weight[kernel + t] = static_cast<float>(w[kernel + t] + moved[t]);
  }
  if (weight.empty() || !all_finite(bias)) return false;
  const Shape shape = input_value(graph, node, 1).shape;
  set_constant(graph, n, 1, shared[node.inputs[1]], make_constant(shape, std::move(weight)));
  set_bias(graph, n, node.has_input(2) && shared[node.inputs[2]], bias);
  return true;
}

class Folder {
 public:
  Folder(Graph& graph, const Channels& channels, const std::vector<double>& constant, bool zeros)
      : graph_(graph), channels_(channels), constant_(constant), shared_(graph), zeros_(zeros) {}

  bool run(int n) {
    const Node& node = graph_.nodes[n];
    bool changed = false;
    if (has_weight(node.op) && channels_.axis(node.inputs[0]) == output_axis(graph_, node)) {
      const std::vector<double> x = of(node.inputs[0]);
      const bool any =
          std::any_of(x.begin(), x.end(), [&](double v) { return std::isfinite(v) && (zeros_ || v != 0); });
      changed = any && fold_into_weight(graph_, shared_, n, x);
    }
    if (node.op == Op::Conv || node.op == Op::Linear) return fold_residual(n) || fold_branch(n) || changed;
    if (node.op == Op::Add || node.op == Op::Sub || node.op == Op::Mul || node.op == Op::Div) return fold_operand(n);
    return changed;
  }

 private:
  std::vector<double> of(ValueId v) const {
    const auto begin = constant_.begin() + channels_.id(v, 0);
    return {begin, begin + channels_.count(v)};
  }

  // [C, 1, ...] so that it broadcasts along the channels of an activation like v.
  ValueId as_constant(ValueId v, const std::vector<double>& numbers) {
    Shape shape(graph_.values[v].shape.size() - channels_.axis(v), 1);
    shape[0] = static_cast<std::int64_t>(numbers.size());
    return add_floats(graph_, graph_.values[v].name + ".constant", std::move(shape), numbers);
  }

  // An operand that is constant altogether, where the other one alone gives the output its shape.
  bool fold_operand(int n) {
    for (const std::size_t i : {0, 1}) {
      const ValueId v = graph_.nodes[n].inputs[i], other = graph_.nodes[n].inputs[1 - i];
      if (graph_.values[v].is_constant() || graph_.values[other].is_constant() || !channels_.axis(v) || v == other ||
          graph_.values[other].shape != output_shape(graph_, graph_.nodes[n]) || !all_finite(of(v)))
        continue;
      const ValueId constant = as_constant(v, of(v));
      graph_.nodes[n].inputs[i] = constant;
      return true;
    }
    return false;
  }

  bool fold_residual(int n) {
    const Node& node = graph_.nodes[n];
    if (!node.has_input(3) || channels_.axis(node.inputs[3]) != output_axis(graph_, node)) return false;
    const std::vector<double> residual = of(node.inputs[3]);
    std::vector<double> bias = bias_of(graph_, node);
    for (std::size_t m = 0; m < bias.size(); ++m) bias[m] += residual[m];
    if (!all_finite(bias)) return false;
    graph_.nodes[n].inputs[3] = kNoValue;
    set_bias(graph_, n, node.has_input(2) && shared_[node.inputs[2]], bias);
    return true;
  }

  // A layer all of whose weights are zero only adds its bias to the residual.
  bool fold_branch(int n) {
    const Node node = graph_.nodes[n];
    if (!node.has_input(3)) return false;
    const Weight w(graph_, node);
    if (!w.is_zero()) return false;
    const ValueId bias = as_constant(node.output, bias_of(graph_, node));
    replace(graph_, n, Op::Add, {node.inputs[3], bias}, {});
    copy_act(graph_.nodes[n], node);
    return true;
  }

  Graph& graph_;
  const Channels& channels_;
  const std::vector<double>& constant_;
  const Shared shared_;
  const bool zeros_;
};

}  // namespace

bool fold_constant_channels(Graph& graph, const Channels& channels, const std::vector<double>& constant, bool zeros) {
  Folder folder(graph, channels, constant, zeros);
  bool changed = false;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) changed |= folder.run(static_cast<int>(n));
  if (changed) graph.compact();  // what an operand was computed from may be gone
  return changed;
}

}  // namespace sn
