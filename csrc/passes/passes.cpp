#include "passes/passes.h"

#include <algorithm>

#include "base/error.h"
#include "passes/rules.h"

namespace sn {

const std::vector<Pass>& all_passes() {
  static const std::vector<Pass> passes = {
      {"remove_noops", "drops what changes nothing: identities, pads by nothing, pairs of transposes", remove_noops},
      {"canonicalize", "spells channel shuffles, global pooling, silu and hard_swish as one op each", canonicalize},
      {"fold_constants", "merges chains of per-channel scales and shifts; drops x * 1 and x + 0", fold_constants},
      {"fold_batchnorm", "folds scales and shifts into the weights before or after them", fold_batchnorm},
      {"remove_dead_channels", "shrinks layers by channels that are constant or that nobody reads",
       remove_dead_channels},
      {"fuse_activation", "lets the op before an activation apply it", fuse_activation},
      {"fuse_residual", "lets a convolution or linear layer add the residual", fuse_residual},
  };
  return passes;
}

void run_passes(Graph& graph, const std::vector<std::string>& disabled) {
  const auto is_disabled = [&](const char* name) {
    return std::find(disabled.begin(), disabled.end(), name) != disabled.end();
  };
  for (const std::string& name : disabled) {
    std::string known;
    bool found = false;
    for (const Pass& pass : all_passes()) {
      found |= name == pass.name;
      known += std::string(known.empty() ? "" : ", ") + pass.name;
    }
    if (!found) fail(ErrorCode::InvalidArgument, "no pass is named '", name, "'; the passes are ", known);
  }
  // Each change leaves fewer nodes, fewer channels or a simpler op, so this ends; two or three rounds are usual, and
  // the bound only turns an endless loop, which would be a bug, into a graph that is less tidy but right.
  constexpr int kMaxRounds = 16;
  bool changed = true;
  for (int round = 0; changed && round < kMaxRounds; ++round) {
    changed = false;
    for (const Pass& pass : all_passes()) {
      if (is_disabled(pass.name) || !pass.run(graph)) continue;
      changed = true;
#ifndef NDEBUG
      graph.verify();
#endif
    }
  }
}

}  // namespace sn
