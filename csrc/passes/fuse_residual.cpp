// conv(x) + r becomes one Conv or Linear that adds r before its activation.
#include "passes/rewrite.h"
#include "passes/rules.h"

namespace sn {
namespace {

bool takes_residual(const Graph& graph, const Links& links, ValueId branch, ValueId other) {
  const int p = links.private_writer(branch);
  if (p < 0) return false;
  const Node& producer = graph.nodes[p];
  return (producer.op == Op::Conv || producer.op == Op::Linear) && !producer.has_input(3) && !acts(producer) &&
         graph.values[other].shape == graph.values[branch].shape;
}

bool fuse(Graph& graph, const Links& links, int n) {
  const Node& add = graph.nodes[n];
  if (add.op != Op::Add) return false;
  ValueId branch = add.inputs[0], other = add.inputs[1];
  if (graph.values[branch].is_constant() || graph.values[other].is_constant()) return false;
  const bool first = takes_residual(graph, links, branch, other), second = takes_residual(graph, links, other, branch);
  if (!first && !second) return false;
  // Of two, the one computed last: the other is ready by then.
  if (!first || (second && links.writer[other] > links.writer[branch])) std::swap(branch, other);
  // The convolution moves to where the sum stood, so that the residual is computed before it. Nobody else reads the
  // convolution, hence nothing in between, the residual included, can depend on it.
  Node fused = graph.nodes[links.writer[branch]];
  graph.nodes[links.writer[branch]].output = kNoValue;
  fused.inputs.resize(4, kNoValue);
  fused.inputs[3] = other;
  fused.output = add.output;
  copy_act(fused, add);
  graph.nodes[n] = std::move(fused);
  return true;
}

}  // namespace

bool fuse_residual(Graph& graph) {
  return rewrite(graph, {fuse});
}

}  // namespace sn
