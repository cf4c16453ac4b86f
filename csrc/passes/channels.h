// Channels of every activation of a graph: where they lie, which belong together, which are constant, which count.
//
// An activation's channels are the indices of one axis: 1 for images, the last for Linear, whatever that becomes after
// a transpose or a reshape. Removing one physically is possible where every op that touches it goes along: ReLU must
// drop the channel from its input and its output alike, a flatten drops a whole run of features. Those are couplings.
#pragma once

#include <utility>
#include <vector>

#include "graph/graph.h"

namespace sn {

class Channels {
 public:
  explicit Channels(const Graph& graph);

  // The axis, or 0 for an activation of rank 1, which has one channel that stays.
  std::size_t axis(ValueId v) const { return axis_[v]; }
  int count(ValueId v) const { return count_[v]; }
  int id(ValueId v, int channel) const { return base_[v] + channel; }  // over the whole graph
  int total() const { return total_; }
  bool is_pinned(ValueId v) const { return pinned_[v]; }  // all its channels stay, for want of a better understanding

  // Channel `second` of the node's output holds what channel `first` of its input i holds, put through the op; both
  // go or neither. Empty for the channels that Conv, ConvTranspose and Linear mix, and where nothing can be said.
  using Pairs = std::vector<std::pair<int, int>>;
  const Pairs& pairs(int node, std::size_t i) const { return pairs_[node][i]; }
  // Ids of channels that go together for any other reason.
  const Pairs& bonds() const { return bonds_; }

 private:
  void place(const Graph& graph, ValueId v, std::size_t axis);
  void pin_all(const Graph& graph, const Node& node);
  void couple(int node, std::size_t i, int x_begin, int y_begin, int n);
  void visit(const Graph& graph, int node);
  void visit_weight(const Graph& graph, int node);
  void visit_arithmetic(const Graph& graph, int node);
  void visit_concat(const Graph& graph, int node);
  void visit_slice_or_pad(const Graph& graph, int node);
  void visit_reshape(const Graph& graph, int node);

  std::vector<std::size_t> axis_;
  std::vector<int> count_, base_;
  std::vector<char> pinned_;
  std::vector<std::vector<Pairs>> pairs_;
  Pairs bonds_;
  int total_ = 0;
};

// By channel id: the number that every element of the channel equals, whatever the input; NaN if there is none.
std::vector<double> constant_channels(const Graph& graph, const Channels& channels);

// Moves what constant channels contribute out of the weights that read them, wherever that is exact:
// into the bias, or, where zero padding forbids it, into the weight of one constant channel that stands for all of
// them. Operands that are constant altogether become constants. Weights that only read zeros are left alone unless
// `zeros`: most go anyway with the channels. True if anything changed; shapes did not.
bool fold_constant_channels(Graph& graph, const Channels& channels, const std::vector<double>& constant, bool zeros);

// By channel id: whether it stays. At least one channel of each activation does.
std::vector<char> live_channels(const Graph& graph, const Channels& channels, const std::vector<double>& constant);

// Removes the other channels. True if there were any.
bool shrink(Graph& graph, const Channels& channels, const std::vector<char>& live);

}  // namespace sn
