#include "plan/engine.h"

#include <chrono>
#include <cstring>
#include <limits>
#include <mutex>
#include <set>
#include <thread>

#include "base/buffer.h"
#include "base/error.h"
#include "base/threads.h"
#include "base/trim.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "plan/lower.h"
#include "plan/memory.h"
#include "plan/parallel.h"
#include "plan/tune.h"

namespace sn {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kWorthTrimming = 1 << 22;  // bytes of packed weights

// What one call of run() needs besides the plan. Free ones wait in a list, so that calls from several threads each
// have their own and none allocates twice.
struct Workspace {
  AlignedBuffer arena, scratch;
  std::thread::id thread;  // that used it last, and for which batch: its caches may still hold it
  std::int64_t batch = 0;
  std::unique_ptr<Workspace> next;
};

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

  void release() { dense_.clear(); }

 private:
  Graph& graph_;
  std::vector<int> last_;  // by value, the last node that reads it
  std::vector<AlignedBuffer>
      dense_;  // by input of a node: used again and again, as fresh pages cost as much as to fill
};

// Reshape and Identity move no data: their output is their input's memory.
std::vector<ValueId> find_aliases(const Graph& graph) {
  std::vector<ValueId> alias(graph.values.size());
  for (ValueId v = 0; v < static_cast<ValueId>(alias.size()); ++v) alias[v] = v;
  for (const Node& node : graph.nodes) {
    if (node.op == Op::Reshape || node.op == Op::Identity) alias[node.output] = alias[node.inputs[0]];
  }
  return alias;
}

void check(const CompileOptions& o) {
  if (o.threads < 1 || o.threads > 1024) {
    fail(ErrorCode::InvalidArgument, "threads=", o.threads, ": expected 1 to 1024");
  }
  if (o.batch < 1) fail(ErrorCode::InvalidArgument, "batch=", o.batch, ": expected at least 1");
  if (!(o.tune_seconds >= 0)) fail(ErrorCode::InvalidArgument, "tune_seconds=", o.tune_seconds, ": expected >= 0");
}

std::int64_t sample_floats(const Shape& shape) {
  std::int64_t n = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) n *= shape[i];
  return n;
}

}  // namespace

struct Engine::Impl {
  CompileOptions options;
  std::int64_t fixed_batch = 0;
  std::vector<TensorInfo> inputs, outputs;
  std::vector<Step> steps;
  std::vector<StepInfo> infos;
  MemoryPlan memory;
  std::size_t scratch_bytes = 0;  // a thread
  std::unique_ptr<ThreadPool> pool;

  std::mutex mutex;
  std::unique_ptr<Workspace> free;  // under mutex

  explicit Impl(const CompileOptions& o, ExternalPool external)
      : options(o), pool(std::make_unique<ThreadPool>(o.threads, external)) {}

  // Samples that run through the network together. A batch whose activations leave L2 is slower an image than batch 1
  // (ResNet-50, batch 8: 0.82 of its throughput), so it is cut; not where fully connected weights, read once a slice,
  // are the larger part of what moves (VGG-16).
  std::int64_t slice = std::numeric_limits<std::int64_t>::max();

  std::size_t arena_bytes(std::int64_t batch) const {
    return memory.arena_bytes * static_cast<std::size_t>(std::min(batch, slice));
  }

  void choose_slice() {
    std::size_t linear = 0;
    for (const StepInfo& info : infos) linear += info.op == op_name(Op::Linear) ? info.packed_bytes : 0;
    if (linear > memory.arena_bytes || memory.arena_bytes == 0) return;
    const std::size_t caches = l2_bytes() * static_cast<std::size_t>(options.threads);
    slice = std::max<std::int64_t>(1, static_cast<std::int64_t>(caches / memory.arena_bytes));
  }

  // Of the free ones: one that need not grow, then one of this thread's, then of this batch size; the latest of equals.
  std::unique_ptr<Workspace> find_free(std::int64_t batch) {
    std::lock_guard<std::mutex> lock(mutex);
    std::unique_ptr<Workspace>* best = nullptr;
    int best_score = -1;
    for (std::unique_ptr<Workspace>* w = &free; *w; w = &(*w)->next) {
      const int score = ((*w)->arena.size() >= arena_bytes(batch)) * 4 +
                        ((*w)->thread == std::this_thread::get_id()) * 2 + ((*w)->batch == batch);
      if (score > best_score) best = w, best_score = score;
    }
    if (!best) return nullptr;
    std::unique_ptr<Workspace> found = std::move(*best);
    *best = std::move(found->next);
    return found;
  }

  std::unique_ptr<Workspace> take(std::int64_t batch) {
    std::unique_ptr<Workspace> w = find_free(batch);
    if (!w) w = std::make_unique<Workspace>();
    w->thread = std::this_thread::get_id();
    w->batch = batch;
    if (w->arena.size() < arena_bytes(batch)) w->arena = AlignedBuffer(arena_bytes(batch));
    const std::size_t scratch = scratch_bytes * static_cast<std::size_t>(options.threads);
    if (w->scratch.size() < scratch) w->scratch = AlignedBuffer(scratch);
    return w;
  }

  void give_back(std::unique_ptr<Workspace> w) {
    std::lock_guard<std::mutex> lock(mutex);
    w->next = std::move(free);
    free = std::move(w);
  }

  void check_batch(std::int64_t batch) const {
    if (batch < 1) fail(ErrorCode::InvalidArgument, "batch ", batch, ": expected at least 1");
    if (fixed_batch > 0 && batch != fixed_batch) {
      fail(ErrorCode::InvalidArgument, "batch ", batch, ": this graph was exported for batch ", fixed_batch,
           " only; export it with a dynamic batch dimension to run others");
    }
    // Also keeps batch * elements inside int64 in every kernel.
    auto bytes = static_cast<std::int64_t>(memory.arena_bytes);
    for (const std::vector<TensorInfo>* tensors : {&inputs, &outputs})
      for (const TensorInfo& t : *tensors) bytes += sample_floats(t.shape) * static_cast<std::int64_t>(sizeof(float));
    const auto limit = static_cast<std::int64_t>(1) << 46;
    if (batch > limit / bytes) {
      fail(ErrorCode::InvalidArgument, "batch ", batch, " needs more memory than a machine can address");
    }
  }

  void run(std::int64_t batch, const float* const* in, float* const* out, double* begin, double* end);
};

void Engine::Impl::run(std::int64_t batch, const float* const* in, float* const* out, double* begin, double* end) {
  check_batch(batch);
  std::unique_ptr<Workspace> work = take(batch);
  const std::int64_t together = std::min(batch, slice);
  std::int64_t first = 0;  // sample of the slice
  const auto address = [&](ValueId v) -> float* {
    const Place& p = memory.place[v];
    switch (p.kind) {
      case Place::input:
        return const_cast<float*>(in[p.index]) + first * sample_floats(inputs[p.index].shape);
      case Place::output:
        return out[p.index] + first * sample_floats(outputs[p.index].shape);
      default:
        return reinterpret_cast<float*>(work->arena.as<char>() + p.offset * static_cast<std::size_t>(together));
    }
  };
  KernelArgs args{};
  args.scratch = work->scratch.as<>();
  const auto start = Clock::now();
  const auto since = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  {
    ThreadPool::Session session(*pool);
    for (; first < batch; first += together) {
      args.batch = std::min(together, batch - first);
      for (std::size_t s = 0; s < steps.size(); ++s) {
        const Step& step = steps[s];
        for (std::size_t i = 0; i < step.in.size(); ++i) args.in[i] = address(step.in[i]);
        args.out = address(step.out);
        const double began = begin ? since() : 0;
        run_step(session, step, args, scratch_bytes);
        if (!begin) continue;
        if (first == 0) begin[s] = end[s] = began;
        end[s] += since() - began;
      }
      for (const MemoryPlan::Copy& c : memory.copies) {
        const std::int64_t n = sample_floats(outputs[c.output].shape);
        std::memcpy(out[c.output] + first * n, address(c.from),
                    static_cast<std::size_t>(args.batch * n) * sizeof(float));
      }
    }
  }
  give_back(std::move(work));
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

std::shared_ptr<const Engine> Engine::compile(Graph graph, const CompileOptions& options, ExternalPool external) {
  check(options);
  graph.verify();
  auto impl = std::make_unique<Impl>(options, external);
  const Isa isa = select_isa(options.isa);
  impl->options.isa = isa_name(isa);
  if (options.passes) run_passes(graph, options.disabled_passes);
  if (graph.fixed_batch > 0) impl->options.batch = graph.fixed_batch;

  Tuner tuner(options.tune_seconds, *impl->pool);
  LowerContext context{
      graph, isa, options.threads, impl->options.batch, options.kernel, options.tune ? &tuner : nullptr};
  const std::size_t slash = options.kernel.find('/');
  if (slash != std::string::npos) context.kernel.resize(slash), context.layout = options.kernel.substr(slash + 1);
  context.winograd = options.winograd;
  const std::vector<ValueId> alias = find_aliases(graph);
  bool forced_used = options.kernel.empty();
  Constants constants(graph);
  const Links links(graph);
  std::set<ValueId> joined;  // written by the step of an earlier node
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (alias[node.output] != node.output || joined.count(node.output)) continue;
    const int reader = links.sole_reader(node.output);
    if (reader >= 0 && can_add(graph, graph.nodes[reader], node)) continue;
    const int addend = node.op == Op::Conv && node.has_input(3) ? links.private_writer(node.inputs[3]) : -1;
    context.addend = addend >= 0 && can_add(graph, node, graph.nodes[addend]) ? &graph.nodes[addend] : nullptr;
    context.pool = reader >= 0 && graph.nodes[reader].op == Op::MaxPool ? &graph.nodes[reader] : nullptr;
    constants.expand(node);
    Step step = lower(context, node);
    constants.drop(static_cast<int>(n));
    if (context.addend) constants.drop(addend);
    step.info.node = node.name;
    step.info.op = op_name(node.op);
    if (context.addend) step.info.op += std::string("+") + op_name(context.addend->op);
    if (step.out != node.output) {
      joined.insert(step.out);
      step.info.op += std::string("+") + op_name(context.pool->op);
    }
    step.info.out_shape = graph.values[step.out].shape;
    forced_used = forced_used || (step.info.kernel == context.kernel &&
                                  (context.layout.empty() || step.info.layout == context.layout));
    impl->scratch_bytes = std::max(impl->scratch_bytes, align_up(step.scratch_bytes));
    impl->infos.push_back(step.info);
    impl->steps.push_back(std::move(step));
  }
  if (!forced_used) {
    fail(ErrorCode::InvalidArgument, "kernel=", options.kernel, ": no layer of this network can use it on ",
         isa_name(isa));
  }
  impl->memory = plan_memory(graph, impl->steps, alias);
  impl->choose_slice();
  const auto infos = [&](const std::vector<ValueId>& ids) {
    std::vector<TensorInfo> out;
    for (ValueId v : ids) {
      TensorInfo info{graph.values[v].name, graph.values[v].shape};
      if (graph.fixed_batch > 0) info.shape[0] = graph.fixed_batch;
      out.push_back(std::move(info));
    }
    return out;
  };
  impl->inputs = infos(graph.inputs);
  impl->outputs = infos(graph.outputs);
  impl->fixed_batch = graph.fixed_batch;
  const std::shared_ptr<const Engine> engine(new Engine(std::move(impl)));
  // Once the constants are gone: holes between packed weights were a tenth of what a pruned ResNet-50 takes.
  graph = Graph();
  constants.release();
  if (engine->packed_bytes() >= kWorthTrimming) trim_memory();
  return engine;
}

const std::vector<TensorInfo>& Engine::inputs() const {
  return impl_->inputs;
}
const std::vector<TensorInfo>& Engine::outputs() const {
  return impl_->outputs;
}
const std::vector<StepInfo>& Engine::steps() const {
  return impl_->infos;
}
const CompileOptions& Engine::options() const {
  return impl_->options;
}

std::size_t Engine::packed_bytes() const {
  std::size_t bytes = 0;
  for (const StepInfo& info : impl_->infos) bytes += info.packed_bytes;
  return bytes;
}

std::size_t Engine::arena_bytes(std::int64_t batch) const {
  return impl_->arena_bytes(batch);
}

void Engine::run(std::int64_t batch, const float* const* in, float* const* out) const {
  impl_->run(batch, in, out, nullptr, nullptr);
}

void Engine::reserve(std::int64_t batch) const {
  impl_->check_batch(batch);
  impl_->give_back(impl_->take(batch));
}

void Engine::run_timed(std::int64_t batch, const float* const* in, float* const* out, double* begin,
                       double* end) const {
  impl_->run(batch, in, out, begin, end);
}

}  // namespace sn
