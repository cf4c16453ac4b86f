// A network for this machine: steps in order, and where their activations lie. Immutable once made.
#pragma once

#include <vector>

#include "plan/memory.h"
#include "plan/step.h"

namespace sn {

struct Plan {
  std::vector<Step> steps;
  std::size_t scratch_bytes = 0;  // a thread
  MemoryPlan whole;               // one stage: for one image, or as many as the caches hold
  MemoryPlan staged;              // for more

  const MemoryPlan& memory(std::int64_t batch) const { return batch <= whole.stages[0].images ? whole : staged; }
  std::size_t arena_bytes(std::int64_t batch) const;  // never less than for a smaller batch
};

// Lowers every node of context.graph, which is `graph`, for batches of context.batch. Drops each constant after the
// last node that reads it. Throws if context.kernel is forced and no node can use it.
Plan make_plan(Graph& graph, LowerContext context);

}  // namespace sn
