// Where each activation of a plan lives: a caller's buffer, or an offset in the arena.
#pragma once

#include <cstddef>
#include <vector>

#include "plan/step.h"

namespace sn {

struct Place {
  enum Kind { none, input, output, arena } kind = none;
  std::size_t index = 0;   // which input or output
  std::size_t offset = 0;  // bytes into the arena for a batch of one; a batch of n lives at n * offset
};

struct MemoryPlan {
  std::vector<Place> place;     // by value
  std::size_t arena_bytes = 0;  // for a batch of one
  struct Copy {
    ValueId from;
    std::size_t output;
  };
  std::vector<Copy> copies;  // outputs that share their memory with an input or another output
};

// `alias[v]`: the value whose memory v is (v itself but for reshapes). Lifetimes come from the order of the steps.
MemoryPlan plan_memory(const Graph& graph, const std::vector<Step>& steps, const std::vector<ValueId>& alias);

}  // namespace sn
