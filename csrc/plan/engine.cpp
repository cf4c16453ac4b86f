#include "plan/engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/buffer.h"
#include "base/error.h"
#include "base/threads.h"
#include "base/trim.h"
#include "passes/passes.h"
#include "plan/parallel.h"
#include "plan/plan.h"
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
  Plan plan;
  std::vector<StepInfo> infos;
  std::unique_ptr<ThreadPool> pool;

  std::mutex mutex;
  std::unique_ptr<Workspace> free;  // under mutex

  explicit Impl(const CompileOptions& o, ExternalPool external)
      : options(o), pool(std::make_unique<ThreadPool>(o.threads, external)) {}

  // Of the free ones: one that need not grow, then one of this thread's, then of this batch size; the latest of equals.
  std::unique_ptr<Workspace> find_free(std::int64_t batch) {
    std::lock_guard<std::mutex> lock(mutex);
    std::unique_ptr<Workspace>* best = nullptr;
    int best_score = -1;
    for (std::unique_ptr<Workspace>* w = &free; *w; w = &(*w)->next) {
      const int score = ((*w)->arena.size() >= plan.arena_bytes(batch)) * 4 +
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
    if (w->arena.size() < plan.arena_bytes(batch)) w->arena = AlignedBuffer(plan.arena_bytes(batch));
    const std::size_t scratch = plan.scratch_bytes * static_cast<std::size_t>(options.threads);
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
    auto bytes = static_cast<std::int64_t>(plan.whole.arena_bytes(1) + plan.staged.arena_bytes(1));
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
  const MemoryPlan& memory = plan.memory(batch);
  const auto address = [&](ValueId v, const Turn& turn) -> float* {
    const Place& p = memory.place[v];
    if (p.kind == Place::input) return const_cast<float*>(in[p.index]) + turn.first * p.floats;
    if (p.kind == Place::output) return out[p.index] + turn.first * p.floats;
    return reinterpret_cast<float*>(work->arena.as<char>() + memory.arena_offset(v, turn));
  };
  KernelArgs args{};
  args.scratch = work->scratch.as<>();
  const auto start = Clock::now();
  const auto since = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  {
    ThreadPool::Session session(*pool);
    memory.for_each_turn(batch, [&](const Turn& turn) {
      args.batch = turn.images;
      for (std::size_t s = turn.begin; s < turn.end; ++s) {
        const Step& step = plan.steps[s];
        for (std::size_t i = 0; i < step.in.size(); ++i) args.in[i] = address(step.in[i], turn);
        args.out = address(step.out, turn);
        const double began = begin ? since() : 0;
        run_step(session, step, args, plan.scratch_bytes);
        if (!begin) continue;
        if (turn.first == 0) begin[s] = end[s] = began;
        end[s] += since() - began;
      }
    });
  }
  for (const MemoryPlan::Copy& c : memory.copies) {
    const std::int64_t floats = batch * memory.place[c.from].floats;
    std::memcpy(out[c.output], address(c.from, Turn{}), static_cast<std::size_t>(floats) * sizeof(float));
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
  impl->plan = make_plan(graph, context);
  for (const Step& step : impl->plan.steps) impl->infos.push_back(step.info);
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
  return impl_->plan.arena_bytes(batch);
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
