// Graph -> Graph rewrites that hold on every machine. Each is one file and can be switched off by name; each
// leaves a graph that verifies and computes the same function.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace sn {

struct Pass {
  const char* name;
  const char* what;           // one line, for the CLI and explain()
  bool (*run)(Graph& graph);  // true if it changed anything
};

const std::vector<Pass>& all_passes();  // in the order they run

// Runs the list but for `disabled`; throws InvalidArgument on an unknown name. Verifies after each pass in debug
// builds.
void run_passes(Graph& graph, const std::vector<std::string>& disabled = {});

}  // namespace sn
