#include "plan/memory.h"

#include <algorithm>

#include "base/buffer.h"

namespace sn {
namespace {

// Of one or more values, each in its turn.
struct Life {
  std::size_t bytes;
  int first, last;  // steps
  std::size_t offset = 0;
};

// First fit, largest first (Pisarchyk and Lee 2020, "greedy by size"): each value goes to the lowest gap among those
// already placed whose lives overlap its own.
std::size_t place_greedy(std::vector<Life>& lives) {
  std::vector<Life*> order;
  for (Life& life : lives) order.push_back(&life);
  std::stable_sort(order.begin(), order.end(), [](const Life* a, const Life* b) { return a->bytes > b->bytes; });
  std::size_t total = 0;
  std::vector<const Life*> overlap;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Life& life = *order[i];
    overlap.clear();
    for (std::size_t j = 0; j < i; ++j) {
      if (order[j]->first <= life.last && life.first <= order[j]->last) overlap.push_back(order[j]);
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
  std::vector<int> last(graph.values.size(), -1);  // the last step that reads a value's memory
  for (int s = 0; s < static_cast<int>(steps.size()); ++s) {
    for (const ValueId in : steps[s].in) last[alias[in]] = s;
  }
  std::vector<Life> lives;
  std::vector<int> index(graph.values.size(), -1);
  // The input, if any, in whose memory a step may leave its output: the step is the last to read it, and reads it once.
  const auto overwritten = [&](int s) {
    const Step& step = steps[s];
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const ValueId in = alias[step.in[i]];
      const bool once = std::count_if(step.in.begin(), step.in.end(), [&](ValueId v) { return alias[v] == in; }) == 1;
      if ((step.overwrites >> i & 1) && once && index[in] >= 0 && last[in] == s &&
          graph.values[in].size() == graph.values[step.out].size()) {
        return index[in];
      }
    }
    return -1;
  };
  for (int s = 0; s < static_cast<int>(steps.size()); ++s) {
    const ValueId out = alias[steps[s].out];
    if (plan.place[out].kind == Place::none) {
      plan.place[out].kind = Place::arena;
      index[out] = overwritten(s);
      if (index[out] < 0) {
        index[out] = static_cast<int>(lives.size());
        const auto floats = static_cast<std::size_t>(graph.values[out].size());
        lives.push_back({align_up(floats * sizeof(float)), s, s});
      }
    }
    for (const ValueId in : steps[s].in) {
      if (index[alias[in]] >= 0) lives[index[alias[in]]].last = s;
    }
  }
  plan.arena_bytes = place_greedy(lives);
  for (ValueId v = 0; v < static_cast<ValueId>(alias.size()); ++v) {
    if (index[v] >= 0) plan.place[v].offset = lives[index[v]].offset;
  }
  for (ValueId v = 0; v < static_cast<ValueId>(alias.size()); ++v) plan.place[v] = plan.place[alias[v]];
  return plan;
}

}  // namespace sn
