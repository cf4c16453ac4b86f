// Ops that scale and shift every channel by constants, and weights that such scales fold into.
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

// A BatchNorm node in place of `node` that does what `affine` says.
void replace_by_affine(Graph& graph, int node, const Affine& affine);

// The weight of a Conv, ConvTranspose or Linear as a block-diagonal matrix of kernels: output m of M reads the
// in_per_group() inputs of its group, each through `taps` numbers.
struct Kernels {
  Kernels(const Graph& graph, const Node& node);

  std::int64_t M, C, groups, taps;
  bool transposed;  // the layout of ConvTranspose
  const float* data;

  std::int64_t in_per_group() const { return C / groups; }
  std::int64_t out_per_group() const { return M / groups; }
  // Input channel of output m's j-th kernel, and where that kernel lies.
  std::int64_t input(std::int64_t m, std::int64_t j) const { return m / out_per_group() * in_per_group() + j; }
  std::int64_t offset(std::int64_t m, std::int64_t j) const {
    const std::int64_t row = transposed ? input(m, j) : m, column = transposed ? m % out_per_group() : j;
    return (row * (transposed ? out_per_group() : in_per_group()) + column) * taps;
  }
  bool is_zero(std::int64_t m, std::int64_t j) const;
  double sum(std::int64_t m, std::int64_t j) const;
  std::int64_t count() const { return M * in_per_group() * taps; }
};

bool has_kernels(Op op);                                        // Conv, ConvTranspose, Linear
std::size_t output_axis(const Graph& graph, const Node& node);  // of a node that has kernels: where its M channels lie
bool reads_border(const Node& node);  // some outputs see less than the whole kernel's worth of input

std::vector<double> bias_of(const Graph& graph, const Node& node);  // M numbers, zeros if absent
bool all_finite(const std::vector<double>& numbers);                // as floats
// Of a node that has kernels; none if all its numbers are zero.
void set_bias(Graph& graph, int node, const std::vector<double>& bias);

}  // namespace sn
