// Node -> Step: one function an op, and what they share.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/table.h"
#include "plan/step.h"

namespace sn {

// By the op's own function. Reshape and Identity have none: the plan aliases their values.
Step lower(const LowerContext& context, const Node& node);

Step lower_conv(const LowerContext& context, const Node& node);
// Whether lower_conv of `node` can do `addend`, a convolution whose output is its residual, as well.
bool can_add(const Graph& graph, const Node& node, const Node& addend);
Step lower_depthwise(const LowerContext& context, const Node& node);  // Conv with groups = input channels
Step lower_convtranspose(const LowerContext& context, const Node& node);
Step lower_linear(const LowerContext& context, const Node& node);
Step lower_activation(const LowerContext& context, const Node& node);
Step lower_binary(const LowerContext& context, const Node& node);  // Add, Sub, Mul, Div
Step lower_prelu(const LowerContext& context, const Node& node);
Step lower_batchnorm(const LowerContext& context, const Node& node);
Step lower_softmax(const LowerContext& context, const Node& node);
Step lower_window_pool(const LowerContext& context, const Node& node);    // MaxPool, AvgPool
Step lower_adaptive_pool(const LowerContext& context, const Node& node);  // AdaptiveAvgPool, AdaptiveMaxPool
Step lower_mean(const LowerContext& context, const Node& node);
Step lower_concat(const LowerContext& context, const Node& node);
Step lower_slice(const LowerContext& context, const Node& node);
Step lower_pad(const LowerContext& context, const Node& node);
Step lower_transpose(const LowerContext& context, const Node& node);
Step lower_channel_shuffle(const LowerContext& context, const Node& node);
Step lower_resize(const LowerContext& context, const Node& node);

inline const Value& value_of(const LowerContext& context, ValueId id) {
  return context.graph.values[static_cast<std::size_t>(id)];
}
inline const Value& input_of(const LowerContext& context, const Node& node, std::size_t i) {
  return value_of(context, node.inputs[i]);
}
inline const Value& output_of(const LowerContext& context, const Node& node) {
  return value_of(context, node.output);
}

// Whether a kernel should fetch its input ahead: of several times L2, written by the step before, little is left there.
// An input of 3 L2 reads 14 % slower so, one of 12 L2 three times as fast (max pooling, 64 planes of 112x112 and
// 224x224, Zen 4).
bool is_distant(const Value& input);

// A feature map [N, C, H, W], or [N, C, W] with H = 1.
struct Planes {
  std::int64_t c, h, w;
};
Planes planes_of(const Shape& shape);

// The spatial axes of an attribute: {value for H, value for W}, H being `absent` in one dimension.
struct Pair {
  std::int64_t h, w;
};
Pair pair_of(const std::vector<std::int64_t>& attr, std::int64_t absent);

// A kernel's parameter struct and the arrays that it points to.
template <class Params>
struct Owned {
  Params params{};
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<std::int32_t>> ints;

  const float* keep(std::vector<float> v) { return floats.emplace_back(std::move(v)).data(); }
  const std::int32_t* keep(std::vector<std::int32_t> v) { return ints.emplace_back(std::move(v)).data(); }
  std::size_t bytes() const {
    std::size_t n = 0;
    for (const auto& v : floats) n += v.size() * sizeof(float);
    for (const auto& v : ints) n += v.size() * sizeof(std::int32_t);
    return n;
  }
};

// A step of `kernel` over the activations among the node's inputs.
Step make_step(const LowerContext& context, const Node& node, const KernelEntry* kernel, TasksFn tasks);

template <class Params>
Step make_step(const LowerContext& context, const Node& node, const KernelEntry* kernel, TasksFn tasks,
               std::shared_ptr<Owned<Params>> owned) {
  Step step = make_step(context, node, kernel, tasks);
  step.info.packed_bytes = owned->bytes();
  const Params* params = &owned->params;
  step.params = std::shared_ptr<const void>(std::move(owned), params);
  return step;
}

}  // namespace sn
