// An activation becomes the trailing one of the op before it, and bounds of bounds become one.
#include <algorithm>
#include <limits>

#include "passes/rewrite.h"
#include "passes/rules.h"

namespace sn {
namespace {

constexpr double kUnbounded = std::numeric_limits<float>::max();

bool fuse(Graph& graph, const Links& links, int n) {
  const Node& node = graph.nodes[n];
  if (node.op != Op::Activation) return false;
  const int p = links.private_writer(node.inputs[0]);
  if (p < 0 || !has_act(graph.nodes[p].op) || acts(graph.nodes[p])) return false;
  copy_act(graph.nodes[p], node);
  absorb(graph, p, n);
  return true;
}

struct Bounds {
  double low, high;
  double operator()(double x) const { return std::min(std::max(x, low), high); }
};

bool match_bounds(const Node& node, Bounds* bounds) {
  if (!has_act(node.op) && node.op != Op::Activation) return false;
  if (node.str("act") == "relu") {
    *bounds = {0, kUnbounded};
  } else if (node.str("act") == "clip") {
    *bounds = {node.f("act_a"), node.f("act_b")};
  } else {
    return false;
  }
  return true;
}

// With f, g monotone and constant outside their bounds: g(f(x)) = clip(x, g(f.low), g(f.high)).
bool merge_bounds(Graph& graph, const Links& links, int n) {
  Bounds inner, outer;
  if (graph.nodes[n].op != Op::Activation || !match_bounds(graph.nodes[n], &outer)) return false;
  const int p = links.private_writer(graph.nodes[n].inputs[0]);
  if (p < 0 || !match_bounds(graph.nodes[p], &inner)) return false;
  const Bounds both{outer(inner.low), outer(inner.high)};
  Node& producer = graph.nodes[p];
  clear_act(producer);
  if (both.low == 0 && both.high >= kUnbounded) {
    producer.attrs["act"] = std::string("relu");
  } else {
    producer.attrs["act"] = std::string("clip");
    producer.attrs["act_a"] = both.low;
    producer.attrs["act_b"] = both.high;
  }
  absorb(graph, p, n);
  return true;
}

}  // namespace

bool fuse_activation(Graph& graph) {
  return rewrite(graph, {fuse, merge_bounds});
}

}  // namespace sn
