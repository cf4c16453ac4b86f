#include "plan/memory.h"

#include <algorithm>

#include "base/buffer.h"

namespace sn {
namespace {

// Kept between stages, of a group of images. MobileNets at batch 8 and 32, EPYC, when 0.7 MiB an image were kept: 1 MiB
// gained nothing over image by image, 4 half of what 8 and 16 did. Cuts have found places for a quarter of it or less
// since.
constexpr std::size_t kGroupBytes = std::size_t{8} << 20;

// Of one or more values, each in its turn.
struct Life {
  std::size_t bytes;
  int first, last;  // steps
  std::size_t offset = 0;
  bool kept = false;
};

// First fit, largest first (Pisarchyk and Lee 2020, "greedy by size"): each value goes to the lowest gap among those
// already placed whose lives overlap its own.
std::size_t place_greedy(std::vector<Life*> order) {
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

std::vector<ValueId> find_aliases(const Graph& graph) {
  std::vector<ValueId> alias(graph.values.size());
  for (ValueId v = 0; v < static_cast<ValueId>(alias.size()); ++v) alias[v] = v;
  for (const Node& node : graph.nodes) {
    if (node.op == Op::Reshape || node.op == Op::Identity) alias[node.output] = alias[node.inputs[0]];
  }
  return alias;
}

std::int64_t MemoryPlan::group(std::int64_t batch) const {
  if (kept_bytes == 0) return batch;
  return std::min(batch, std::max<std::int64_t>(static_cast<std::int64_t>(kGroupBytes / kept_bytes), 1));
}

std::size_t MemoryPlan::arena_bytes(std::int64_t batch) const {
  const std::int64_t together = group(batch);
  std::size_t turn = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    turn = std::max(turn, turn_bytes[s] * static_cast<std::size_t>(std::min(together, stages[s].images)));
  }
  return kept_bytes * static_cast<std::size_t>(together) + turn;
}

std::size_t MemoryPlan::arena_offset(ValueId v, const Turn& turn) const {
  const Place& p = place[v];
  const auto group = static_cast<std::size_t>(turn.group_size);
  if (p.kind == Place::turn) return kept_bytes * group + p.offset * static_cast<std::size_t>(turn.room);
  return p.offset * group + static_cast<std::size_t>((turn.first - turn.group_first) * p.floats) * sizeof(float);
}

MemoryPlan plan_memory(const Graph& graph, const std::vector<Step>& steps, const std::vector<ValueId>& alias,
                       std::vector<Stage> stages) {
  MemoryPlan plan;
  plan.stages = std::move(stages);
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
      plan.place[out].kind = Place::turn;
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
  std::vector<int> stage_of;
  for (std::size_t s = 0; s < plan.stages.size(); ++s) stage_of.resize(plan.stages[s].end, static_cast<int>(s));
  std::vector<std::vector<Life*>> turns(plan.stages.size());
  std::vector<Life*> kept;
  for (Life& life : lives) {
    const int first = stage_of[life.first], last = stage_of[life.last];
    if (first == last) {
      turns[first].push_back(&life);
    } else {
      life.first = first, life.last = last;  // stages, as in one some images are ahead of others
      life.kept = true;
      kept.push_back(&life);
    }
  }
  plan.kept_bytes = place_greedy(kept);
  for (const std::vector<Life*>& p : turns) plan.turn_bytes.push_back(place_greedy(p));
  for (ValueId v = 0; v < static_cast<ValueId>(alias.size()); ++v) {
    plan.place[v].floats = graph.values[v].size();
    if (index[v] < 0) continue;
    const Life& life = lives[index[v]];
    if (life.kept) plan.place[v].kind = Place::kept;
    plan.place[v].offset = life.offset;
  }
  for (ValueId v = 0; v < static_cast<ValueId>(alias.size()); ++v) plan.place[v] = plan.place[alias[v]];
  return plan;
}

}  // namespace sn
