#include "plan/memory.h"

#include <algorithm>

#include "base/buffer.h"

namespace sn {
namespace {

struct Life {
  ValueId value;
  std::size_t bytes;
  int first, last;  // steps
  std::size_t offset = 0;
};

// First fit, largest first (Pisarchyk and Lee 2020, "greedy by size"): each value goes to the lowest gap among those
// already placed whose lives overlap its own.
std::size_t place_greedy(std::vector<Life>& lives) {
  std::sort(lives.begin(), lives.end(),
            [](const Life& a, const Life& b) { return a.bytes != b.bytes ? a.bytes > b.bytes : a.value < b.value; });
  std::size_t total = 0;
  std::vector<const Life*> overlap;
  for (std::size_t i = 0; i < lives.size(); ++i) {
    Life& life = lives[i];
    overlap.clear();
    for (std::size_t j = 0; j < i; ++j) {
      if (lives[j].first <= life.last && life.first <= lives[j].last) overlap.push_back(&lives[j]);
    }
    std::sort(overlap.begin(), overlap.end(), [](const Life* a, const Life* b) { return a->offset < b->offset; });
    std::size_t at = 0;
    for (const Life* other : overlap) {
      if (at + life.bytes <= other->offset) break;
      at = std::max(at, other->offset + other->bytes);
    }
    life.offset = at;
    total = std::max(total, at + life.bytes);
  }
  return total;
}

}  // namespace

MemoryPlan plan_memory(const Graph& graph, const std::vector<Step>& steps, const std::vector<ValueId>& alias) {
  MemoryPlan plan;
  plan.place.resize(graph.values.size());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) plan.place[graph.inputs[i]] = {Place::input, i, 0};
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
    const ValueId root = alias[graph.outputs[i]];
    if (plan.place[root].kind == Place::none) {
      plan.place[root] = {Place::output, i, 0};
    } else {
      plan.copies.push_back({root, i});
    }
  }
  std::vector<Life> lives;
  std::vector<int> index(graph.values.size(), -1);
  for (int s = 0; s < static_cast<int>(steps.size()); ++s) {
    const ValueId out = alias[steps[s].out];
    if (plan.place[out].kind == Place::none) {
      plan.place[out].kind = Place::arena;
      index[out] = static_cast<int>(lives.size());
      const auto floats = static_cast<std::size_t>(graph.values[out].size());
      lives.push_back({out, align_up(floats * sizeof(float)), s, s});
    }
    for (const ValueId in : steps[s].in) {
      if (index[alias[in]] >= 0) lives[index[alias[in]]].last = s;
    }
  }
  plan.arena_bytes = place_greedy(lives);
  for (const Life& life : lives) plan.place[life.value].offset = life.offset;
  for (ValueId v = 0; v < static_cast<ValueId>(alias.size()); ++v) plan.place[v] = plan.place[alias[v]];
  return plan;
}

}  // namespace sn
