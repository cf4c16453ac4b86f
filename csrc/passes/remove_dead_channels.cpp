// Shrinks a network to the channels that matter. A filter of zeros emits one number, act(bias), everywhere; what its
// readers make of that number moves into their bias, or into one channel that stands for all such channels; then
// nobody reads the filter and it goes, with all that hangs on it (see channels.h).
#include "passes/channels.h"
#include "passes/rules.h"

namespace sn {

bool remove_dead_channels(Graph& graph) {
  for (bool changed = false;; changed = true) {
    const Channels channels(graph);
    const std::vector<double> constant = constant_channels(graph, channels);
    if (fold_constant_channels(graph, channels, constant, false)) continue;
    if (shrink(graph, channels, live_channels(graph, channels, constant))) continue;
    if (!fold_constant_channels(graph, channels, constant, true)) return changed;
  }
}

}  // namespace sn
