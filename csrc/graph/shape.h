// What the shape rules share. One function a family of ops; infer_shape() (graph.h) checks the node, then picks one.
#pragma once

#include <string>

#include "base/error.h"
#include "graph/graph.h"
#include "graph/ops.h"

namespace sn {

// Throw Shape, beginning with `who`, unless the rank is at most kMaxRank, dimensions are >= 1 and there are fewer than
// kMaxElements elements (per sample).
void check_activation_shape(const std::string& who, const Shape& shape);  // axis 0 must be kBatch
void check_constant_shape(const std::string& who, const Shape& shape);

// Everything about a node but its shapes: a known op, inputs that exist and are constants exactly where they must be,
// attributes that are complete, of the right kind and sensible. Throws Graph or UnsupportedOp. Safe on any node.
void check_node(const Graph& graph, const Node& node);

// Windows and extents beyond this are nonsense; the bound keeps stride * extent + dilation * extent inside int64.
constexpr std::int64_t kMaxExtent = std::int64_t{1} << 30;

// A node that passed check_node, as a shape rule sees it.
struct Shapes {
  const Graph& graph;
  const Node& node;

  bool has(std::size_t i) const { return node.has_input(i); }
  const Value& value(std::size_t i) const { return graph.values[static_cast<std::size_t>(node.inputs[i])]; }
  const Shape& in(std::size_t i) const { return value(i).shape; }
  // " 'conv1.weight' [64, 3, 7, 7]", to be put after the operand's role in a message
  std::string named(std::size_t i) const { return " '" + value(i).name + "' " + to_string(in(i)); }

  template <class... Parts>
  [[noreturn]] void reject(const Parts&... parts) const {
    fail(ErrorCode::Shape, label(node), ": ", parts...);
  }
  // The number of spatial axes of input 0, which must be [N, C, W] or [N, C, H, W].
  std::size_t spatial_rank() const;
  // The attribute, `count` integers in [lowest, highest].
  const std::vector<std::int64_t>& ints(const char* attr, std::size_t count, std::int64_t lowest,
                                        std::int64_t highest = kMaxExtent) const;
  // The attribute, an axis of input 0 in [lowest, rank).
  std::size_t axis(std::int64_t lowest = 1) const;
  // Throws unless input i, if present, has this shape. `role` is what the message calls it.
  void expect(std::size_t i, const char* role, const Shape& want) const;
};

Shape conv_shape(const Shapes& s);
Shape conv_transpose_shape(const Shapes& s);
Shape linear_shape(const Shapes& s);
Shape pool_shape(const Shapes& s);
Shape adaptive_pool_shape(const Shapes& s);
Shape resize_shape(const Shapes& s);
Shape broadcast_shape(const Shapes& s);
Shape mean_shape(const Shapes& s);
Shape concat_shape(const Shapes& s);
Shape slice_shape(const Shapes& s);
Shape pad_shape(const Shapes& s);
Shape reshape_shape(const Shapes& s);
Shape transpose_shape(const Shapes& s);

}  // namespace sn
