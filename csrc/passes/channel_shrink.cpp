#include <algorithm>
#include <numeric>

#include "passes/channels.h"
#include "passes/rewrite.h"
#include "passes/weight.h"

namespace sn {
namespace {

using Indices = std::vector<std::int64_t>;

constexpr std::int64_t kFour = 4;  // of the blocks that kernels read: 4x1 and 1x4

// Whether neighbouring rows, or the input channels of each row, have their zeros in common by fours, and there are
// many.
bool in_blocks(const Weight& w, bool of_rows) {
  const auto zero = [&](std::int64_t m, std::int64_t j, std::int64_t t) {
    return w[w.row(m).begin + j * w.row(m).step + t] == 0;
  };
  std::int64_t zeros = 0;
  for (std::int64_t m = 0; m < w.M; ++m) {
    const std::int64_t first_row = of_rows ? m - m % kFour : m;
    for (std::int64_t j = 0; j < w.ins; ++j)
      for (std::int64_t t = 0; t < w.taps; ++t) {
        const bool is_zero = zero(m, j, t);
        if (is_zero != zero(first_row, of_rows ? j : j - j % kFour, t)) return false;
        zeros += is_zero;
      }
    if (zeros == 0 && m + 1 >= kFour) return false;  // dense: the rest need not be read
  }
  return 2 * zeros >= w.count();
}

// A channel that goes by itself shifts those behind it, so that a block of weights lies in two of the kernels' blocks
// and they read up to twice as many. So where weights stand in blocks, fours that stay whole come first, the rest
// behind.
class Order {
 public:
  Order(const Graph& graph, const Channels& channels, const std::vector<Indices>& left)
      : graph_(graph),
        channels_(channels),
        left_(left),
        parent_(left.size()),
        fixed_(left.size()),
        blocks_(left.size()) {
    std::iota(parent_.begin(), parent_.end(), 0);
    for (std::size_t v = 0; v < left.size(); ++v) fixed_[v] = channels.is_pinned(static_cast<ValueId>(v));
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) visit(static_cast<int>(n));
  }

  // The channels of v that stay, in their new order.
  Indices of(ValueId v) {
    Indices all = left_[v];
    const int root = find(v);
    if (fixed_[root] || !blocks_[root]) return all;
    std::stable_partition(all.begin(), all.end(), [&](std::int64_t c) {
      const auto begin = std::lower_bound(left_[v].begin(), left_[v].end(), c - c % kFour);
      return left_[v].end() - begin >= kFour && begin[kFour - 1] == c - c % kFour + kFour - 1;
    });
    return all;
  }

 private:
  int find(int v) {
    while (parent_[v] != v) v = parent_[v] = parent_[parent_[v]];
    return v;
  }
  // Both keep one order; or their own, unless channel c of one is channel c of the other.
  void tie(ValueId a, ValueId b, bool alike) {
    a = find(a), b = find(b);
    parent_[b] = a;
    fixed_[a] = fixed_[a] || fixed_[b] || !alike || left_[a] != left_[b];
    blocks_[a] = blocks_[a] || blocks_[b];
  }
  void mark(ValueId v) { blocks_[find(v)] = 1; }

  void visit(int n) {
    const Node& node = graph_.nodes[n];
    const bool moves =
        node.op == Op::Concat || node.op == Op::Slice || node.op == Op::Pad || node.op == Op::ChannelShuffle;
    for (std::size_t i = has_weight(node.op) ? 3 : 0; i < node.inputs.size(); ++i) {
      const Channels::Pairs& pairs = channels_.pairs(n, i);
      if (node.inputs[i] == kNoValue || graph_.values[node.inputs[i]].is_constant()) continue;
      const bool alike = static_cast<int>(pairs.size()) == channels_.count(node.output) &&
                         std::all_of(pairs.begin(), pairs.end(), [](const auto& p) { return p.first == p.second; });
      tie(node.inputs[i], node.output, alike && !moves);
    }
    if (!has_weight(node.op)) return;
    const ValueId x = node.inputs[0], y = node.output;
    const Weight w(graph_, node);
    if (w.groups > 1) return tie(x, y, w.ins == 1 && w.outs == 1);
    if (w.transposed) return;
    if (left_[y].size() < static_cast<std::size_t>(w.M) && in_blocks(w, true)) mark(y);
    if (left_[x].size() < static_cast<std::size_t>(w.C) && in_blocks(w, false)) mark(x);
  }

  const Graph& graph_;
  const Channels& channels_;
  const std::vector<Indices>& left_;
  std::vector<int> parent_;
  std::vector<char> fixed_, blocks_;  // by root
};

class Shrinker {
 public:
  Shrinker(Graph& graph, const Channels& channels, const std::vector<char>& live)
      : graph_(graph), channels_(channels), left_(graph.values.size()), shared_(graph) {
    for (std::size_t v = 0; v < left_.size(); ++v)
      for (int c = 0; c < channels.count(static_cast<ValueId>(v)); ++c)
        if (live[channels.id(static_cast<ValueId>(v), c)]) left_[v].push_back(c);
    Order order(graph, channels, left_);
    std::vector<Indices> ordered;
    for (std::size_t v = 0; v < left_.size(); ++v) ordered.push_back(order.of(static_cast<ValueId>(v)));
    left_ = std::move(ordered);
  }

  void run(int n) {
    Node& node = graph_.nodes[n];
    const ValueId y = node.output;
    const bool shrinks = is_smaller(y);
    switch (node.op) {
      case Op::Conv:
      case Op::ConvTranspose:
      case Op::Linear:
        if (shrinks || is_smaller(node.inputs[0])) shrink_weight(n);
        break;
      case Op::BatchNorm:
      case Op::PRelu:
        if (shrinks)
          for (std::size_t i = 1; i < node.inputs.size(); ++i) gather(n, i, 0, left_[y]);
        break;
      case Op::Add:
      case Op::Sub:
      case Op::Mul:
      case Op::Div:
        for (std::size_t i = 0; shrinks && i < 2; ++i) {
          const Value& v = input_value(graph_, node, i);
          const std::size_t at = channels_.axis(y) + v.shape.size();
          const std::size_t rank = output_shape(graph_, node).size();
          if (v.is_constant() && at >= rank) gather(n, i, at - rank, left_[y]);
        }
        break;
      case Op::Slice:
        if (is_smaller(node.inputs[0]) && node.i("axis") == static_cast<std::int64_t>(channels_.axis(y)))
          for (const char* end : {"start", "end"}) node.attrs[end] = below(left_[node.inputs[0]], node.i(end));
        break;
      case Op::Pad:
        if (shrinks) shrink_pad(node);
        break;
      case Op::Reshape:
        if (shrinks || is_smaller(node.inputs[0])) {
          std::vector<std::int64_t> shape = output_shape(graph_, node);
          shape[0] = 0;
          if (channels_.axis(y)) shape[channels_.axis(y)] = static_cast<std::int64_t>(left_[y].size());
          node.attrs["shape"] = shape;
        }
        break;
      default:
        break;
    }
  }

  bool is_smaller(ValueId v) const { return static_cast<int>(left_[v].size()) < channels_.count(v); }

 private:
  static std::int64_t below(const Indices& left, std::int64_t limit) {
    return std::lower_bound(left.begin(), left.end(), limit) - left.begin();
  }

  // Input i, a constant, with only these indices of one axis; unless it is one number for all of them.
  void gather(int n, std::size_t i, std::size_t axis, const Indices& left) {
    const Value from = input_value(graph_, graph_.nodes[n], i);
    const std::int64_t extent = from.shape[axis];
    if (extent == 1) return;
    Shape shape = from.shape;
    shape[axis] = static_cast<std::int64_t>(left.size());
    std::int64_t inner = 1;
    for (std::size_t k = axis + 1; k < shape.size(); ++k) inner *= shape[k];
    std::vector<float> data;
    const std::shared_ptr<const float> numbers = from.dense();
    for (std::int64_t outer = 0; outer < from.size() / (extent * inner); ++outer)
      for (const std::int64_t c : left) {
        const float* source = numbers.get() + (outer * extent + c) * inner;
        data.insert(data.end(), source, source + inner);
      }
    set_constant(graph_, n, i, shared_[graph_.nodes[n].inputs[i]], make_constant(std::move(shape), std::move(data)));
  }

  void shrink_weight(int n) {
    const ValueId x = graph_.nodes[n].inputs[0], y = graph_.nodes[n].output;
    const Weight old(graph_, graph_.nodes[n]);
    const Indices& out = left_[y];
    Indices in(static_cast<std::size_t>(old.C));
    std::iota(in.begin(), in.end(), 0);
    if (channels_.axis(x) == output_axis(graph_, graph_.nodes[n])) in = left_[x];

    std::vector<char> used(static_cast<std::size_t>(old.groups));
    for (const std::int64_t c : out) used[c / old.outs] = 1;
    const std::int64_t groups = std::count(used.begin(), used.end(), 1);
    Weight now = old;
    now.regroup(static_cast<std::int64_t>(out.size()), static_cast<std::int64_t>(in.size()), groups);
    const std::shared_ptr<const float> numbers = input_value(graph_, graph_.nodes[n], 1).dense();
    std::vector<float> weight(static_cast<std::size_t>(now.count()));
    for (std::int64_t m = 0; m < now.M; ++m) {
      const Weight::Row from = old.row(out[m]), to = now.row(m);
      for (std::int64_t j = 0; j < now.ins; ++j) {
        const float* kernel = numbers.get() + from.begin + (in[to.first + j] - from.first) * from.step;
        for (std::int64_t t = 0; t < now.taps; ++t) weight[to.begin + j * to.step + t] = kernel[t];
      }
    }
    Shape shape = input_value(graph_, graph_.nodes[n], 1).shape;
    shape[0] = now.transposed ? now.C : now.M;
    shape[1] = now.transposed ? now.outs : now.ins;
    set_constant(graph_, n, 1, shared_[graph_.nodes[n].inputs[1]], make_constant(std::move(shape), std::move(weight)));
    if (graph_.nodes[n].op != Op::Linear) graph_.nodes[n].attrs["groups"] = groups;
    if (graph_.nodes[n].has_input(2)) gather(n, 2, 0, out);
  }

  // Channels that the padding adds and that go leave as much less of it.
  void shrink_pad(Node& node) {
    std::vector<std::int64_t> pads = node.ints("pads");
    const std::size_t at = channels_.axis(node.output) - 1, axes = pads.size() / 2;
    const std::int64_t end = pads[at] + channels_.count(node.inputs[0]);
    const Indices& left = left_[node.output];
    pads[axes + at] = static_cast<std::int64_t>(left.size()) - below(left, end);
    pads[at] = below(left, pads[at]);
    node.attrs["pads"] = pads;
  }

  Graph& graph_;
  const Channels& channels_;
  std::vector<Indices> left_;  // by value: the old channel of each new one
  const Shared shared_;
};

}  // namespace

bool shrink(Graph& graph, const Channels& channels, const std::vector<char>& live) {
  if (std::all_of(live.begin(), live.end(), [](char v) { return v; })) return false;
  Shrinker shrinker(graph, channels, live);
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) shrinker.run(static_cast<int>(n));
  graph.infer_shapes();
  graph.compact();
  return true;
}

}  // namespace sn
