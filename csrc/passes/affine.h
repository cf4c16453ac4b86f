// Ops that scale and shift every channel by constants.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace sn {

// One number per index along `axis` of an activation of shape `shape` that the constant broadcasts against; NaN where
// the constant differs within that index. Empty if it has more axes than the activation.
std::vector<double> channel_values(const Value& constant, const Shape& shape, std::size_t axis);

// y = scale[c] * x + shift[c] along one axis; the node's trailing activation, if any, comes after.
struct Affine {
  ValueId x = kNoValue;
  std::vector<double> scale, shift;
};

// Matches BatchNorm, and Add, Sub, Mul, Div with a constant that does not enlarge x. All numbers are finite floats.
bool match_affine(const Graph& graph, const Node& node, std::size_t axis, Affine* affine);

// A BatchNorm node without an activation in place of `node` that does what `affine` says.
void replace_by_affine(Graph& graph, int node, const Affine& affine);

bool all_finite(const std::vector<double>& numbers);  // as floats

}  // namespace sn
