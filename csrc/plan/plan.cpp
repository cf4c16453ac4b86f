#include "plan/plan.h"

#include <algorithm>
#include <string>

#include "base/buffer.h"
#include "base/error.h"
#include "passes/rewrite.h"
#include "plan/lower.h"

namespace sn {
namespace {

// Constants on their way from the graph to a packed step. A step copies what it needs of them, so each is dense for the
// time its node is lowered at most, and gone after the last node that reads it.
class Constants {
 public:
  explicit Constants(Graph& graph) : graph_(graph), last_(graph.values.size(), -1) {
    for (std::size_t n = 0; n < graph.nodes.size(); ++n)
      for (const ValueId v : graph.nodes[n].inputs)
        if (v != kNoValue) last_[v] = static_cast<int>(n);
  }

  void expand(const Node& node) {
    if (dense_.size() < node.inputs.size()) dense_.resize(node.inputs.size());
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.has_input(i)) continue;
      Value& v = graph_.values[node.inputs[i]];
      if (!v.sparse || v.data) continue;
      const std::size_t bytes = static_cast<std::size_t>(v.size()) * sizeof(float);
      if (dense_[i].size() < bytes) dense_[i] = AlignedBuffer(bytes);
      v.sparse->expand(dense_[i].as<float>());
      v.data = std::shared_ptr<const float>(std::shared_ptr<const float>(), dense_[i].as<float>());
    }
  }

  void drop(int n) {
    for (const ValueId id : graph_.nodes[n].inputs) {
      if (id == kNoValue) continue;
      Value& v = graph_.values[id];
      if (v.sparse || last_[id] == n) v.data.reset();
      if (last_[id] == n) v.sparse.reset();
    }
  }

 private:
  Graph& graph_;
  std::vector<int> last_;  // by value, the last node that reads it
  // By input of a node: used again and again, as fresh pages cost as much as to fill.
  std::vector<AlignedBuffer> dense_;
};

// Nodes that another node's step does, too.
class Joins {
 public:
  explicit Joins(const Graph& graph)
      : graph_(graph), links_(graph), addend_(graph.nodes.size(), -1), done_(addend_.size()) {
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      const int writer = node.op == Op::Conv && node.has_input(3) ? links_.private_writer(node.inputs[3]) : -1;
      if (writer < 0 || !can_add(graph, node, graph.nodes[writer])) continue;
      addend_[n] = writer;
      done_[writer] = true;
    }
  }

  int addend(std::size_t n) const { return addend_[n]; }  // the convolution that gives the node's residual, or -1
  bool done(std::size_t n) const { return done_[n]; }

  // Max pooling that alone reads what the node writes: whether its step does both, the lowering of the node says.
  const Node* pool(std::size_t n) const {
    const int reader = links_.sole_reader(graph_.nodes[n].output);
    return reader >= 0 && graph_.nodes[reader].op == Op::MaxPool ? &graph_.nodes[reader] : nullptr;
  }
  void pooled(std::size_t n) { done_[links_.sole_reader(graph_.nodes[n].output)] = true; }

 private:
  const Graph& graph_;
  const Links links_;
  std::vector<int> addend_;
  std::vector<bool> done_;
};

MemoryPlan plan_whole(const Graph& graph, const std::vector<Step>& steps, const std::vector<ValueId>& alias,
                      std::size_t caches) {
  MemoryPlan plan = plan_memory(graph, steps, alias, {{steps.size(), 1}});
  const std::size_t image = std::max<std::size_t>(plan.arena_bytes(1), 1);
  plan.stages[0].images = std::max<std::int64_t>(static_cast<std::int64_t>(caches / image), 1);
  return plan;
}

}  // namespace

std::size_t Plan::arena_bytes(std::int64_t batch) const {
  const std::int64_t most = whole.stages[0].images;
  return batch <= most ? whole.arena_bytes(batch) : std::max(whole.arena_bytes(most), staged.arena_bytes(batch));
}

Plan make_plan(Graph& graph, LowerContext context) {
  Plan plan;
  const std::vector<ValueId> alias = find_aliases(graph);
  const std::size_t caches = l2_bytes() * static_cast<std::size_t>(context.threads);
  const std::vector<Stage> node_stages = plan_stages(graph, alias, caches, context.threads);
  std::vector<Stage> stages;  // of steps
  auto stage = node_stages.begin(), begun = node_stages.end();
  const std::int64_t batch = context.batch;
  Constants constants(graph);
  Joins joins(graph);
  bool forced_used = context.kernel.empty();
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (n == stage->end) ++stage;
    if (alias[node.output] != node.output || joins.done(n)) continue;
    context.batch = std::min(stage->images, batch);
    context.addend = joins.addend(n) >= 0 ? &graph.nodes[joins.addend(n)] : nullptr;
    context.pool = joins.pool(n);
    constants.expand(node);
    Step step = lower(context, node);
    constants.drop(static_cast<int>(n));
    step.info.node = node.name;
    step.info.op = op_name(node.op);
    if (context.addend) {
      constants.drop(joins.addend(n));
      step.info.op += std::string("+") + op_name(context.addend->op);
    }
    if (step.out != node.output) {
      joins.pooled(n);
      step.info.op += std::string("+") + op_name(context.pool->op);
    }
    step.info.out_shape = graph.values[step.out].shape;
    forced_used = forced_used || (step.info.kernel == context.kernel &&
                                  (context.layout.empty() || step.info.layout == context.layout));
    plan.scratch_bytes = std::max(plan.scratch_bytes, align_up(step.scratch_bytes));
    plan.steps.push_back(std::move(step));
    if (stage != begun) stages.push_back({0, stage->images});
    begun = stage;
    stages.back().end = plan.steps.size();
  }
  if (!forced_used) {
    fail(ErrorCode::InvalidArgument, "kernel=", context.kernel, context.layout.empty() ? "" : "/", context.layout,
         ": no layer of this network can use it on ", isa_name(context.isa));
  }
  plan.staged = plan_memory(graph, plan.steps, alias, std::move(stages));
  plan.whole = plan_whole(graph, plan.steps, alias, caches);
  return plan;
}

}  // namespace sn
