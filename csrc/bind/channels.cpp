#include "passes/channels.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <numeric>

#include "bind/bind.h"
#include "graph/graph.h"
#include "passes/rewrite.h"
#include "passes/weight.h"

namespace py = pybind11;

namespace sn {
namespace {

class Sets {
 public:
  explicit Sets(int n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0); }
  int find(int i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void unite(int a, int b) { parent_[find(b)] = find(a); }

 private:
  std::vector<int> parent_;
};

// Beside what every op couples: a filter of a depthwise convolution goes with the channel that it reads, and the groups
// of a grouped one stay equal if the same places go of each.
void couple_groups(const Graph& graph, const Channels& channels, const Node& node, Sets& sets) {
  if (!has_weight(node.op) || node.op == Op::Linear || node.i("groups") == 1) return;
  const ValueId x = node.inputs[0], y = node.output;
  if (channels.axis(x) != 1) return;
  const Weight w(graph, node);
  const auto in = [&](std::int64_t c) { return channels.id(x, static_cast<int>(c)); };
  const auto out = [&](std::int64_t c) { return channels.id(y, static_cast<int>(c)); };
  for (std::int64_t m = 0; m < w.M; ++m) sets.unite(w.ins == 1 ? in(m / w.outs) : out(m % w.outs), out(m));
  if (w.ins > 1)
    for (std::int64_t c = 0; c < w.C; ++c) sets.unite(in(c % w.ins), in(c));
}

py::dict channel_sets(const Graph& graph) {
  const Channels channels(graph);
  Sets sets(channels.total());
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      for (const auto& [from, to] : channels.pairs(static_cast<int>(n), i))
        sets.unite(channels.id(node.inputs[i], from), channels.id(node.output, to));
    couple_groups(graph, channels, node, sets);
  }
  for (const auto& [a, b] : channels.bonds()) sets.unite(a, b);
  py::dict result;
  for (std::size_t i = 0; i < graph.values.size(); ++i) {
    const auto v = static_cast<ValueId>(i);
    if (graph.values[i].is_constant()) continue;
    py::array_t<int> labels(channels.count(v));
    for (int c = 0; c < channels.count(v); ++c) labels.mutable_at(c) = sets.find(channels.id(v, c));
    result[py::str(graph.values[i].name)] = py::make_tuple(channels.axis(v), labels, channels.is_pinned(v));
  }
  return result;
}

}  // namespace

void bind_channels(py::module_& m) {
  m.def("channel_sets", &channel_sets, py::arg("graph"),
        "By activation: the axis of its channels, for each channel the number of the set that can only be removed as a "
        "whole, over the whole graph, and whether its channels have to stay.");
}

}  // namespace sn
