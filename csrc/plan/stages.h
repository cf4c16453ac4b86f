// How a batch goes through a network whose activations leave the caches.
//
// All images at once, every activation is written to memory and read again (ResNet-50, batch 8: 0.82 of batch 1's
// throughput). One by one, each brings all weights, and the last layers' activations take the place of the first ones'.
// So the network is cut into stages where what is live shrinks: each runs as many images at a time as fit, and all of
// them before the next stage begins. What passes from stage to stage is kept for all images, the rest for one turn; a
// cut waits for a place where that is half of the caches at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace sn {

struct Stage {
  std::size_t end;          // behind its last node or step; it begins where the one before ends
  std::int64_t images = 1;  // at a time
};

// Of nodes. A stage runs at least as many images at a time as the one before, and a multiple of `threads`: images of
// their own, in their own caches, keep threads busier than a share of one (two threads, batch 8, EPYC: MobileNets 4 %,
// ResNet-50 at 90 % 25 %). `alias[v]`: the value whose memory v is. `caches`: bytes of all threads' L2.
std::vector<Stage> plan_stages(const Graph& graph, const std::vector<ValueId>& alias, std::size_t caches, int threads);

}  // namespace sn
