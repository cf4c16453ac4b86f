// The passes, one a file; passes.cpp puts them in order.
#pragma once

#include "graph/graph.h"

namespace sn {

bool fold_constants(Graph& graph);
bool remove_noops(Graph& graph);
bool canonicalize(Graph& graph);
bool fold_batchnorm(Graph& graph);
bool remove_dead_channels(Graph& graph);
bool fuse_activation(Graph& graph);
bool fuse_residual(Graph& graph);

}  // namespace sn
