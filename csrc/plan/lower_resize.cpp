#include <algorithm>
#include <cmath>
#include <limits>

#include "base/buffer.h"
#include "graph/ops.h"
#include "kernels/resize/resize.h"
#include "plan/lower.h"

namespace sn {
namespace {

// Source position i * scale in fp32, as PyTorch computes it: in fp64 some positions would fall on the other side of
// an integer.
std::vector<std::int32_t> nearest_index(std::int64_t out, std::int64_t n, double scale) {
  std::vector<std::int32_t> index;
  for (std::int64_t i = 0; i < out; ++i) {
    const auto at = static_cast<std::int64_t>(std::floor(static_cast<float>(i) * static_cast<float>(scale)));
    index.push_back(static_cast<std::int32_t>(std::min(at, n - 1)));
  }
  return index;
}

struct Linear {
  std::vector<std::int32_t> low, high;
  std::vector<float> weight;  // of high
};

Linear linear_index(std::int64_t out, std::int64_t n, double scale, bool align_corners) {
  Linear t;
  for (std::int64_t i = 0; i < out; ++i) {
    const double corner =
        out > 1 ? static_cast<double>(i) * static_cast<double>(n - 1) / static_cast<double>(out - 1) : 0;
    const double centre = (static_cast<double>(i) + 0.5) * scale - 0.5;
    const double at = std::clamp(align_corners ? corner : centre, 0.0, static_cast<double>(n - 1));
    const auto low = static_cast<std::int64_t>(at);
    t.low.push_back(static_cast<std::int32_t>(low));
    t.high.push_back(static_cast<std::int32_t>(std::min(low + 1, n - 1)));
    t.weight.push_back(static_cast<float>(at - static_cast<double>(low)));
  }
  return t;
}

}  // namespace

Step lower_resize(const LowerContext& context, const Node& node) {
  const Planes in = planes_of(input_of(context, node, 0).shape), out = planes_of(output_of(context, node).shape);
  if (std::max(std::max(in.h, in.w), std::max(out.h, out.w)) > std::numeric_limits<std::int32_t>::max()) {
    fail(ErrorCode::UnsupportedOp, label(node), ": expected axes of less than 2^31 elements, got ",
         to_string(input_of(context, node, 0).shape), " to ", to_string(output_of(context, node).shape));
  }
  const std::vector<double>& scale = node.floats("scale");
  const double scale_h = scale.size() == 2 ? scale[0] : 1.0, scale_w = scale.back();
  auto owned = std::make_shared<Owned<ResizeParams>>();
  ResizeParams& p = owned->params;
  p.planes = in.c;
  p.ih = in.h, p.iw = in.w, p.oh = out.h, p.ow = out.w;
  if (node.str("mode") == "nearest") {
    p.y0 = owned->keep(nearest_index(out.h, in.h, scale_h));
    p.x0 = owned->keep(nearest_index(out.w, in.w, scale_w));
    return make_step(context, node, resize_kernel(ResizeKernel::nearest, context.isa), resize_tasks, std::move(owned));
  }
  const bool corners = node.i("align_corners") != 0;
  Linear y = linear_index(out.h, in.h, scale_h, corners), x = linear_index(out.w, in.w, scale_w, corners);
  p.y0 = owned->keep(std::move(y.low)), p.y1 = owned->keep(std::move(y.high)), p.wy = owned->keep(std::move(y.weight));
  p.x0 = owned->keep(std::move(x.low)), p.x1 = owned->keep(std::move(x.high)), p.wx = owned->keep(std::move(x.weight));
  Step step =
      make_step(context, node, resize_kernel(ResizeKernel::bilinear, context.isa), resize_tasks, std::move(owned));
  step.scratch_bytes = align_up(2 * static_cast<std::size_t>(out.w) * sizeof(float));
  return step;
}

}  // namespace sn
