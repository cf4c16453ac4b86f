#include "passes/affine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "passes/rewrite.h"

namespace sn {

std::vector<double> channel_values(const Value& constant, const Shape& shape, std::size_t axis) {
  const std::size_t rank = shape.size(), own = constant.shape.size();
  if (own > rank) return {};
  std::int64_t inner = 1, extent = 1;
  if (axis + own >= rank) {
    const std::size_t at = axis + own - rank;
    extent = constant.shape[at];
    for (std::size_t i = at + 1; i < own; ++i) inner *= constant.shape[i];
  }
  std::vector<double> found(static_cast<std::size_t>(extent));
  std::vector<char> seen(found.size(), 0);
  const std::shared_ptr<const float> owner = constant.dense();
  const float* data = owner.get();
  for (std::int64_t i = 0, n = constant.size(); i < n; ++i) {
    const auto c = static_cast<std::size_t>(i / inner % extent);
    if (!seen[c]) {
      seen[c] = 1;
      found[c] = data[i];
    } else if (found[c] != data[i]) {
      found[c] = std::numeric_limits<double>::quiet_NaN();
    }
  }
  if (extent == 1) found.assign(static_cast<std::size_t>(shape[axis]), found[0]);
  return found;
}

bool all_finite(const std::vector<double>& numbers) {
  return std::all_of(numbers.begin(), numbers.end(),
                     [](double v) { return std::abs(v) <= std::numeric_limits<float>::max(); });
}

namespace {

bool match_batch_norm(const Graph& graph, const Node& node, Affine* affine) {
  const auto c_end = static_cast<std::size_t>(output_shape(graph, node)[1]);
  std::shared_ptr<const float> owner[5];
  const float* p[5];
  for (std::size_t i = 1; i < 5; ++i) owner[i] = input_value(graph, node, i).dense(), p[i] = owner[i].get();
  affine->scale.resize(c_end);
  affine->shift.resize(c_end);
  for (std::size_t c = 0; c < c_end; ++c) {
    affine->scale[c] = p[1][c] / std::sqrt(p[4][c] + node.f("eps"));
    affine->shift[c] = p[2][c] - p[3][c] * affine->scale[c];
  }
  return true;
}

bool match_arithmetic(const Graph& graph, const Node& node, std::size_t axis, Affine* affine) {
  const std::size_t k = input_value(graph, node, 0).is_constant() ? 0 : 1;
  const Value& constant = input_value(graph, node, k);
  if (!constant.is_constant() || output_shape(graph, node) != graph.values[affine->x].shape) return false;
  if (node.op == Op::Div && k == 0) return false;
  const std::vector<double> v = channel_values(constant, output_shape(graph, node), axis);
  affine->scale.assign(v.size(), 1);
  affine->shift.assign(v.size(), 0);
  for (std::size_t c = 0; c < v.size(); ++c) {
    if (node.op == Op::Add) affine->shift[c] = v[c];
    if (node.op == Op::Sub) affine->scale[c] = k == 0 ? -1 : 1, affine->shift[c] = k == 0 ? v[c] : -v[c];
    if (node.op == Op::Mul) affine->scale[c] = v[c];
    if (node.op == Op::Div) affine->scale[c] = 1 / v[c];
  }
  return true;
}

}  // namespace

bool match_affine(const Graph& graph, const Node& node, std::size_t axis, Affine* affine) {
  if (axis >= output_shape(graph, node).size()) return false;
  bool matched = false;
  switch (node.op) {
    case Op::BatchNorm:
      affine->x = node.inputs[0];
      matched = axis == 1 && match_batch_norm(graph, node, affine);
      break;
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Div:
      affine->x = node.inputs[input_value(graph, node, 0).is_constant() ? 1 : 0];
      matched = match_arithmetic(graph, node, axis, affine);
      break;
    default:
      break;
  }
  return matched && all_finite(affine->scale) && all_finite(affine->shift);
}

void replace_by_affine(Graph& graph, int node, const Affine& affine) {
  const std::string name = graph.nodes[node].name;
  const auto c_end = static_cast<std::int64_t>(affine.scale.size());
  // var + eps = 1 without a rounding, in floats too; eps alone may not be 0.
  const double eps = std::ldexp(1.0, -20);
  const std::vector<double> mean(affine.scale.size(), 0), var(affine.scale.size(), 1 - eps);
  std::vector<ValueId> inputs{affine.x};
  inputs.push_back(add_floats(graph, name + ".scale", {c_end}, affine.scale));
  inputs.push_back(add_floats(graph, name + ".shift", {c_end}, affine.shift));
  inputs.push_back(add_floats(graph, name + ".mean", {c_end}, mean));
  inputs.push_back(add_floats(graph, name + ".var", {c_end}, var));
  replace(graph, node, Op::BatchNorm, std::move(inputs), {{"eps", eps}});
  clear_act(graph.nodes[node]);
}

}  // namespace sn
