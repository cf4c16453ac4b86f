#include "plan/stages.h"

#include <algorithm>
#include <limits>

namespace sn {
namespace {

// By node: bytes of the activations that it reads or writes, or that wait for a later one; of one image.
std::vector<std::int64_t> live_bytes(const Graph& graph, const std::vector<ValueId>& alias) {
  const std::size_t nodes = graph.nodes.size();
  std::vector<std::size_t> first(graph.values.size(), nodes), last(graph.values.size(), 0);
  for (std::size_t n = 0; n < nodes; ++n) {
    std::vector<ValueId> touched = graph.nodes[n].inputs;
    touched.push_back(graph.nodes[n].output);
    for (const ValueId v : touched) {
      if (v == kNoValue || graph.values[v].is_constant()) continue;
      first[alias[v]] = std::min(first[alias[v]], n);
      last[alias[v]] = n;
    }
  }
  std::vector<std::int64_t> change(nodes + 1, 0);
  for (std::size_t v = 0; v < graph.values.size(); ++v) {
    if (first[v] == nodes) continue;
    const std::int64_t bytes = graph.values[v].size() * static_cast<std::int64_t>(sizeof(float));
    change[first[v]] += bytes;
    change[last[v] + 1] -= bytes;
  }
  for (std::size_t n = 1; n < nodes; ++n) change[n] += change[n - 1];
  change.resize(nodes);
  return change;
}

// Of a fully connected layer, which reads them once for all images that run together: with as many bytes of
// activations as of weights, the layer gains more than the caches lose.
std::int64_t shared_weights(const Graph& graph, const Node& node) {
  if (node.op != Op::Linear) return 0;
  const Value& w = graph.values[node.inputs[1]];
  constexpr std::int64_t kSparse = 6, kDense = 4;  // bytes a nonzero: a value and a 16-bit index
  return w.sparse ? kSparse * static_cast<std::int64_t>(w.sparse->values().size()) : kDense * w.size();
}

int log2_floor(std::int64_t n) {
  int log = -1;
  for (; n > 0; n /= 2) ++log;
  return log;
}

}  // namespace

std::vector<Stage> plan_stages(const Graph& graph, const std::vector<ValueId>& alias, std::size_t caches, int threads) {
  std::vector<std::int64_t> fit = live_bytes(graph, alias);
  std::int64_t least = std::numeric_limits<std::int64_t>::max();  // of this node and all later ones
  for (std::size_t n = fit.size(); n-- > 0;) {
    const std::int64_t room = std::max(static_cast<std::int64_t>(caches), shared_weights(graph, graph.nodes[n]));
    fit[n] = least = std::min(least, room / std::max<std::int64_t>(fit[n], 1));
  }
  std::vector<Stage> stages;
  for (std::size_t n = 0; n < fit.size(); ++n) {
    // None at all is a stage of its own, and then each doubling.
    if (n == 0 || log2_floor(fit[n]) > log2_floor(fit[n - 1])) {
      stages.push_back({n, std::max<std::int64_t>(fit[n] / threads, 1) * threads});
    }
    stages.back().end = n + 1;
  }
  return stages;
}

}  // namespace sn
