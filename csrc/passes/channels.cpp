#include "passes/channels.h"

#include <algorithm>

#include "passes/rewrite.h"
#include "passes/weight.h"

namespace sn {
namespace {

std::int64_t product(const Shape& shape, std::size_t begin, std::size_t end) {
  std::int64_t p = 1;
  for (std::size_t i = begin; i < end; ++i) p *= shape[i];
  return p;
}

}  // namespace

Channels::Channels(const Graph& graph)
    : axis_(graph.values.size(), 0),
      count_(graph.values.size(), 0),
      base_(graph.values.size(), 0),
      pinned_(graph.values.size(), 0),
      pairs_(graph.nodes.size()) {
  for (const ValueId v : graph.inputs) {
    place(graph, v, 1);
    pinned_[v] = 1;
  }
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    pairs_[n].resize(graph.nodes[n].inputs.size());
    visit(graph, static_cast<int>(n));
  }
  for (const ValueId v : graph.outputs) pinned_[v] = 1;
}

void Channels::place(const Graph& graph, ValueId v, std::size_t axis) {
  const Shape& shape = graph.values[v].shape;
  if (shape.size() < 2) axis = 0;
  axis_[v] = axis;
  count_[v] = axis ? static_cast<int>(shape[axis]) : 1;
  base_[v] = total_;
  total_ += count_[v];
  if (!axis) pinned_[v] = 1;
}

void Channels::pin_all(const Graph& graph, const Node& node) {
  place(graph, node.output, 1);
  pinned_[node.output] = 1;
  for (const ValueId v : node.inputs)
    if (v != kNoValue) pinned_[v] = 1;
}

void Channels::couple(int node, std::size_t i, int x_begin, int y_begin, int n) {
  for (int c = 0; c < n; ++c) pairs_[node][i].emplace_back(x_begin + c, y_begin + c);
}

void Channels::visit(const Graph& graph, int n) {
  const Node& node = graph.nodes[n];
  const ValueId x = node.inputs[0], y = node.output;
  const std::size_t a = axis_[x];
  switch (node.op) {
    case Op::Conv:
    case Op::ConvTranspose:
    case Op::Linear:
      return visit_weight(graph, n);
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Div:
      return visit_arithmetic(graph, n);
    case Op::Concat:
      return visit_concat(graph, n);
    case Op::Slice:
    case Op::Pad:
      return visit_slice_or_pad(graph, n);
    case Op::Reshape:
      return visit_reshape(graph, n);
    case Op::Identity:
    case Op::Activation:
      place(graph, y, a);
      return couple(n, 0, 0, 0, count_[x]);
    case Op::Softmax:
      if (!a || node.i("axis") == static_cast<std::int64_t>(a)) return pin_all(graph, node);
      place(graph, y, a);
      return couple(n, 0, 0, 0, count_[x]);
    case Op::BatchNorm:
    case Op::PRelu:
    case Op::MaxPool:
    case Op::AvgPool:
    case Op::AdaptiveAvgPool:
    case Op::AdaptiveMaxPool:
    case Op::Resize:
      if (a != 1) return pin_all(graph, node);
      place(graph, y, 1);
      return couple(n, 0, 0, 0, count_[x]);
    case Op::ChannelShuffle: {
      if (a != 1) return pin_all(graph, node);
      place(graph, y, 1);
      // What is left is a shuffle again if the same places are left of each group.
      const int groups = static_cast<int>(node.i("groups")), width = count_[x] / groups;
      for (int g = 0; g < groups; ++g)
        for (int j = 0; j < width; ++j) {
          pairs_[n][0].emplace_back(g * width + j, j * groups + g);
          bonds_.emplace_back(id(x, j), id(x, g * width + j));
        }
      return;
    }
    case Op::Mean: {
      const auto& axes = node.ints("axes");
      std::size_t to = a;
      for (const std::int64_t reduced : axes) {
        if (reduced == static_cast<std::int64_t>(a)) return pin_all(graph, node);
        if (!node.i("keepdim") && reduced < static_cast<std::int64_t>(a)) --to;
      }
      place(graph, y, to);
      return couple(n, 0, 0, 0, count_[x]);
    }
    case Op::Transpose: {
      const auto& perm = node.ints("perm");
      const auto at = std::find(perm.begin(), perm.end(), static_cast<std::int64_t>(a));
      place(graph, y, static_cast<std::size_t>(at - perm.begin()));
      return couple(n, 0, 0, 0, count_[x]);
    }
    case Op::kCount:
      return;
  }
}

void Channels::visit_weight(const Graph& graph, int n) {
  const Node& node = graph.nodes[n];
  const std::size_t axis = output_axis(graph, node);
  place(graph, node.output, axis);
  if (axis_[node.inputs[0]] != axis) pinned_[node.inputs[0]] = 1;
  if (!node.has_input(3)) return;
  if (axis_[node.inputs[3]] == axis) return couple(n, 3, 0, 0, count_[node.output]);
  pinned_[node.inputs[3]] = pinned_[node.output] = 1;
}

// Operands have the output's rank or are constants. One may have length 1 along the channels and serve them all.
void Channels::visit_arithmetic(const Graph& graph, int n) {
  const Node& node = graph.nodes[n];
  std::size_t axis = 0;
  int widest = 0;
  for (const ValueId v : node.inputs)
    if (!graph.values[v].is_constant() && count_[v] > widest) axis = axis_[v], widest = count_[v];
  place(graph, node.output, axis);
  for (std::size_t i = 0; i < 2; ++i) {
    const ValueId v = node.inputs[i];
    if (graph.values[v].is_constant()) continue;
    if (axis_[v] == axis && count_[v] == count_[node.output]) {
      couple(n, i, 0, 0, count_[v]);
    } else {
      pinned_[v] = 1;
      if (graph.values[v].shape[axis] != 1) pinned_[node.output] = 1;
    }
  }
}

void Channels::visit_concat(const Graph& graph, int n) {
  const Node& node = graph.nodes[n];
  const std::size_t axis = axis_[node.inputs[0]];
  const bool same = std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return axis_[v] == axis; });
  if (!same || !axis) return pin_all(graph, node);
  place(graph, node.output, axis);
  const bool along = node.i("axis") == static_cast<std::int64_t>(axis);
  int offset = 0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    couple(n, i, 0, offset, count_[node.inputs[i]]);
    if (along) offset += count_[node.inputs[i]];
  }
}

void Channels::visit_slice_or_pad(const Graph& graph, int n) {
  const Node& node = graph.nodes[n];
  const ValueId x = node.inputs[0], y = node.output;
  const std::size_t a = axis_[x];
  if (!a) return pin_all(graph, node);
  if (node.op == Op::Slice) {
    if (node.i("axis") != static_cast<std::int64_t>(a)) {
      place(graph, y, a);
      return couple(n, 0, 0, 0, count_[x]);
    }
    if (node.i("step") != 1) return pin_all(graph, node);
    place(graph, y, a);
    return couple(n, 0, static_cast<int>(node.i("start")), 0, count_[y]);
  }
  const auto& pads = node.ints("pads");
  const std::int64_t before = pads[a - 1], after = pads[pads.size() / 2 + a - 1];
  const bool grows = before > 0 || after > 0;
  if (before < 0 || after < 0 || (grows && node.str("mode") != "constant")) return pin_all(graph, node);
  place(graph, y, a);
  couple(n, 0, 0, static_cast<int>(before), count_[x]);
}

// Either the axis survives, or it is merged with others into a finer one (flatten: channel c becomes a run of
// features), or the reverse (features unflattened into channels).
void Channels::visit_reshape(const Graph& graph, int n) {
  const Node& node = graph.nodes[n];
  const ValueId v = node.inputs[0];
  const Shape &x = graph.values[v].shape, &y = output_shape(graph, node);
  const std::size_t a = axis_[v];
  if (!a || y.size() < 2) return pin_all(graph, node);
  const std::int64_t before = product(x, 1, a), after = product(x, a + 1, x.size());
  for (std::size_t b = 1; b < y.size(); ++b) {
    if (product(y, 1, b) != before || y[b] != x[a]) continue;
    place(graph, node.output, b);
    return couple(n, 0, 0, 0, count_[v]);
  }
  std::size_t b = 1;
  while (b + 1 < y.size() && y[b] == 1) ++b;
  const std::int64_t rest = product(y, b + 1, y.size());
  if (after % rest == 0) {
    place(graph, node.output, b);
    for (std::int64_t f = 0; f < y[b]; ++f)
      pairs_[n][0].emplace_back(static_cast<int>(f * rest / after % x[a]), static_cast<int>(f));
  } else if (before == 1 && rest % after == 0) {
    place(graph, node.output, b);
    for (std::int64_t c = 0; c < x[a]; ++c)
      pairs_[n][0].emplace_back(static_cast<int>(c), static_cast<int>(c * after / rest));
  } else {
    pin_all(graph, node);
  }
}

}  // namespace sn
