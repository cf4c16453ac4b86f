// Compile and run: a Plan (immutable: steps, packed weights, arena offsets) with threads and workspaces.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/threads.h"
#include "graph/graph.h"
#include "plan/step.h"

namespace sn {

struct CompileOptions {
  int threads = 1;            // >= 1
  bool tune = true;           // time candidate kernels per layer, within tune_seconds
  double tune_seconds = 1.0;  // for the whole network
  std::int64_t batch = 1;     // the batch size to choose kernels for; any batch runs
  std::string isa;            // "" = SPARSENET_FORCE_ISA or the best available
  std::string kernel;         // force this kernel wherever it applies (tests, benchmarks); throws if it never does
  bool winograd = true;       // layers may run as Winograd's minimal filtering: faster, less accurate
  bool passes = true;
  std::vector<std::string> disabled_passes;
};

struct TensorInfo {
  std::string name;
  Shape shape;  // shape[0] = kBatch, or the fixed batch
};

class Engine {
 public:
  // Frees each constant that nobody else holds as soon as it is packed: the engine keeps packed weights only.
  // `external`: the host's own pool, used for threads > 1 instead of workers of ours. It must outlive the engine.
  static std::shared_ptr<const Engine> compile(Graph graph, const CompileOptions& options = {},
                                               ExternalPool external = {});
  ~Engine();

  const std::vector<TensorInfo>& inputs() const;
  const std::vector<TensorInfo>& outputs() const;
  const std::vector<StepInfo>& steps() const;
  const CompileOptions& options() const;  // with isa resolved
  std::size_t packed_bytes() const;       // packed weights
  std::size_t arena_bytes(std::int64_t batch) const;

  // Contiguous fp32 buffers of batch * (elements per sample); need not be aligned. May be called from several
  // threads. Allocates nothing once `batch` (or a larger one) has run or was reserved on as many threads.
  // Throws InvalidArgument on batch < 1 or one that is not the graph's fixed batch.
  void run(std::int64_t batch, const float* const* in, float* const* out) const;
  void reserve(std::int64_t batch) const;
  // The same, and the time each step took, in seconds; begin[i], end[i] relative to the call. Both sized steps(). Where
  // a batch takes several turns, begin is the first one's, and end - begin the time in all of them.
  void run_timed(std::int64_t batch, const float* const* in, float* const* out, double* begin, double* end) const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sn
