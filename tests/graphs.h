// Graphs that several C++ tests build on. Weights are seeded random, never constant.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace graphs {

using namespace sn;
using Ints = std::vector<std::int64_t>;

inline std::vector<float> noise(std::int64_t n) {
  std::mt19937 random(7);
  std::vector<float> data(static_cast<std::size_t>(n));
  for (float& v : data) v = static_cast<float>(random()) / 4294967296.0f - 0.5f;
  return data;
}

inline ValueId constant(Graph& g, const std::string& name, const Shape& shape) {
  return g.add_constant(name, shape, noise(Value{name, shape, nullptr}.size()));
}

inline Attrs conv_attrs(Ints stride, Ints padding, Ints dilation, std::int64_t groups = 1) {
  return {{"stride", stride}, {"padding", padding}, {"dilation", dilation}, {"groups", groups}};
}

// x[N,4,8,8] -> conv 3x3 -> relu -> + x -> out
inline Graph small_graph() {
  Graph g;
  const ValueId x = g.add_input("x", {kBatch, 4, 8, 8});
  const ValueId w = constant(g, "w", {4, 4, 3, 3}), b = constant(g, "b", {4});
  const ValueId y = g.add_node(Op::Conv, {x, w, b}, conv_attrs({1, 1}, {1, 1, 1, 1}, {1, 1}), "conv");
  const ValueId r = g.add_node(Op::Activation, {y}, {{"act", "relu"}}, "relu");
  g.set_output(g.add_node(Op::Add, {r, x}, {}, "out"));
  return g;
}

}  // namespace graphs
