// Depthwise convolution -> its kernels: packs weights, lists nonzero taps, lays out the phase planes.
#include <algorithm>
#include <limits>

#include "base/buffer.h"
#include "kernels/depthwise/depthwise.h"
#include "plan/lower.h"

namespace sn {
namespace {

constexpr std::int64_t kBlockFloats = 4096;  // phase planes of a block: 16 KB, and there are two sets of them

// Rows to a block, and the phase planes of a block.
void lay_out(DepthwiseParams& p) {
  const std::int64_t last_read = p.ow - 1 + (p.kw - 1) * p.dw / p.sw, last_written = (p.left + p.iw - 1) / p.sw;
  p.pitch = std::max(last_read, last_written) + 1;
  const std::int64_t halo = (p.kh - 1) * p.dh / p.sh;  // phase rows beyond a block's own
  const std::int64_t fit = kBlockFloats / (p.sh * p.sw * p.pitch) - halo;
  const std::int64_t most = std::clamp<std::int64_t>(fit / 4 * 4, 4, p.oh + 3);
  p.blocks = (p.oh + most - 1) / most;
  p.block_rows = std::min((p.oh + p.blocks - 1) / p.blocks, p.oh);
  p.block_rows = std::min((p.block_rows + 3) / 4 * 4, p.oh);  // tiles are four rows high
  p.blocks = (p.oh + p.block_rows - 1) / p.block_rows;
  p.phase_size = (p.block_rows + halo) * p.pitch;
}

// With few nonzero taps a loop over them is faster for 5x5 windows at stride 1: with 20 % 1.5 times at 28x28, 1.2 at
// 14x14 and level at 7x7 (AVX-512 and AVX2), with 40 % 0.9 to 1.1; not at stride 2, nor for 3x3 windows.
DepthwiseKernel choose(const DepthwiseParams& p, std::int64_t nnz, std::int64_t weights) {
  const bool few = p.kh == 5 && p.sh == 1 && 3 * nnz < weights;
  if (!few && p.kh == p.kw && p.sh == p.sw && p.dh == 1 && p.dw == 1) {
    if (p.kh == 3 && p.sh == 1) return DepthwiseKernel::k3s1;
    if (p.kh == 3 && p.sh == 2) return DepthwiseKernel::k3s2;
    if (p.kh == 5 && p.sh == 1) return DepthwiseKernel::k5s1;
    if (p.kh == 5 && p.sh == 2) return DepthwiseKernel::k5s2;
  }
  return DepthwiseKernel::direct;
}

// AVX2's kernel on CPUs that run 512-bit vectors in halves, where it halves the empty lanes of a row: on a Zen 4 3x3
// layers at 7x7 are 1.1 times as fast, 5x5 ones 1.3. At stride 2 the 16 lanes are eight neighbouring pairs, all of use.
const KernelEntry* kernel_of(const DepthwiseParams& p, DepthwiseKernel variant, Isa isa) {
  const bool fits = runs_in_halves(isa) && p.sw == 1 && p.ow <= 8;
  const KernelEntry* narrow = fits ? depthwise_kernel(variant, Isa::avx2) : nullptr;
  return narrow ? narrow : depthwise_kernel(variant, isa);
}

void set_epilogue(DepthwiseParams& p, Epilogue e) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  p.low = -inf, p.high = inf;
  switch (e.act) {
    case Act::none:
      break;
    case Act::relu:
      p.low = 0;
      break;
    case Act::clip:
      p.low = e.a, p.high = e.b;
      break;
    default:
      p.after = e;
  }
}

}  // namespace

Step lower_depthwise(const LowerContext& context, const Node& node) {
  const Planes in = planes_of(input_of(context, node, 0).shape), out = planes_of(output_of(context, node).shape);
  const Value& weight = input_of(context, node, 1);
  const bool two = weight.shape.size() == 4;
  const Pair stride = pair_of(node.ints("stride"), 1), dilation = pair_of(node.ints("dilation"), 1);
  const auto& padding = node.ints("padding");

  auto owned = std::make_shared<Owned<DepthwiseParams>>();
  DepthwiseParams& p = owned->params;
  p.channels = in.c, p.multiplier = out.c / in.c;
  p.ih = in.h, p.iw = in.w, p.oh = out.h, p.ow = out.w;
  p.kh = two ? weight.shape[2] : 1, p.kw = weight.shape.back();
  p.sh = stride.h, p.sw = stride.w, p.dh = dilation.h, p.dw = dilation.w;
  p.top = two ? padding[0] : 0, p.left = padding[two ? 1 : 0];
  lay_out(p);

  const std::int64_t taps = p.kh * p.kw;
  const float* w = weight.data.get();
  std::vector<std::int32_t> start{0}, offset;
  std::vector<float> value;
  for (std::int64_t i = 0; i < out.c * taps; ++i) {
    if (w[i] != 0) {
      const std::int64_t y = i % taps / p.kw * p.dh, x = i % p.kw * p.dw;
      offset.push_back(
          static_cast<std::int32_t>((y % p.sh * p.sw + x % p.sw) * p.phase_size + y / p.sh * p.pitch + x / p.sw));
      value.push_back(w[i]);
    }
    if ((i + 1) % taps == 0) start.push_back(static_cast<std::int32_t>(value.size()));
  }
  const std::int64_t nnz = static_cast<std::int64_t>(value.size());
  p.start = owned->keep(std::move(start));
  p.offset = owned->keep(std::move(offset));
  p.value = owned->keep(std::move(value));
  p.weights = owned->keep(std::vector<float>(w, w + out.c * taps));
  std::vector<float> bias(static_cast<std::size_t>(out.c), 0.0f);
  if (node.has_input(2)) {
    const float* b = input_of(context, node, 2).data.get();
    bias.assign(b, b + out.c);
  }
  p.bias = owned->keep(std::move(bias));
  p.has_residual = node.has_input(3);
  set_epilogue(p, epilogue_of(node));

  const auto floats = static_cast<std::size_t>(2 * (p.sh * p.sw * p.phase_size + kDepthwiseSlack));
  const double pixels = static_cast<double>(out.h * out.w);
  const DepthwiseKernel variant = choose(p, nnz, weight.size());
  Step step = make_step(context, node, kernel_of(p, variant, context.isa), depthwise_tasks, std::move(owned));
  step.scratch_bytes = align_up(floats * sizeof(float));
  step.info.weights = weight.size();
  step.info.nnz = nnz;
  step.info.macs = static_cast<double>(weight.size()) * pixels;
  step.info.useful_macs = static_cast<double>(nnz) * pixels;
  return step;
}

}  // namespace sn
