#include "graph/shape.h"

namespace sn {
namespace {

void check_dims(const std::string& who, const Shape& shape, std::size_t first) {
  if (shape.size() > kMaxRank)
    fail(ErrorCode::Shape, who, ": rank ", shape.size(), " is more than the ", kMaxRank, " axes supported");
  std::int64_t count = 1;
  for (std::size_t i = first; i < shape.size(); ++i) {
    if (shape[i] < 1)
      fail(ErrorCode::Shape, who, ": axis ", i, " of shape ", to_string(shape), " is ", shape[i],
           "; dimensions must be at least 1");
    if (shape[i] > (kMaxElements - 1) / count)
      fail(ErrorCode::Shape, who, ": shape ", to_string(shape), " has 2^40 elements or more");
    count *= shape[i];
  }
}

// x[N,C,...] keeps its shape; each parameter is [C] (a PReLU slope may be [1]).
Shape per_channel_shape(const Shapes& s) {
  const Shape& x = s.in(0);
  if (x.size() < 2) s.reject("expected an input [N, C, ...], got", s.named(0));
  const char* const roles[] = {"", s.node.op == Op::PRelu ? "slope" : "gamma", "beta", "mean", "var"};
  if (s.node.op == Op::PRelu && s.in(1) == Shape{1}) return x;
  for (std::size_t i = 1; i < s.node.inputs.size(); ++i) s.expect(i, roles[i], {x[1]});
  return x;
}

Shape channel_shuffle_shape(const Shapes& s) {
  const Shape& x = s.in(0);
  const std::int64_t groups = s.node.i("groups");
  if (x.size() < 2) s.reject("expected an input [N, C, ...], got", s.named(0));
  if (groups < 1 || x[1] % groups != 0) s.reject("groups=", groups, " must divide the channels of", s.named(0));
  return x;
}

Shape dispatch(const Shapes& s) {
  switch (s.node.op) {
    case Op::Conv:
      return conv_shape(s);
    case Op::ConvTranspose:
      return conv_transpose_shape(s);
    case Op::Linear:
      return linear_shape(s);
    case Op::BatchNorm:
    case Op::PRelu:
      return per_channel_shape(s);
    case Op::Softmax:
      s.axis();
      return s.in(0);
    case Op::Activation:
    case Op::Identity:
      return s.in(0);
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Div:
      return broadcast_shape(s);
    case Op::MaxPool:
    case Op::AvgPool:
      return pool_shape(s);
    case Op::AdaptiveAvgPool:
    case Op::AdaptiveMaxPool:
      return adaptive_pool_shape(s);
    case Op::Mean:
      return mean_shape(s);
    case Op::Concat:
      return concat_shape(s);
    case Op::Slice:
      return slice_shape(s);
    case Op::Pad:
      return pad_shape(s);
    case Op::Reshape:
      return reshape_shape(s);
    case Op::Transpose:
      return transpose_shape(s);
    case Op::ChannelShuffle:
      return channel_shuffle_shape(s);
    case Op::Resize:
      return resize_shape(s);
    case Op::kCount:
      break;
  }
  fail(ErrorCode::Internal, label(s.node), ": no shape rule");
}

}  // namespace

void check_activation_shape(const std::string& who, const Shape& shape) {
  if (shape.empty() || shape[0] != kBatch)
    fail(ErrorCode::Shape, who, ": axis 0 must be the batch (-1, or None in Python), got shape ", to_string(shape));
  check_dims(who, shape, 1);
}

void check_constant_shape(const std::string& who, const Shape& shape) {
  check_dims(who, shape, 0);
}

std::size_t Shapes::spatial_rank() const {
  const std::size_t rank = in(0).size();
  if (rank != 3 && rank != 4)
    reject("expected an input [N, C, W] or [N, C, H, W] (one or two spatial axes), got", named(0));
  for (std::size_t i = 1; i < rank; ++i)
    if (in(0)[i] > kMaxExtent) reject("axis ", i, " of the input", named(0), " is more than 2^30");
  return rank - 2;
}

const std::vector<std::int64_t>& Shapes::ints(const char* attr, std::size_t count, std::int64_t lowest,
                                              std::int64_t highest) const {
  const std::vector<std::int64_t>& list = node.ints(attr);
  if (list.size() != count)
    reject(attr, " must hold ", count, " integers for the input", named(0), ", got ", to_string(list));
  for (const std::int64_t v : list)
    if (v < lowest || v > highest) reject(attr, " must hold integers from ", lowest, " to ", highest, ", got ", v);
  return list;
}

std::size_t Shapes::axis(std::int64_t lowest) const {
  const std::int64_t a = node.i("axis"), rank = static_cast<std::int64_t>(in(0).size());
  if (a < lowest || a >= rank)
    reject("axis must be from ", lowest, " to ", rank - 1, " for the input", named(0), " (axis 0 is the batch), got ",
           a);
  return static_cast<std::size_t>(a);
}

void Shapes::expect(std::size_t i, const char* role, const Shape& want) const {
  if (has(i) && in(i) != want) reject("expected ", role, " of shape ", to_string(want), ", got", named(i));
}

Shape infer_shape(const Graph& graph, const Node& node) {
  check_node(graph, node);
  for (const ValueId v : node.inputs) {
    if (v == kNoValue) continue;
    const Value& value = graph.values[static_cast<std::size_t>(v)];
    const std::string who = label(node) + ": input '" + value.name + "'";
    value.is_constant() ? check_constant_shape(who, value.shape) : check_activation_shape(who, value.shape);
  }
  Shape shape = dispatch(Shapes{graph, node});
  check_activation_shape(label(node) + ": output", shape);
  return shape;
}

}  // namespace sn
