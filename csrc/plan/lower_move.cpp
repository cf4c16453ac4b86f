// Concat, Slice, Pad, Transpose and ChannelShuffle -> data movement kernels.
#include <algorithm>
#include <limits>

#include "graph/ops.h"
#include "kernels/move/move.h"
#include "plan/lower.h"

namespace sn {
namespace {

// One axis of the output: its size, and how far a step along it goes in the input.
struct Axis {
  std::int64_t size, stride;
};

// The axes of a contiguous tensor, but for the batch.
std::vector<Axis> axes_of(const Shape& shape) {
  std::vector<Axis> axes;
  for (std::size_t a = 1; a < shape.size(); ++a) axes.push_back({shape[a], 1});
  for (std::size_t a = axes.size(); a-- > 1;) axes[a - 1].stride = axes[a].stride * axes[a].size;
  return axes;
}

// Axes of size 1 go; neighbours that the input walks as one long axis join.
std::vector<Axis> collapse(const std::vector<Axis>& axes) {
  std::vector<Axis> out;
  for (const Axis& a : axes) {
    if (a.size == 1) continue;
    if (!out.empty() && out.back().stride == a.size * a.stride) {
      out.back() = {out.back().size * a.size, a.stride};
    } else {
      out.push_back(a);
    }
  }
  if (out.empty()) out.push_back({1, 1});
  return out;
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

Step lower_strided(const LowerContext& context, const Node& node, const std::vector<Axis>& view, std::int64_t base) {
  const std::vector<Axis> axes = collapse(view);
  auto owned = std::make_shared<Owned<StridedParams>>();
  StridedParams& p = owned->params;
  p.in_size = input_of(context, node, 0).size();
  p.out_size = output_of(context, node).size();
  p.base = base;
  const std::size_t last = axes.size() - 1;
  p.row = axes[last].size, p.row_stride = axes[last].stride;
  const bool rows = p.row_stride == 1;
  std::size_t tile = last;  // none
  for (std::size_t a = 0; a < last && !rows; ++a) {
    if (axes[a].stride == 1) tile = a;
  }
  p.tile = 1;
  p.outer = 1;
  std::int64_t out_stride = p.out_size;
  for (std::size_t a = 0; a < last; ++a) {
    out_stride /= axes[a].size;
    if (a == tile) {
      p.tile = axes[a].size, p.tile_stride = axes[a].stride, p.tile_out_stride = out_stride;
    } else {
      p.dims[p.rank] = axes[a].size, p.strides[p.rank] = axes[a].stride, p.out_strides[p.rank++] = out_stride;
      p.outer *= axes[a].size;
    }
  }
  if (rows) {
    p.rows_per_task = std::max<std::int64_t>(1, kMoveGrain / p.row);
    p.tasks_per_row = ceil_div(p.row, kMoveGrain);
    return make_step(context, node, move_kernel(MoveKernel::rows, context.isa), move_rows_tasks, std::move(owned));
  }
  p.tile_per_task = std::max<std::int64_t>(16, kMoveGrain / p.row / 16 * 16);
  p.tasks_per_tile = ceil_div(p.tile, p.tile_per_task);
  return make_step(context, node, move_kernel(MoveKernel::tiles, context.isa), move_tiles_tasks, std::move(owned));
}

// For each output position of an axis, the input position, or -1 for the padding value.
std::vector<std::int32_t> pad_map(std::int64_t n, std::int64_t before, std::int64_t after, const std::string& mode) {
  std::vector<std::int32_t> map;
  for (std::int64_t i = -before; i < n + after; ++i) {
    std::int64_t from = i;
    if (mode == "replicate") from = std::clamp<std::int64_t>(i, 0, n - 1);
    if (mode == "reflect") from = i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
    map.push_back(static_cast<std::int32_t>(from < 0 || from >= n ? -1 : from));
  }
  return map;
}

}  // namespace

Step lower_concat(const LowerContext& context, const Node& node) {
  const Shape& out = output_of(context, node).shape;
  const auto axis = static_cast<std::size_t>(node.i("axis"));
  auto owned = std::make_shared<Owned<ConcatParams>>();
  ConcatParams& p = owned->params;
  p.outer = 1;
  std::int64_t inner = 1;
  for (std::size_t a = 1; a < axis; ++a) p.outer *= out[a];
  for (std::size_t a = axis + 1; a < out.size(); ++a) inner *= out[a];
  p.total = out[axis] * inner;
  p.rows_per_task = std::max<std::int64_t>(1, kMoveGrain / p.total);
  p.tasks_per_row = ceil_div(p.total, kMoveGrain);
  for (std::size_t i = 0; i < node.inputs.size() && i < static_cast<std::size_t>(kMaxStepInputs); ++i) {
    p.lengths[p.inputs++] = input_of(context, node, i).shape[axis] * inner;
  }
  return make_step(context, node, move_kernel(MoveKernel::concat, context.isa), concat_tasks, std::move(owned));
}

Step lower_slice(const LowerContext& context, const Node& node) {
  std::vector<Axis> axes = axes_of(input_of(context, node, 0).shape);
  const auto a = static_cast<std::size_t>(node.i("axis"));
  const std::int64_t base = node.i("start") * axes[a - 1].stride;
  axes[a - 1] = {output_of(context, node).shape[a], axes[a - 1].stride * node.i("step")};
  return lower_strided(context, node, axes, base);
}

Step lower_transpose(const LowerContext& context, const Node& node) {
  const std::vector<Axis> axes = axes_of(input_of(context, node, 0).shape);
  const auto& perm = node.ints("perm");
  std::vector<Axis> view;
  for (std::size_t a = 1; a < perm.size(); ++a) view.push_back(axes[static_cast<std::size_t>(perm[a]) - 1]);
  return lower_strided(context, node, view, 0);
}

Step lower_channel_shuffle(const LowerContext& context, const Node& node) {
  const Shape& x = input_of(context, node, 0).shape;
  const std::int64_t groups = node.i("groups"), inner = input_of(context, node, 0).size() / x[1];
  return lower_strided(context, node, {{x[1] / groups, inner}, {groups, x[1] / groups * inner}, {inner, 1}}, 0);
}

Step lower_pad(const LowerContext& context, const Node& node) {
  const std::vector<Axis> in = axes_of(input_of(context, node, 0).shape);
  const Shape& out = output_of(context, node).shape;
  const auto& pads = node.ints("pads");
  const std::string& mode = node.str("mode");
  if (std::all_of(pads.begin(), pads.end(), [](std::int64_t p) { return p <= 0; })) {
    std::vector<Axis> view = in;
    std::int64_t base = 0;
    for (std::size_t a = 0; a < in.size(); ++a) {
      base -= pads[a] * in[a].stride;
      view[a].size = out[a + 1];
    }
    return lower_strided(context, node, view, base);
  }
  struct PadAxis {
    Axis axis;
    std::int64_t before, after;
  };
  std::vector<PadAxis> axes;  // neighbours without padding joined
  for (std::size_t a = 0; a < in.size(); ++a) {
    const PadAxis next{in[a], pads[a], pads[in.size() + a]};
    const bool plain = next.before == 0 && next.after == 0;
    if (plain && !axes.empty() && axes.back().before == 0 && axes.back().after == 0) {
      axes.back().axis = {axes.back().axis.size * in[a].size, in[a].stride};
    } else {
      axes.push_back(next);
    }
  }
  auto owned = std::make_shared<Owned<PadParams>>();
  PadParams& p = owned->params;
  p.in_size = input_of(context, node, 0).size();
  p.out_size = output_of(context, node).size();
  p.value = static_cast<float>(node.f("value"));
  p.outer = 1;
  for (std::size_t a = 0; a < axes.size(); ++a) {
    const auto& [axis, before, after] = axes[a];
    const std::int64_t size = axis.size + before + after;
    const bool last = a + 1 == axes.size();
    if (last && before == 0 && after == 0) {
      p.row = p.middle = size;
      break;
    }
    if (std::max(axis.size, size) > std::numeric_limits<std::int32_t>::max()) {
      fail(ErrorCode::UnsupportedOp, label(node), ": cannot pad an axis of 2^31 elements or more, got ", size);
    }
    const std::int32_t* map = owned->keep(pad_map(axis.size, before, after, mode));
    if (last) {
      p.row = size;
      p.map = map;
      p.before = std::max<std::int64_t>(before, 0);
      p.in_start = std::max<std::int64_t>(-before, 0);
      p.middle = axis.size + std::min<std::int64_t>(before, 0) + std::min<std::int64_t>(after, 0);
    } else {
      p.dims[p.rank] = size, p.strides[p.rank] = axis.stride, p.maps[p.rank++] = map;
      p.outer *= size;
    }
  }
  p.rows_per_task = std::max<std::int64_t>(1, kMoveGrain / p.row);
  return make_step(context, node, move_kernel(MoveKernel::pad, context.isa), pad_tasks, std::move(owned));
}

}  // namespace sn
