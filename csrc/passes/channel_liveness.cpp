// Which channels must stay: those of inputs and outputs, those that a staying channel is computed from through a
// weight that is not zero (unless it is always zero itself), and those that are coupled to one that stays.
#include <algorithm>
#include <numeric>

#include "passes/channels.h"
#include "passes/weight.h"

namespace sn {
namespace {

class Liveness {
 public:
  Liveness(const Graph& graph, const Channels& channels, const std::vector<double>& constant)
      : graph_(graph), channels_(channels), constant_(constant), parent_(channels.total()), live_(channels.total(), 0) {
    std::iota(parent_.begin(), parent_.end(), 0);
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      for (std::size_t i = 0; i < node.inputs.size(); ++i)
        for (const auto& [from, to] : channels.pairs(static_cast<int>(n), i))
          unite(channels.id(node.inputs[i], from), channels.id(node.output, to));
      done_.emplace_back(has_weight(node.op) ? channels.count(node.output) : 0, 0);
    }
    for (const auto& [a, b] : channels.bonds()) unite(a, b);
    for (std::size_t v = 0; v < graph.values.size(); ++v)
      if (channels.is_pinned(static_cast<ValueId>(v)))
        for (int c = 0; c < channels.count(static_cast<ValueId>(v)); ++c) keep(static_cast<ValueId>(v), c);
    do {
      while (spread()) {
      }
    } while (even_out());
  }

  std::vector<char> result() {
    std::vector<char> out(live_.size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = live_[find(static_cast<int>(i))];
    return out;
  }

 private:
  int find(int i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void unite(int a, int b) { parent_[find(b)] = find(a); }
  bool lives(ValueId v, std::int64_t c) { return live_[find(channels_.id(v, static_cast<int>(c)))]; }
  bool keep(ValueId v, std::int64_t c) {
    char& live = live_[find(channels_.id(v, static_cast<int>(c)))];
    const bool is_new = !live;
    live = 1;
    return is_new;
  }

  // From outputs that stay to the inputs that they are mixed from. Each row of a weight is looked at once.
  bool spread() {
    bool changed = false;
    for (std::size_t n = graph_.nodes.size(); n-- > 0;) {
      const Node& node = graph_.nodes[n];
      const ValueId x = node.inputs[0];
      if (!has_weight(node.op) || channels_.axis(x) != output_axis(graph_, node)) continue;
      const Weight w(graph_, node);
      std::vector<std::vector<std::int64_t>> open(static_cast<std::size_t>(w.groups));  // inputs that may go as yet
      for (std::int64_t c = 0; c < w.C; ++c)
        if (constant_[channels_.id(x, static_cast<int>(c))] != 0 && !lives(x, c)) open[c / w.ins].push_back(c);
      for (std::int64_t m = 0; m < w.M; ++m) {
        if (done_[n][m] || !lives(node.output, m)) continue;
        done_[n][m] = 1;
        const Weight::Row row = w.row(m);
        std::vector<std::int64_t>& rest = open[m / w.outs];
        const auto needed = std::remove_if(rest.begin(), rest.end(), [&](std::int64_t c) {
          return !w.is_zero(row.begin + (c - row.first) * row.step) && (keep(x, c), true);
        });
        changed |= needed != rest.end();
        rest.erase(needed, rest.end());
      }
    }
    return changed;
  }

  // Activations need a channel, and the groups of a convolution equal numbers of them. A group without any goes.
  bool even_out() {
    bool changed = false;
    for (const Node& node : graph_.nodes) {
      changed |= fill(node.output, 0, channels_.count(node.output), 1);
      if (!has_weight(node.op) || node.op == Op::Linear || node.i("groups") == 1) continue;
      const ValueId x = node.inputs[0], y = node.output;
      if (channels_.axis(x) != 1) {
        changed |= fill(y, 0, channels_.count(y), channels_.count(y));
        continue;
      }
      const Weight w(graph_, node);
      const std::int64_t in = w.ins, out = w.outs;
      std::int64_t most_in = 1, most_out = 1;
      for (std::int64_t g = 0; g < w.groups; ++g) {
        most_in = std::max(most_in, living(x, g * in, in));
        most_out = std::max(most_out, living(y, g * out, out));
      }
      for (std::int64_t g = 0; g < w.groups; ++g) {
        if (living(x, g * in, in) + living(y, g * out, out) == 0) continue;
        changed |= fill(x, g * in, in, most_in);
        changed |= fill(y, g * out, out, most_out);
      }
    }
    return changed;
  }

  std::int64_t living(ValueId v, std::int64_t begin, std::int64_t n) {
    std::int64_t count = 0;
    for (std::int64_t c = begin; c < begin + n; ++c) count += lives(v, c);
    return count;
  }

  bool fill(ValueId v, std::int64_t begin, std::int64_t n, std::int64_t want) {
    bool changed = false;
    for (std::int64_t c = begin, have = living(v, begin, n); c < begin + n && have < want; ++c) {
      if (!keep(v, c)) continue;
      have = living(v, begin, n);  // by coupling it may be more than one
      changed = true;
    }
    return changed;
  }

  const Graph& graph_;
  const Channels& channels_;
  const std::vector<double>& constant_;
  std::vector<int> parent_;
  std::vector<char> live_;               // by the root of a set of coupled channels
  std::vector<std::vector<char>> done_;  // by node and output channel
};

}  // namespace

std::vector<char> live_channels(const Graph& graph, const Channels& channels, const std::vector<double>& constant) {
  return Liveness(graph, channels, constant).result();
}

}  // namespace sn
