// Pooling and means -> pool kernels. Whatever covers whole trailing axes becomes a reduction of contiguous rows.
#include <algorithm>

#include "base/buffer.h"
#include "kernels/pool/pool.h"
#include "plan/lower.h"

namespace sn {
namespace {

Step lower_rows(const LowerContext& context, const Node& node, bool max, std::int64_t rows, std::int64_t len) {
  auto owned = std::make_shared<Owned<RowsParams>>();
  owned->params = {rows, len, std::max<std::int64_t>(1, 16384 / len)};
  return make_step(context, node, pool_kernel(max ? PoolKernel::rows_max : PoolKernel::rows_avg, context.isa),
                   rows_tasks, std::move(owned));
}

// Window i of `out` over n samples: how many of its k samples count.
std::vector<float> window_counts(std::int64_t out, std::int64_t n, std::int64_t k, std::int64_t stride,
                                 std::int64_t before, std::int64_t after, bool include_pad) {
  std::vector<float> count;
  for (std::int64_t i = 0; i < out; ++i) {
    std::int64_t low = i * stride - before, high = std::min(low + k, n + after);
    if (!include_pad) low = std::max<std::int64_t>(low, 0), high = std::min(high, n);
    count.push_back(static_cast<float>(std::max<std::int64_t>(high - low, 1)));
  }
  return count;
}

// Fills in the layout of the phase rows.
Step lower_windows(const LowerContext& context, const Node& node, bool max,
                   std::shared_ptr<Owned<WindowParams>> owned) {
  WindowParams& p = owned->params;
  const std::int64_t last_read = (p.ow - 1) * p.sw + (p.kw - 1) * p.dw, last_written = p.left + p.iw - 1;
  p.pitch = std::max(last_read, last_written) / p.sw + 1;
  std::vector<std::int32_t> taps;
  for (std::int64_t k = 0; k < p.kw; ++k) {
    taps.push_back(static_cast<std::int32_t>(k * p.dw % p.sw * p.pitch + k * p.dw / p.sw));
  }
  p.taps = owned->keep(std::move(taps));
  p.distant = is_distant(input_of(context, node, 0));
  const std::size_t scratch = static_cast<std::size_t>(p.sw * p.pitch + kPoolSlack) * sizeof(float);
  Step step = make_step(context, node, pool_kernel(max ? PoolKernel::max : PoolKernel::avg, context.isa), window_tasks,
                        std::move(owned));
  step.scratch_bytes = align_up(scratch);
  return step;
}

}  // namespace

Step lower_window_pool(const LowerContext& context, const Node& node) {
  const bool max = node.op == Op::MaxPool;
  const Planes in = planes_of(input_of(context, node, 0).shape), out = planes_of(output_of(context, node).shape);
  const Pair kernel = pair_of(node.ints("kernel"), 1), stride = pair_of(node.ints("stride"), 1);
  const Pair dilation = max ? pair_of(node.ints("dilation"), 1) : Pair{1, 1};
  const auto& padding = node.ints("padding");
  const bool two = padding.size() == 4;
  const bool padded = std::any_of(padding.begin(), padding.end(), [](std::int64_t p) { return p != 0; });
  const std::int64_t divisor = max ? 0 : node.i("divisor_override");
  if (!padded && divisor == 0 && kernel.h == in.h && kernel.w == in.w && dilation.h == 1 && dilation.w == 1) {
    return lower_rows(context, node, max, in.c, in.h * in.w);
  }
  auto owned = std::make_shared<Owned<WindowParams>>();
  WindowParams& p = owned->params;
  p = {};
  p.planes = in.c;
  p.ih = in.h, p.iw = in.w, p.oh = out.h, p.ow = out.w;
  p.kh = kernel.h, p.kw = kernel.w, p.sh = stride.h, p.sw = stride.w, p.dh = dilation.h, p.dw = dilation.w;
  p.top = two ? padding[0] : 0, p.left = padding[two ? 1 : 0];
  const std::int64_t bottom = two ? padding[2] : 0, right = padding.back();
  if (!max && divisor != 0) {
    p.count_y = owned->keep(std::vector<float>(static_cast<std::size_t>(out.h), static_cast<float>(divisor)));
    p.count_x = owned->keep(std::vector<float>(static_cast<std::size_t>(out.w), 1.0f));
  } else if (!max) {
    const bool include_pad = node.i("count_include_pad") != 0;
    p.count_y = owned->keep(window_counts(p.oh, p.ih, p.kh, p.sh, p.top, bottom, include_pad));
    p.count_x = owned->keep(window_counts(p.ow, p.iw, p.kw, p.sw, p.left, right, include_pad));
  }
  return lower_windows(context, node, max, std::move(owned));
}

Step lower_adaptive_pool(const LowerContext& context, const Node& node) {
  const bool max = node.op == Op::AdaptiveMaxPool;
  const Planes in = planes_of(input_of(context, node, 0).shape), out = planes_of(output_of(context, node).shape);
  if (out.h == 1 && out.w == 1) return lower_rows(context, node, max, in.c, in.h * in.w);
  if (in.h % out.h == 0 && in.w % out.w == 0) {  // windows of one size that do not overlap
    auto owned = std::make_shared<Owned<WindowParams>>();
    WindowParams& p = owned->params;
    p.planes = in.c;
    p.ih = in.h, p.iw = in.w, p.oh = out.h, p.ow = out.w;
    p.kh = p.sh = in.h / out.h, p.kw = p.sw = in.w / out.w, p.dh = p.dw = 1;
    p.count_y = owned->keep(std::vector<float>(static_cast<std::size_t>(out.h), static_cast<float>(p.kh)));
    p.count_x = owned->keep(std::vector<float>(static_cast<std::size_t>(out.w), static_cast<float>(p.kw)));
    return lower_windows(context, node, max, std::move(owned));
  }
  auto owned = std::make_shared<Owned<AdaptiveParams>>();
  owned->params = {in.c, in.h, in.w, out.h, out.w};
  Step step =
      make_step(context, node, pool_kernel(max ? PoolKernel::adaptive_max : PoolKernel::adaptive_avg, context.isa),
                adaptive_tasks, std::move(owned));
  step.scratch_bytes = align_up(static_cast<std::size_t>(in.w) * sizeof(float));
  return step;
}

Step lower_mean(const LowerContext& context, const Node& node) {
  const Shape& shape = input_of(context, node, 0).shape;
  const auto& axes = node.ints("axes");
  struct Group {  // neighbouring axes that are all kept or all reduced
    bool reduced;
    std::int64_t size, stride;
  };
  std::vector<Group> groups;
  for (std::size_t a = 1; a < shape.size(); ++a) {
    if (shape[a] == 1) continue;
    const bool reduced = std::find(axes.begin(), axes.end(), static_cast<std::int64_t>(a)) != axes.end();
    if (groups.empty() || groups.back().reduced != reduced) groups.push_back({reduced, 1, 1});
    groups.back().size *= shape[a];
  }
  std::int64_t total = 1, kept_total = 1, reduced_groups = 0;
  for (std::size_t g = groups.size(); g-- > 0;) {
    groups[g].stride = total;
    total *= groups[g].size;
    if (!groups[g].reduced) kept_total *= groups[g].size;
    reduced_groups += groups[g].reduced;
  }
  if (reduced_groups == 0) return lower_rows(context, node, false, total, 1);
  if (reduced_groups == 1 && groups.back().reduced) {
    return lower_rows(context, node, false, kept_total, total / kept_total);
  }
  auto owned = std::make_shared<Owned<AxesParams>>();
  AxesParams& p = owned->params;
  p.in_size = total, p.out_size = kept_total, p.inner = 1;
  for (const Group& g : groups) {
    if (g.reduced) {
      p.reduced_dims[p.reduced] = g.size, p.reduced_strides[p.reduced++] = g.stride;
    } else if (g.stride == 1) {
      p.inner = g.size;
    } else {
      p.kept_dims[p.kept] = g.size, p.kept_strides[p.kept++] = g.stride;
    }
  }
  return make_step(context, node, pool_kernel(PoolKernel::axes_avg, context.isa), axes_tasks, std::move(owned));
}

}  // namespace sn
