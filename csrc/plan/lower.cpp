#include "plan/lower.h"

#include "graph/ops.h"

namespace sn {
namespace {

LowerFn function_of(Op op) {
  switch (op) {
    case Op::Conv:
      return lower_conv;
    case Op::ConvTranspose:
      return lower_convtranspose;
    case Op::Linear:
      return lower_linear;
    case Op::BatchNorm:
      return lower_batchnorm;
    case Op::Activation:
      return lower_activation;
    case Op::PRelu:
      return lower_prelu;
    case Op::Softmax:
      return lower_softmax;
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Div:
      return lower_binary;
    case Op::MaxPool:
    case Op::AvgPool:
      return lower_window_pool;
    case Op::AdaptiveAvgPool:
    case Op::AdaptiveMaxPool:
      return lower_adaptive_pool;
    case Op::Mean:
      return lower_mean;
    case Op::Concat:
      return lower_concat;
    case Op::Slice:
      return lower_slice;
    case Op::Pad:
      return lower_pad;
    case Op::Transpose:
      return lower_transpose;
    case Op::ChannelShuffle:
      return lower_channel_shuffle;
    case Op::Resize:
      return lower_resize;
    case Op::Reshape:
    case Op::Identity:
    case Op::kCount:
      break;
  }
  return nullptr;
}

}  // namespace

Step lower(const LowerContext& context, const Node& node) {
  const LowerFn fn = function_of(node.op);
  if (!fn) fail(ErrorCode::Internal, label(node), ": has no kernel; the plan should have aliased its value");
  return fn(context, node);
}

Step make_step(const LowerContext& context, const Node& node, const KernelEntry* kernel, TasksFn tasks) {
  if (!kernel) fail(ErrorCode::Internal, label(node), ": no kernel for ", isa_name(context.isa), " in this binary");
  Step step;
  step.fn = kernel->fn;
  step.tasks = tasks;
  step.out = node.output;
  for (const ValueId v : node.inputs) {
    if (v != kNoValue && !value_of(context, v).is_constant()) step.in.push_back(v);
  }
  if (step.in.size() > static_cast<std::size_t>(kMaxStepInputs)) {
    fail(ErrorCode::UnsupportedOp, label(node), ": expected at most ", kMaxStepInputs, " inputs, got ", step.in.size(),
         "; join them in groups");
  }
  step.info.kernel = kernel->name;
  step.info.why = "only kernel";
  return step;
}

Epilogue epilogue_of(const Node& node) {
  const std::string& name = node.str("act");
  const auto find = [&] {
#define SN_ACT(act) \
  if (name == #act) return Act::act;
    SN_EACH_ACT(SN_ACT)
#undef SN_ACT
    fail(ErrorCode::UnsupportedOp, label(node), ": unknown activation '", name, "'");
  };
  return {find(), static_cast<float>(node.f("act_a")), static_cast<float>(node.f("act_b"))};
}

bool is_distant(const Value& input) {
  return static_cast<std::size_t>(input.size()) * sizeof(float) > 4 * l2_bytes();
}

Planes planes_of(const Shape& shape) {
  return {shape[1], shape.size() == 4 ? shape[2] : 1, shape.back()};
}

Pair pair_of(const std::vector<std::int64_t>& attr, std::int64_t absent) {
  return {attr.size() == 2 ? attr[0] : absent, attr.back()};
}

}  // namespace sn
