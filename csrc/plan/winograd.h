// Convolutions as Winograd's minimal filtering: which layers, blocked how, at what cost.
#pragma once

#include <vector>

#include "kernels/winograd/winograd.h"
#include "plan/step.h"

namespace sn {

struct WinogradCandidate {
  WinogradKernel kernel;
  const char* name;
  double cycles;  // the model's, a sample; comparable with choose.h's
};

// Those that can do the node, best first; a forced one alone. Empty for other nodes, and where the context forbids it.
//
// Where Winograd may be chosen: it rounds relative to the largest sums of a tile, not to an output's own, F(4x4) some
// three times as much as F(2x2), F(4x4, 4x4) five times. All stay far below c sqrt(K) eps sum|w x| where sums are long
// (measured: docs/performance.md), so that none is a candidate, but by force, for a layer with a filter that has fewer
// nonzero weights than this, filters of zeros aside.
constexpr std::int64_t winograd_least_terms(WinogradKernel k) {
  return k == WinogradKernel::f2x2 ? 56 : 128;
}
std::vector<WinogradCandidate> winograd_candidates(const LowerContext& context, const Node& node);

Step lower_winograd(const LowerContext& context, const Node& node, WinogradKernel kernel);

// Makes the step pool what it computes as well, before it is transposed and stored, if its kernel can: windows of 2x2
// or 3x3 at stride 2, after none, relu or clip. The step writes the pool's output then.
bool join_max_pool(const LowerContext& context, const Node& node, const Node& pool, WinogradKernel kernel, Step& step);

}  // namespace sn
