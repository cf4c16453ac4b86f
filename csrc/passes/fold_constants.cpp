// Arithmetic with constants: what does nothing goes, and chains of per-channel scales and shifts become one.
// Nodes on constants alone do not exist in this IR: frontends compute them.
#include <algorithm>

#include "passes/affine.h"
#include "passes/rewrite.h"
#include "passes/rules.h"

namespace sn {
namespace {

bool drop_identity(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  for (std::size_t axis = 1; axis < output_shape(graph, node).size(); ++axis) {
    Affine affine;
    if (!match_affine(graph, node, axis, &affine)) continue;
    const auto all = [](const std::vector<double>& v, double want) {
      return std::all_of(v.begin(), v.end(), [&](double x) { return x == want; });
    };
    if (!all(affine.scale, 1) || !all(affine.shift, 0)) return false;
    if (!acts(node)) return bypass(graph, links, n, affine.x);
    const Attrs act{
        {"act", node.attrs.at("act")}, {"act_a", node.attrs.at("act_a")}, {"act_b", node.attrs.at("act_b")}};
    replace(graph, n, Op::Activation, {affine.x}, act);
    return true;
  }
  return false;
}

bool merge_chain(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  Affine outer, inner;
  if (acts(node) || !match_affine(graph, node, 1, &outer)) return false;
  const int p = links.private_writer(outer.x);
  if (p < 0 || acts(graph.nodes[p]) || !match_affine(graph, graph.nodes[p], 1, &inner)) return false;
  for (std::size_t c = 0; c < inner.scale.size(); ++c) {
    inner.scale[c] *= outer.scale[c];
    inner.shift[c] = inner.shift[c] * outer.scale[c] + outer.shift[c];
  }
  if (!all_finite(inner.scale) || !all_finite(inner.shift)) return false;
  replace_by_affine(graph, n, inner);
  return true;
}

}  // namespace

bool fold_constants(Graph& graph) {
  return rewrite(graph, {drop_identity, merge_chain});
}

}  // namespace sn
