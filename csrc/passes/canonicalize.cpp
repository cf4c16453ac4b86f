// One spelling for what exporters write in several ways, so that kernels and other passes need to know one only.
#include <algorithm>

#include "passes/affine.h"
#include "passes/rewrite.h"
#include "passes/rules.h"

namespace sn {
namespace {

using Ints = std::vector<std::int64_t>;

Attrs act_attrs(const char* act, double a = 0, double b = 0) {
  return {{"act", std::string(act)}, {"act_a", a}, {"act_b", b}};
}

// [N, g*k, ...] -> [N, g, k, ...] -> [N, k, g, ...] -> [N, k*g, ...]
bool channel_shuffle(Graph& graph, const Links& links, int n) {
  const Node& join = graph.nodes[n];
  const int t = join.op == Op::Reshape ? links.private_writer(join.inputs[0]) : -1;
  if (t < 0 || graph.nodes[t].op != Op::Transpose) return false;
  const int s = links.private_writer(graph.nodes[t].inputs[0]);
  if (s < 0 || graph.nodes[s].op != Op::Reshape) return false;
  const Node& split = graph.nodes[s];
  const Shape &x = input_value(graph, split, 0).shape, &mid = output_shape(graph, split);
  if (output_shape(graph, join) != x || x.size() < 2 || mid.size() != x.size() + 1 || mid[1] * mid[2] != x[1] ||
      !std::equal(x.begin() + 2, x.end(), mid.begin() + 3))
    return false;
  Ints perm(mid.size());
  for (std::size_t i = 0; i < perm.size(); ++i) perm[i] = static_cast<std::int64_t>(i);
  std::swap(perm[1], perm[2]);
  if (graph.nodes[t].ints("perm") != perm) return false;
  const std::int64_t groups = mid[1];
  replace(graph, n, Op::ChannelShuffle, {split.inputs[0]}, {{"groups", groups}});
  return true;
}

// Means over all of each plane, and average pools with one window over it.
bool global_pool(Graph& graph, const Links&, int n) {
  const Node& node = graph.nodes[n];
  if (node.op != Op::Mean && node.op != Op::AvgPool) return false;
  const Shape& x = input_value(graph, node, 0).shape;
  if (x.size() != 3 && x.size() != 4) return false;
  const std::size_t spatial = x.size() - 2;
  if (node.op == Op::Mean) {
    Ints axes = node.ints("axes");
    std::sort(axes.begin(), axes.end());
    if (!node.i("keepdim") || axes.size() != spatial || axes[0] != 2) return false;
  } else {
    const Ints &kernel = node.ints("kernel"), &padding = node.ints("padding");
    if (!std::equal(kernel.begin(), kernel.end(), x.begin() + 2) || node.i("divisor_override") ||
        std::any_of(padding.begin(), padding.end(), [](std::int64_t p) { return p != 0; }))
      return false;
    const Shape& y = output_shape(graph, node);
    if (std::any_of(y.begin() + 2, y.end(), [](std::int64_t d) { return d != 1; })) return false;
  }
  replace(graph, n, Op::AdaptiveAvgPool, {node.inputs[0]}, {{"output", Ints(spatial, 1)}});
  return true;
}

bool prelu(Graph& graph, const Links&, int n) {
  const Node& node = graph.nodes[n];
  if (node.op != Op::PRelu) return false;
  const Value& slope = input_value(graph, node, 1);
  const std::shared_ptr<const float> data = slope.dense();
  const float a = data.get()[0];
  if (std::any_of(data.get(), data.get() + slope.size(), [&](float v) { return v != a; })) return false;
  replace(graph, n, Op::Activation, {node.inputs[0]}, a == 0 ? act_attrs("relu") : act_attrs("leaky_relu", a));
  return true;
}

// The activation operand of y = x op constant with this one value; kNoValue if the node is something else.
ValueId match_scalar(const Graph& graph, const Node& node, Op op, float want) {
  Affine affine;
  if (node.op != op || !match_affine(graph, node, 1, &affine)) return kNoValue;
  const std::vector<double>& v = op == Op::Add ? affine.shift : affine.scale;
  const bool same = std::all_of(v.begin(), v.end(), [&](double x) { return static_cast<float>(x) == want; });
  return same ? affine.x : kNoValue;
}

ValueId match_sixth(const Graph& graph, const Node& node) {
  const ValueId x = match_scalar(graph, node, Op::Mul, 1.0f / 6);
  return x != kNoValue ? x : match_scalar(graph, node, Op::Div, 1.0f / 6);
}

// x where v = clip(x + 3, 0, 6) and nobody else reads v; kNoValue if v is something else. Takes the addition and the
// clip as one node or as two.
ValueId match_relu6_of_x_plus_3(const Graph& graph, const Links& links, ValueId v) {
  int n = links.private_writer(v);
  if (n < 0) return kNoValue;
  const Node* clip = &graph.nodes[n];
  if ((clip->op != Op::Activation && clip->op != Op::Add) || clip->str("act") != "clip" || clip->f("act_a") != 0 ||
      clip->f("act_b") != 6)
    return kNoValue;
  if (clip->op == Op::Add) return match_scalar(graph, *clip, Op::Add, 3);
  n = links.private_writer(clip->inputs[0]);
  return n < 0 || acts(graph.nodes[n]) ? kNoValue : match_scalar(graph, graph.nodes[n], Op::Add, 3);
}

bool hard_sigmoid(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  if (acts(node)) return false;
  const ValueId clip = match_sixth(graph, node);
  const ValueId x = clip == kNoValue ? kNoValue : match_relu6_of_x_plus_3(graph, links, clip);
  if (x == kNoValue) return false;
  replace(graph, n, Op::Activation, {x}, act_attrs("hard_sigmoid"));
  return true;
}

// x * gate(x)
bool self_gated(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  if (node.op != Op::Mul || acts(node)) return false;
  for (const std::size_t i : {0, 1}) {
    const ValueId x = node.inputs[i], gate = node.inputs[1 - i];
    const int g = links.private_writer(gate);
    if (g < 0 || graph.nodes[g].inputs[0] != x) continue;
    const bool silu = is_act(graph.nodes[g], "sigmoid");
    if (!silu && !is_act(graph.nodes[g], "hard_sigmoid")) continue;
    replace(graph, n, Op::Activation, {x}, act_attrs(silu ? "silu" : "hard_swish"));
    return true;
  }
  return false;
}

// x * clip(x + 3, 0, 6) / 6, in this order
bool hard_swish(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  if (acts(node)) return false;
  const ValueId product = match_sixth(graph, node);
  const int m = product == kNoValue ? -1 : links.private_writer(product);
  if (m < 0 || graph.nodes[m].op != Op::Mul || acts(graph.nodes[m])) return false;
  const Node& mul = graph.nodes[m];
  for (const std::size_t i : {0, 1}) {
    if (match_relu6_of_x_plus_3(graph, links, mul.inputs[1 - i]) != mul.inputs[i]) continue;
    replace(graph, n, Op::Activation, {mul.inputs[i]}, act_attrs("hard_swish"));
    return true;
  }
  return false;
}

}  // namespace

bool canonicalize(Graph& graph) {
  return rewrite(graph, {channel_shuffle, global_pool, prelu, hard_sigmoid, self_gated, hard_swish});
}

}  // namespace sn
