// Scales and shifts next to a convolution or a linear layer vanish into its weight and bias:
//
//   s (W x + b) + t = (s W) x + (s b + t)            after it: always
//   W (s x + t) + b = (W s) x + (b + sum_c W_c t_c)  before it: where every output sees the whole kernel; zero padding
//                                                    comes after the shift, so a border would miss part of the sum
//
// Computed in double, rounded once. A zero weight stays zero.
#include <algorithm>
#include <cmath>

#include "passes/affine.h"
#include "passes/rewrite.h"
#include "passes/rules.h"
#include "passes/weight.h"

namespace sn {
namespace {

bool fold_into_producer(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  for (const ValueId x : node.inputs) {
    const int p = x == kNoValue ? -1 : links.private_writer(x);
    if (p < 0) continue;
    const Node& producer = graph.nodes[p];
    Affine affine;
    if (!has_weight(producer.op) || acts(producer) || producer.has_input(3) ||
        !match_affine(graph, node, output_axis(graph, producer), &affine) || affine.x != x)
      continue;
    const Weight w(graph, producer);
    Value weight{{}, input_value(graph, producer, 1).shape};
    const bool fits = w.scaled(affine.scale, true, &weight);
    std::vector<double> bias = bias_of(graph, producer);
    for (std::size_t m = 0; m < bias.size(); ++m) bias[m] = bias[m] * affine.scale[m] + affine.shift[m];
    if (!fits || !all_finite(bias)) continue;
    if (has_act(node.op)) copy_act(graph.nodes[p], node);
    set_constant(graph, p, 1, links.is_shared(producer.inputs[1]), std::move(weight));
    set_bias(graph, p, producer.has_input(2) && links.is_shared(producer.inputs[2]), bias);
    absorb(graph, p, n);
    return true;
  }
  return false;
}

bool fold_into_reader(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  if (!has_weight(node.op)) return false;
  const int p = links.private_writer(node.inputs[0]);
  const std::size_t axis = node.op == Op::Linear ? input_value(graph, node, 0).shape.size() - 1 : 1;
  Affine affine;
  if (p < 0 || acts(graph.nodes[p]) || !match_affine(graph, graph.nodes[p], axis, &affine)) return false;
  const Weight w(graph, node);
  std::vector<double> bias = bias_of(graph, node);
  for (std::int64_t m = 0; m < w.M; ++m) {
    const Weight::Row row = w.row(m);
    for (std::int64_t j = 0; j < w.ins; ++j) {
      const double shift = affine.shift[row.first + j];
      const std::int64_t kernel = row.begin + j * row.step;
      if (shift == 0 || w.is_zero(kernel)) continue;
      if (reads_border(node)) return false;
      bias[m] += shift * w.sum(kernel);
    }
  }
  Value weight{{}, input_value(graph, node, 1).shape};
  const bool fits = w.scaled(affine.scale, false, &weight);
  if (!fits || !all_finite(bias)) return false;
  graph.nodes[n].inputs[0] = affine.x;
  set_constant(graph, n, 1, links.is_shared(node.inputs[1]), std::move(weight));
  set_bias(graph, n, node.has_input(2) && links.is_shared(node.inputs[2]), bias);
  return true;
}

}  // namespace

bool fold_batchnorm(Graph& graph) {
  return rewrite(graph, {fold_into_producer, fold_into_reader});
}

}  // namespace sn
