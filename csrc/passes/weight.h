// The weight and bias of Conv, ConvTranspose and Linear, seen alike.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "graph/graph.h"

namespace sn {

bool has_weight(Op op);                                         // Conv, ConvTranspose, Linear
std::size_t output_axis(const Graph& graph, const Node& node);  // of such a node: where its M channels lie
bool reads_border(const Node& node);  // some outputs see less than the whole kernel's worth of input

// A block-diagonal matrix of kernels: output m of M reads the `ins` inputs of its group, each through `taps` numbers.
struct Weight {
  Weight(const Graph& graph, const Node& node);

  std::int64_t M, C, groups, taps;
  bool transposed;         // the layout of ConvTranspose
  std::int64_t outs, ins;  // of each group

  void regroup(std::int64_t m, std::int64_t c, std::int64_t g);  // as if it had these sizes; numbers stay

  // Kernel j of an output begins at data + begin + j * step and reads input channel first + j.
  struct Row {
    std::int64_t begin, step, first;
  };
  Row row(std::int64_t m) const {
    const std::int64_t group = m / outs;
    if (transposed) return {(group * ins * outs + m % outs) * taps, outs * taps, group * ins};
    return {m * ins * taps, taps, group * ins};
  }
  float operator[](std::int64_t at) const { return sparse_ ? (*sparse_)[at] : data_[at]; }
  bool is_zero(std::int64_t at) const {
    if (sparse_) return !sparse_->any_nonzero(at, at + taps);
    return std::all_of(data_ + at, data_ + at + taps, [](float v) { return v == 0; });
  }
  bool is_zero() const {
    if (sparse_) return sparse_->count_nonzero() == 0;
    return std::all_of(data_, data_ + count(), [](float v) { return v == 0; });
  }
  double sum(std::int64_t at) const {
    double total = 0;
    for (std::int64_t t = at; t < at + taps; ++t) total += (*this)[t];
    return total;
  }
  std::int64_t count() const { return M * ins * taps; }
  std::vector<float> copy() const;

  // The weight with the kernels of output m multiplied by scale[m] (`by_output`), or those that read input c by
  // scale[c]; in double, rounded once; false if a product overflows. A zero stays zero.
  bool scaled(const std::vector<double>& scale, bool by_output, Value* out) const;

 private:
  std::shared_ptr<const SparseFloats> sparse_;
  std::shared_ptr<const float> owner_;
  const float* data_;
};

std::vector<double> bias_of(const Graph& graph, const Node& node);  // M numbers, zeros if absent
// None if all the numbers are zero. `shared`: another node reads the old one as well.
void set_bias(Graph& graph, int node, bool shared, const std::vector<double>& bias);

}  // namespace sn
