// Shrinks a network to the channels that matter. A filter of zeros emits one number, act(bias), everywhere; what its
// readers make of that number moves into their bias, or into one channel that stands for all such channels; then
// nobody reads the filter and it goes, with all that hangs on it (see channels.h).
#include "passes/channels.h"
#include "passes/rules.h"

namespace sn {

bool remove_dead_channels(Graph& graph) {
  for (bool changed = false;; changed = true) {
    const Channels channels(graph);
    if (fold_constant_channels(graph, channels, constant_channels(graph, channels)))
      graph.compact();
    else if (!shrink(graph, channels, live_channels(graph, channels)))
      return changed;
  }
}

}  // namespace sn
