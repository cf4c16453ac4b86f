// Activations, arithmetic with broadcasting, PReLU and BatchNorm -> element-wise kernels.
#include <algorithm>
#include <cmath>

#include "kernels/eltwise/eltwise.h"
#include "plan/lower.h"

namespace sn {
namespace {

// One operand as the kernel reads it: per sample, right-aligned with the output.
struct Operand {
  Shape shape;                  // without the batch axis
  const float* data = nullptr;  // null: an activation
};

std::vector<std::int64_t> broadcast_strides(const Shape& shape, std::size_t rank) {
  std::vector<std::int64_t> strides(rank, 0);
  std::int64_t stride = 1;
  for (std::size_t i = 0; i < std::min(rank, shape.size()); ++i) {
    const std::int64_t d = shape[shape.size() - 1 - i];
    if (d != 1) strides[rank - 1 - i] = stride;
    stride *= d;
  }
  return strides;
}

// Axes of size 1 go; neighbours along which both operands advance as one long axis join. The last axis left is the row.
void set_layout(BinaryParams& p, const Shape& out, const Operand& a, const Operand& b) {
  const auto sa = broadcast_strides(a.shape, out.size()), sb = broadcast_strides(b.shape, out.size());
  struct Axis {
    std::int64_t size, a, b;
  };
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == 1) continue;
    if (!axes.empty() && axes.back().a == sa[i] * out[i] && axes.back().b == sb[i] * out[i]) {
      axes.back() = {axes.back().size * out[i], sa[i], sb[i]};
    } else {
      axes.push_back({out[i], sa[i], sb[i]});
    }
  }
  if (axes.empty()) axes.push_back({1, 1, 1});
  const Axis last = axes.back();
  axes.pop_back();
  p.row = last.size;
  p.a_scalar = last.a == 0, p.b_scalar = last.b == 0;
  p.rows = 1;
  p.rank = static_cast<int>(axes.size());
  for (std::size_t i = 0; i < axes.size(); ++i) {
    p.dims[i] = axes[i].size, p.a_strides[i] = axes[i].a, p.b_strides[i] = axes[i].b;
    p.rows *= axes[i].size;
  }
  p.rows_per_task = std::max<std::int64_t>(1, kEltwiseGrain / p.row);
  p.tasks_per_row = (p.row + kEltwiseGrain - 1) / kEltwiseGrain;
}

std::int64_t count(const Shape& shape) {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return n;
}

Shape per_sample(const Shape& shape) {
  return Shape(shape.begin() + 1, shape.end());
}

Step lower_operands(const LowerContext& context, const Node& node, EltwiseKernel variant, Operand a, Operand b,
                    const std::vector<float>* c, Epilogue act) {
  auto owned = std::make_shared<Owned<BinaryParams>>();
  BinaryParams& p = owned->params;
  set_layout(p, per_sample(output_of(context, node).shape), a, b);
  if (a.data) {
    p.a = owned->keep(std::vector<float>(a.data, a.data + count(a.shape)));
  } else {
    p.a_batch = count(a.shape);
  }
  if (b.data) {
    std::vector<float> both(b.data, b.data + count(b.shape));
    if (c) both.insert(both.end(), c->begin(), c->end());
    p.b = owned->keep(std::move(both));
    if (c) p.c = p.b + count(b.shape);
  } else {
    p.b_batch = count(b.shape);
  }
  p.act = act;
  Step step = make_step(context, node, eltwise_kernel(variant, context.isa), binary_tasks, std::move(owned));
  step.overwrites = ~0u;
  return step;
}

// A vector over axis 1 of an activation of this shape, or one number for all.
Shape channel_shape(const Shape& x, std::int64_t channels) {
  Shape shape(x.size() - 1, 1);
  if (!shape.empty()) shape[0] = channels;
  return shape;
}

}  // namespace

Step lower_activation(const LowerContext& context, const Node& node) {
  auto owned = std::make_shared<Owned<ActParams>>();
  owned->params = {input_of(context, node, 0).size(), epilogue_of(node)};
  Step step = make_step(context, node, eltwise_kernel(EltwiseKernel::act, context.isa), act_tasks, std::move(owned));
  step.overwrites = ~0u;
  return step;
}

Step lower_binary(const LowerContext& context, const Node& node) {
  const auto operand = [&](std::size_t i) -> Operand {
    const Value& v = input_of(context, node, i);
    const std::size_t rank = output_of(context, node).shape.size();
    // Only an operand of full rank has a batch axis; a constant's is 1.
    return {v.shape.size() == rank ? per_sample(v.shape) : v.shape, v.data.get()};
  };
  const EltwiseKernel variant = node.op == Op::Add   ? EltwiseKernel::add
                                : node.op == Op::Sub ? EltwiseKernel::sub
                                : node.op == Op::Mul ? EltwiseKernel::mul
                                                     : EltwiseKernel::div;
  return lower_operands(context, node, variant, operand(0), operand(1), nullptr, epilogue_of(node));
}

Step lower_prelu(const LowerContext& context, const Node& node) {
  const Shape& x = input_of(context, node, 0).shape;
  const Value& slope = input_of(context, node, 1);
  return lower_operands(context, node, EltwiseKernel::prelu, {per_sample(x), nullptr},
                        {channel_shape(x, slope.size()), slope.data.get()}, nullptr, {});
}

// (x - mean) / sqrt(var + eps) * gamma + beta = x * scale + shift, the two computed in fp64.
Step lower_batchnorm(const LowerContext& context, const Node& node) {
  const Shape& x = input_of(context, node, 0).shape;
  const auto data = [&](std::size_t i) { return input_of(context, node, i).data.get(); };
  const float *gamma = data(1), *beta = data(2), *mean = data(3), *var = data(4);
  const std::int64_t channels = input_of(context, node, 1).size();
  std::vector<float> scale, shift;
  for (std::int64_t c = 0; c < channels; ++c) {
    const double s = gamma[c] / std::sqrt(static_cast<double>(var[c]) + node.f("eps"));
    scale.push_back(static_cast<float>(s));
    shift.push_back(static_cast<float>(beta[c] - mean[c] * s));
  }
  return lower_operands(context, node, EltwiseKernel::affine, {per_sample(x), nullptr},
                        {channel_shape(x, channels), scale.data()}, &shift, epilogue_of(node));
}

}  // namespace sn
