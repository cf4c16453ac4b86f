// Nodes whose output is their input go; moves that undo or repeat each other become one; zero pads join the window op
// that reads them.
#include <algorithm>

#include "passes/rewrite.h"
#include "passes/rules.h"

namespace sn {
namespace {

using Ints = std::vector<std::int64_t>;

bool all(const Ints& v, std::int64_t want) {
  return std::all_of(v.begin(), v.end(), [&](std::int64_t x) { return x == want; });
}

bool is_identity_perm(const Ints& perm) {
  return std::is_sorted(perm.begin(), perm.end());
}

// y = x, element for element and in shape.
bool does_nothing(const Graph& graph, const Node& node) {
  const Shape &x = input_value(graph, node, 0).shape, &y = output_shape(graph, node);
  if (x != y) return false;
  switch (node.op) {
    case Op::Identity:
    case Op::Reshape:
    case Op::Slice:            // all of the axis, in steps of one
    case Op::AdaptiveAvgPool:  // windows of one sample
    case Op::AdaptiveMaxPool:
    case Op::Mean:  // over axes of length one
      return true;
    case Op::Concat:
      return node.inputs.size() == 1;
    case Op::Activation:
      return node.str("act") == "none";
    case Op::Pad:
      return all(node.ints("pads"), 0);  // the shape alone would allow -1 and +1
    case Op::MaxPool:
      return all(node.ints("kernel"), 1) && all(node.ints("stride"), 1);
    case Op::AvgPool:
      return all(node.ints("kernel"), 1) && all(node.ints("stride"), 1) && node.i("divisor_override") <= 1;
    case Op::Resize: {
      const auto& scale = node.floats("scale");
      return node.i("align_corners") || std::all_of(scale.begin(), scale.end(), [](double s) { return s == 1; });
    }
    case Op::Transpose:
      return is_identity_perm(node.ints("perm"));
    case Op::ChannelShuffle:
      return node.i("groups") == 1 || node.i("groups") == x[1];
    default:
      return false;
  }
}

bool drop(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  return does_nothing(graph, node) && bypass(graph, links, n, node.inputs[0]);
}

bool merge_reshapes(Graph& graph, const Links& links, int n) {
  Node& node = graph.nodes[n];
  const int p = node.op == Op::Reshape ? links.writer[node.inputs[0]] : -1;
  if (p < 0 || graph.nodes[p].op != Op::Reshape) return false;
  Ints shape = output_shape(graph, node);
  shape[0] = 0;
  replace(graph, n, Op::Reshape, {graph.nodes[p].inputs[0]}, {{"shape", shape}});
  return true;
}

bool merge_transposes(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  const int p = node.op == Op::Transpose ? links.writer[node.inputs[0]] : -1;
  if (p < 0 || graph.nodes[p].op != Op::Transpose) return false;
  Ints perm;
  for (const std::int64_t axis : node.ints("perm"))
    perm.push_back(graph.nodes[p].ints("perm")[static_cast<std::size_t>(axis)]);
  replace(graph, n, Op::Transpose, {graph.nodes[p].inputs[0]}, {{"perm", perm}});
  return true;
}

// A transpose that only moves axes of length one leaves memory as it is.
bool transpose_to_reshape(Graph& graph, const Links&, int n) {
  const Node& node = graph.nodes[n];
  if (node.op != Op::Transpose || is_identity_perm(node.ints("perm"))) return false;
  const Shape& x = input_value(graph, node, 0).shape;
  std::int64_t last = 0;
  for (const std::int64_t axis : node.ints("perm")) {
    if (x[static_cast<std::size_t>(axis)] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  Ints shape = output_shape(graph, node);
  shape[0] = 0;
  replace(graph, n, Op::Reshape, {node.inputs[0]}, {{"shape", shape}});
  return true;
}

// Whether the window op may pad by so many zeros itself instead of being given them.
bool may_pad(const Node& node, const Ints& padding) {
  if (node.op == Op::Conv) return true;
  // In ceil mode the last window may start in given zeros but not in padding; given zeros count in an average; and
  // pools pad by half a kernel at most.
  const Ints& kernel = node.ints("kernel");
  if (node.i("ceil_mode") || !(node.i("count_include_pad") || node.i("divisor_override"))) return false;
  for (std::size_t i = 0; i < padding.size(); ++i)
    if (padding[i] > kernel[i % kernel.size()] / 2) return false;
  return true;
}

bool absorb_pad(Graph& graph, const Links& links, int n) {
  Node& node = graph.nodes[n];
  if (node.op != Op::Conv && node.op != Op::AvgPool) return false;
  const int p = links.writer[node.inputs[0]];
  if (p < 0 || graph.nodes[p].op != Op::Pad) return false;
  const Node& pad = graph.nodes[p];
  if (pad.str("mode") != "constant" || pad.f("value") != 0) return false;
  const Ints& pads = pad.ints("pads");
  const std::size_t axes = pads.size() / 2, spatial = axes - 1;  // axis 1, the channels, comes first
  if (pads[0] != 0 || pads[axes] != 0) return false;
  Ints padding = node.ints("padding");
  for (std::size_t i = 0; i < spatial; ++i) {
    const std::int64_t before = pads[1 + i], after = pads[axes + 1 + i];
    if (before < 0 || after < 0) return false;
    padding[i] += before;
    padding[spatial + i] += after;
  }
  if (!may_pad(node, padding)) return false;
  node.attrs["padding"] = padding;
  node.inputs[0] = pad.inputs[0];
  return true;
}

}  // namespace

bool remove_noops(Graph& graph) {
  const std::size_t before = graph.nodes.size();
  const bool changed = rewrite(graph, {drop, merge_reshapes, merge_transposes, transpose_to_reshape, absorb_pad});
  if (!changed) graph.compact();
  return changed || graph.nodes.size() != before;
}

}  // namespace sn
