#include <algorithm>
#include <numeric>

#include "passes/channels.h"
#include "passes/rewrite.h"
#include "passes/weight.h"

namespace sn {
namespace {

using Indices = std::vector<std::int64_t>;

class Shrinker {
 public:
  Shrinker(Graph& graph, const Channels& channels, const std::vector<char>& live)
      : graph_(graph), channels_(channels), left_(graph.values.size()), shared_(graph) {
    for (std::size_t v = 0; v < left_.size(); ++v)
      for (int c = 0; c < channels.count(static_cast<ValueId>(v)); ++c)
        if (live[channels.id(static_cast<ValueId>(v), c)]) left_[v].push_back(c);
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

    std::int64_t groups = 0;
    for (std::int64_t g = 0; g < old.groups; ++g) groups += below(out, (g + 1) * old.outs) > below(out, g * old.outs);
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
  std::vector<Indices> left_;  // by value
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
