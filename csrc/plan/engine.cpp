#include "plan/engine.h"

#include <chrono>
#include <cstring>
#include <limits>
#include <mutex>

#include "base/buffer.h"
#include "base/error.h"
#include "base/threads.h"
#include "passes/passes.h"
#include "plan/lower.h"
#include "plan/memory.h"
#include "plan/parallel.h"
#include "plan/tune.h"

namespace sn {
namespace {

using Clock = std::chrono::steady_clock;

// What one call of run() needs besides the plan. Free ones wait in a list, so that calls from several threads each
// have their own and none allocates twice.
struct Workspace {
  AlignedBuffer arena, scratch;
  std::unique_ptr<Workspace> next;
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

std::int64_t sample_bytes(const Value& v) {
  return v.size() * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

struct Engine::Impl {
  Graph graph;
  CompileOptions options;
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
    slice = std::max<std::int64_t>(options.batch, static_cast<std::int64_t>(caches / memory.arena_bytes));
  }

  std::unique_ptr<Workspace> take(std::int64_t batch) {
    std::unique_ptr<Workspace> w;
    {
      std::lock_guard<std::mutex> lock(mutex);
      if (free) {
        w = std::move(free);
        free = std::move(w->next);
      }
    }
    if (!w) w = std::make_unique<Workspace>();
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
    if (graph.fixed_batch > 0 && batch != graph.fixed_batch) {
      fail(ErrorCode::InvalidArgument, "batch ", batch, ": this graph was exported for batch ", graph.fixed_batch,
           " only; export it with a dynamic batch dimension to run others");
    }
    // Also keeps batch * elements inside int64 in every kernel.
    auto bytes = static_cast<std::int64_t>(memory.arena_bytes);
    for (ValueId v : graph.inputs) bytes += sample_bytes(graph.values[v]);
    for (ValueId v : graph.outputs) bytes += sample_bytes(graph.values[v]);
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
        return const_cast<float*>(in[p.index]) + first * graph.values[v].size();
      case Place::output:
        return out[p.index] + first * graph.values[v].size();
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
        const Value& v = graph.values[c.from];
        std::memcpy(out[c.output] + first * v.size(), address(c.from),
                    static_cast<std::size_t>(args.batch * sample_bytes(v)));
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
  context.winograd = options.winograd;
  const std::vector<ValueId> alias = find_aliases(graph);
  bool forced_used = options.kernel.empty();
  for (const Node& node : graph.nodes) {
    if (alias[node.output] != node.output) continue;
    Step step = lower(context, node);
    step.info.node = node.name;
    step.info.op = op_name(node.op);
    step.info.out_shape = graph.values[node.output].shape;
    forced_used = forced_used || step.info.kernel == options.kernel;
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
  impl->graph = std::move(graph);
  return std::shared_ptr<const Engine>(new Engine(std::move(impl)));
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
const Graph& Engine::graph() const {
  return impl_->graph;
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
