// A batch in stages: every step finds, for each of its images, what was written for that image, wherever the caches
// end.
#include "plan/stages.h"

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "check.h"
#include "plan/memory.h"

namespace {

using namespace sn;

constexpr std::int64_t kChannels = 2;

// Convolutions, sums over two earlier values of one size, and pools that shrink what comes after; a Linear layer ends
// it.
Graph random_graph(std::mt19937& random, std::int64_t side) {
  Graph g;
  std::vector<ValueId> same{g.add_input("x", {kBatch, kChannels, side, side})};
  const std::vector<std::int64_t> one{1, 1}, two{2, 2}, pad{1, 1, 1, 1}, none{0, 0, 0, 0};
  const ValueId w = g.add_constant("w", {kChannels, kChannels, 3, 3}, std::vector<float>(kChannels * kChannels * 9, 1));
  const auto any = [&] { return same[random() % same.size()]; };
  for (int n = 0; n < 16; ++n) {
    switch (random() % 4) {
      case 0:
        same.push_back(g.add_node(Op::Add, {any(), any()}));
        break;
      case 1:
        same.push_back(g.add_node(Op::Activation, {any()}, {{"act", std::string("relu")}}));
        break;
      case 2:
        same.push_back(g.add_node(Op::Conv, {any(), w}, {{"stride", one}, {"dilation", one}, {"padding", pad}}));
        break;
      default:
        if (g.values[same.back()].shape[2] < 4) break;
        same = {
            g.add_node(Op::MaxPool, {any()}, {{"kernel", two}, {"stride", two}, {"padding", none}, {"dilation", one}})};
    }
  }
  const ValueId last = same.back();
  side = g.values[last].shape[2];
  const std::int64_t features = kChannels * side * side;
  const ValueId flat = g.add_node(Op::Reshape, {last}, {{"shape", std::vector<std::int64_t>{0, features}}});
  const ValueId v = g.add_constant("v", {3, features}, std::vector<float>(static_cast<std::size_t>(3 * features), 1));
  g.set_output(g.add_node(Op::Linear, {flat, v}));
  if (random() % 2 && last != g.inputs[0]) g.set_output(last);
  g.verify();
  return g;
}

// A step a node; element-wise ones may write over any operand.
std::vector<Step> steps_of(const Graph& g, const std::vector<ValueId>& alias, std::vector<Stage>& stages) {
  std::vector<Step> steps;
  auto stage = stages.begin();
  for (std::size_t n = 0; n < g.nodes.size(); ++n) {
    const Node& node = g.nodes[n];
    if (n == stage->end) stage++->end = steps.size();
    if (alias[node.output] != node.output) continue;
    Step step;
    for (const ValueId in : node.inputs) {
      if (!g.values[in].is_constant()) step.in.push_back(in);
    }
    step.out = node.output;
    step.overwrites = node.op == Op::Add || node.op == Op::Activation ? 3 : 0;
    steps.push_back(step);
  }
  stage->end = steps.size();
  return steps;
}

// Each step writes its name and the image's into every element, after looking at what its operands hold.
bool runs(const Graph& g, const std::vector<Step>& steps, const std::vector<ValueId>& alias, const MemoryPlan& plan,
          std::int64_t batch) {
  std::vector<std::uint32_t> arena(plan.arena_bytes(batch) / sizeof(std::uint32_t));
  std::map<ValueId, std::vector<std::uint32_t>> outside;  // inputs and outputs
  const auto tag = [&](ValueId v, std::int64_t image) { return static_cast<std::uint32_t>(alias[v] * 100 + image); };
  const auto floats = [&](ValueId v) { return static_cast<std::size_t>(g.values[v].size()); };
  for (const std::vector<ValueId>* ids : {&g.inputs, &g.outputs}) {
    for (const ValueId v : *ids) {
      for (std::int64_t i = 0; i < batch; ++i)
        outside[alias[v]].resize(outside[alias[v]].size() + floats(v), tag(v, i));
    }
  }
  bool good = true;
  std::size_t done = 0;
  const auto at = [&](ValueId v, const Turn& turn, std::int64_t image) -> std::uint32_t* {
    const std::size_t skipped = static_cast<std::size_t>(image) * floats(v);
    const Place& p = plan.place[v];
    if (p.kind == Place::input || p.kind == Place::output) {
      return outside[alias[v]].data() + static_cast<std::size_t>(turn.first) * floats(v) + skipped;
    }
    const std::size_t offset = plan.arena_offset(v, turn) / sizeof(std::uint32_t) + skipped;
    if (offset + floats(v) <= arena.size()) return arena.data() + offset;
    good = false;
    return arena.data();
  };
  plan.for_each_turn(batch, [&](const Turn& turn) {
    for (std::size_t s = turn.begin; s < turn.end; ++s) {
      for (std::int64_t i = 0; i < turn.images; ++i, ++done) {
        for (const ValueId in : steps[s].in) {
          const std::uint32_t* x = at(in, turn, i);
          good = good && std::all_of(x, x + floats(in), [&](std::uint32_t t) { return t == tag(in, turn.first + i); });
        }
      }
      for (std::int64_t i = 0; i < turn.images; ++i) {
        std::fill_n(at(steps[s].out, turn, i), floats(steps[s].out), tag(steps[s].out, turn.first + i));
      }
    }
  });
  return good && done == steps.size() * static_cast<std::size_t>(batch);
}

// Returns the most groups that a batch took.
std::int64_t images_never_meet(int graphs, std::int64_t side, std::vector<std::size_t> caches,
                               std::vector<std::int64_t> batches) {
  std::mt19937 random(7);
  std::size_t most = 0;
  std::int64_t groups = 0;
  for (int seed = 0; seed < graphs; ++seed) {
    const Graph g = random_graph(random, side);
    const std::vector<ValueId> alias = find_aliases(g);
    for (const std::size_t bytes : caches) {
      std::vector<Stage> stages = plan_stages(g, alias, bytes, 1 + seed % 3);
      CHECK(stages.back().end == g.nodes.size());
      for (std::size_t s = 1; s < stages.size(); ++s) {
        CHECK(stages[s].end > stages[s - 1].end && stages[s].images >= stages[s - 1].images);
      }
      most = std::max(most, stages.size());
      const std::vector<Step> steps = steps_of(g, alias, stages);
      const MemoryPlan plan = plan_memory(g, steps, alias, stages);
      for (const std::int64_t batch : batches) {
        CHECK(runs(g, steps, alias, plan, batch));
        groups = std::max(groups, (batch - 1) / plan.group(batch) + 1);
        CHECK(plan.arena_bytes(batch) <= plan.arena_bytes(batch + 1));
      }
    }
  }
  CHECK(most >= 3);
  return groups;
}

void small_images() {
  images_never_meet(60, 24, {1 << 10, 5 << 10, 12 << 10, 40 << 10, 1 << 20}, {1, 2, 3, 8, 9});
}

// What is kept of nine images is more than a group has.
void large_images() {
  CHECK(images_never_meet(8, 700, {1 << 20, 5 << 20, 9 << 20}, {9}) > 1);
}

// Fully connected weights of 400 KB, in a network whose activations are larger than the caches at first.
void weights_are_shared() {
  Graph g;
  const std::vector<std::int64_t> one{1, 1}, two{2, 2}, none{0, 0, 0, 0};
  const ValueId x = g.add_input("x", {kBatch, 1, 64, 64});
  const ValueId pooled =
      g.add_node(Op::MaxPool, {x}, {{"kernel", two}, {"stride", two}, {"padding", none}, {"dilation", one}});
  const ValueId flat = g.add_node(Op::Reshape, {pooled}, {{"shape", std::vector<std::int64_t>{0, 1024}}});
  g.set_output(g.add_node(Op::Linear, {flat, g.add_constant("w", {100, 1024}, std::vector<float>(102400, 1))}));
  const std::vector<Stage> stages = plan_stages(g, find_aliases(g), 9000, 1);
  CHECK(stages.size() == 3);  // not one image, two, and as many as weigh what the weights do
  CHECK(stages[0].end == 1 && stages[0].images == 1);
  CHECK(stages[1].end == 2 && stages[1].images == 2);
  CHECK(stages[2].end == 3 && stages[2].images == 409600 / (4096 + 400));
  CHECK(plan_stages(g, find_aliases(g), 9000, 4)[0].images == 4);
  CHECK(plan_stages(g, find_aliases(g), 6000, 1).size() == 1);  // what would be kept is more than half
}

}  // namespace

int main() {
  RUN(small_images);
  RUN(large_images);
  RUN(weights_are_shared);
  return check::finish();
}
