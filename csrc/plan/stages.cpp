#include "plan/stages.h"

#include <algorithm>
#include <limits>

namespace sn {
namespace {

// By node, bytes of one image's activations.
struct Bytes {
  std::vector<std::int64_t> live;      // that it reads or writes, or that wait for a later one
  std::vector<std::int64_t> crossing;  // of the arena, that earlier nodes wrote for it or later ones
};

Bytes count_bytes(const Graph& graph, const std::vector<ValueId>& alias) {
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
  std::vector<bool> outside(graph.values.size());  // in the caller's memory
  for (const std::vector<ValueId>* ids : {&graph.inputs, &graph.outputs}) {
    for (const ValueId v : *ids) outside[alias[v]] = true;
  }
  Bytes bytes{std::vector<std::int64_t>(nodes), std::vector<std::int64_t>(nodes)};
  for (std::size_t v = 0; v < graph.values.size(); ++v) {
    const std::int64_t size = graph.values[v].size() * static_cast<std::int64_t>(sizeof(float));
    for (std::size_t n = first[v]; n < nodes && n <= last[v]; ++n) {
      bytes.live[n] += size;
      if (n > first[v] && !outside[v]) bytes.crossing[n] += size;
    }
  }
  return bytes;
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
  const auto limit = static_cast<std::int64_t>(caches);
  const Bytes bytes = count_bytes(graph, alias);
  std::vector<std::int64_t> fit(graph.nodes.size());
  std::int64_t least = std::numeric_limits<std::int64_t>::max();  // of this node and all later ones
  for (std::size_t n = fit.size(); n-- > 0;) {
    const std::int64_t room = std::max(limit, shared_weights(graph, graph.nodes[n]));
    fit[n] = least = std::min(least, room / std::max<std::int64_t>(bytes.live[n], 1));
  }
  std::vector<Stage> stages;
  int level = 0;  // none at all is a stage of its own, and then each doubling
  for (std::size_t n = 0; n < fit.size(); ++n) {
    if (n == 0 || (log2_floor(fit[n]) > level && bytes.crossing[n] <= limit / 2)) {
      level = log2_floor(fit[n]);
      stages.push_back({n, std::max<std::int64_t>(fit[n] / threads, 1) * threads});
    }
    stages.back().end = n + 1;
  }
  return stages;
}

}  // namespace sn
