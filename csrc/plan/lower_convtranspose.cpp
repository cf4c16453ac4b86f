// Transposed convolution -> its kernel: sorts the nonzero weights by output channel and phase, sizes the panel.
#include <algorithm>
#include <limits>

#include "base/buffer.h"
#include "graph/ops.h"
#include "kernels/convtranspose/convtranspose.h"
#include "plan/lower.h"

namespace sn {
namespace {

constexpr std::int64_t kPanelFloats = 32768;   // 128 KB: a part of the smallest L2 in use
constexpr std::int64_t kChannelsPerTask = 32;  // enough work for a copied panel

}  // namespace

Step lower_convtranspose(const LowerContext& context, const Node& node) {
  const Planes in = planes_of(input_of(context, node, 0).shape), out = planes_of(output_of(context, node).shape);
  const Value& weight = input_of(context, node, 1);
  const bool two = weight.shape.size() == 4;
  const Pair stride = pair_of(node.ints("stride"), 1), dilation = pair_of(node.ints("dilation"), 1);
  const auto& padding = node.ints("padding");
  const std::int64_t kh = two ? weight.shape[2] : 1, kw = weight.shape.back(), taps = kh * kw;

  auto owned = std::make_shared<Owned<ConvTransposeParams>>();
  ConvTransposeParams& p = owned->params;
  p.groups = node.i("groups");
  p.cg = in.c / p.groups, p.mg = out.c / p.groups;
  p.ih = in.h, p.iw = in.w, p.oh = out.h, p.ow = out.w;
  p.sh = stride.h, p.sw = stride.w;
  p.top = two ? padding[0] : 0, p.left = padding[two ? 1 : 0];
  p.q_first = p.top / p.sh, p.q_rows = (p.oh - 1 + p.top) / p.sh - p.q_first + 1;
  p.qx_first = p.left / p.sw, p.qx_cols = (p.ow - 1 + p.left) / p.sw - p.qx_first + 1;
  p.above = (kh - 1) * dilation.h / p.sh, p.before = (kw - 1) * dilation.w / p.sw;
  p.pitch = p.qx_cols + p.before;
  const std::int64_t fit = kPanelFloats / (p.cg * p.pitch) - p.above;
  const std::int64_t least = (64 + p.pitch - 1) / p.pitch;  // positions for a tile or two
  const std::int64_t most = std::min(std::max(fit, least), p.q_rows);
  p.blocks = (p.q_rows + most - 1) / most;
  p.block_rows = (p.q_rows + p.blocks - 1) / p.blocks;
  p.blocks = (p.q_rows + p.block_rows - 1) / p.block_rows;
  p.plane = (p.block_rows + p.above) * p.pitch;
  p.channels_per_task = std::min(p.mg, kChannelsPerTask);
  p.channel_tasks = (p.mg + p.channels_per_task - 1) / p.channels_per_task;
  if (p.cg * p.plane > std::numeric_limits<std::int32_t>::max()) {
    fail(ErrorCode::UnsupportedOp, label(node), ": rows of ", p.pitch, " columns from ", p.cg,
         " channels exceed 2^31 floats");
  }

  const float* w = weight.data.get();
  std::vector<std::int32_t> start{0}, offset;
  std::vector<float> value;
  for (std::int64_t m = 0; m < out.c; ++m) {
    for (std::int64_t ry = 0; ry < p.sh; ++ry) {
      for (std::int64_t rx = 0; rx < p.sw; ++rx) {
        for (std::int64_t c = 0; c < p.cg; ++c) {
          const float* kernel = w + ((m / p.mg * p.cg + c) * p.mg + m % p.mg) * taps;
          for (std::int64_t k = 0; k < taps; ++k) {
            const std::int64_t y = k / kw * dilation.h, x = k % kw * dilation.w;
            if (kernel[k] == 0 || y % p.sh != ry || x % p.sw != rx) continue;
            value.push_back(kernel[k]);
            offset.push_back(
                static_cast<std::int32_t>(c * p.plane + (p.above - y / p.sh) * p.pitch + p.before - x / p.sw));
          }
        }
        start.push_back(static_cast<std::int32_t>(value.size()));
      }
    }
  }
  const auto nnz = static_cast<std::int64_t>(value.size());
  p.start = owned->keep(std::move(start));
  p.offset = owned->keep(std::move(offset));
  p.value = owned->keep(std::move(value));
  std::vector<float> bias(static_cast<std::size_t>(out.c), 0.0f);
  if (node.has_input(2)) {
    const float* b = input_of(context, node, 2).data.get();
    bias.assign(b, b + out.c);
  }
  p.bias = owned->keep(std::move(bias));
  p.act = epilogue_of(node);

  const std::int64_t floats = p.cg * p.plane + kConvTransposeSlack + p.block_rows * p.pitch + kConvTransposeSlack;
  Step step = make_step(context, node, convtranspose_kernel(ConvTransposeKernel::phases, context.isa),
                        convtranspose_tasks, std::move(owned));
  step.scratch_bytes = align_up(static_cast<std::size_t>(floats) * sizeof(float));
  step.info.weights = weight.size();
  step.info.nnz = nnz;
  step.info.macs = static_cast<double>(weight.size()) * static_cast<double>(in.h * in.w);
  step.info.useful_macs = static_cast<double>(nnz) * static_cast<double>(in.h * in.w);
  return step;
}

}  // namespace sn
