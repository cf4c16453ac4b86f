// Shape rules of what slides or scales over one or two spatial axes, and of Linear.
#include <algorithm>
#include <cmath>

#include "graph/shape.h"

namespace sn {
namespace {

// groups from the attribute; both channel counts must be multiples of it.
std::int64_t check_groups(const Shapes& s, std::int64_t in_channels, std::int64_t out_channels) {
  const std::int64_t groups = s.node.i("groups");
  if (groups < 1 || groups > kMaxExtent) s.reject("groups must be at least 1, got ", groups);
  if (in_channels % groups != 0 || out_channels % groups != 0)
    s.reject("groups=", groups, " must divide ", in_channels, " input and ", out_channels, " output channels");
  return groups;
}

void check_weight(const Shapes& s, const char* layout) {
  const Shape& w = s.in(1);
  if (w.size() != s.in(0).size())
    s.reject("expected a weight ", layout, " of the input's rank ", s.in(0).size(), ", got", s.named(1));
  for (const std::int64_t d : w)
    if (d > kMaxExtent) s.reject("a dimension of the weight", s.named(1), " is more than 2^30");
}

// floor((a) / b) for b > 0, also for negative a
std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b < 0);
}

}  // namespace

Shape conv_shape(const Shapes& s) {
  const std::size_t d = s.spatial_rank();
  check_weight(s, "[M, C/groups, ...]");
  const Shape &x = s.in(0), &w = s.in(1);
  const auto &stride = s.ints("stride", d, 1), &pad = s.ints("padding", 2 * d, 0), &dilation = s.ints("dilation", d, 1);
  const std::int64_t groups = check_groups(s, x[1], w[0]);
  if (w[1] != x[1] / groups)
    s.reject("expected a weight with ", x[1] / groups, " input channels (", x[1], " / groups=", groups, "), got",
             s.named(1));
  Shape y{kBatch, w[0]};
  for (std::size_t i = 0; i < d; ++i) {
    const std::int64_t padded = x[2 + i] + pad[i] + pad[d + i], reach = dilation[i] * (w[2 + i] - 1) + 1;
    if (reach > padded)
      s.reject("the kernel reaches over ", reach, " samples (", w[2 + i], ", dilation ", dilation[i],
               ") but the padded input has ", padded, " on axis ", 2 + i);
    y.push_back((padded - reach) / stride[i] + 1);
  }
  s.expect(2, "bias", {w[0]});
  s.expect(3, "residual", y);
  return y;
}

Shape conv_transpose_shape(const Shapes& s) {
  const std::size_t d = s.spatial_rank();
  check_weight(s, "[C, M/groups, ...]");
  const Shape &x = s.in(0), &w = s.in(1);
  const auto &stride = s.ints("stride", d, 1), &pad = s.ints("padding", 2 * d, 0), &dilation = s.ints("dilation", d, 1),
             &extra = s.ints("output_padding", d, 0);
  if (w[0] != x[1]) s.reject("expected a weight with ", x[1], " input channels on axis 0, got", s.named(1));
  const std::int64_t groups = check_groups(s, x[1], 0);
  Shape y{kBatch, w[1] * groups};
  for (std::size_t i = 0; i < d; ++i) {
    if (extra[i] >= std::max(stride[i], dilation[i]))
      s.reject("output_padding must be smaller than stride or dilation on axis ", 2 + i, ", got ", extra[i]);
    const std::int64_t out =
        (x[2 + i] - 1) * stride[i] - pad[i] - pad[d + i] + dilation[i] * (w[2 + i] - 1) + 1 + extra[i];
    if (out < 1) s.reject("padding ", pad[i], " + ", pad[d + i], " leaves an output of ", out, " on axis ", 2 + i);
    y.push_back(out);
  }
  s.expect(2, "bias", {y[1]});
  return y;
}

Shape linear_shape(const Shapes& s) {
  const Shape &x = s.in(0), &w = s.in(1);
  if (x.size() < 2) s.reject("expected an input [N, ..., K], got", s.named(0));
  if (w.size() != 2 || w[1] != x.back())
    s.reject("expected a weight [M, ", x.back(), "] for the input", s.named(0), ", got", s.named(1));
  Shape y = x;
  y.back() = w[0];
  s.expect(2, "bias", {w[0]});
  s.expect(3, "residual", y);
  return y;
}

Shape pool_shape(const Shapes& s) {
  const std::size_t d = s.spatial_rank();
  const Shape& x = s.in(0);
  const auto &kernel = s.ints("kernel", d, 1), &stride = s.ints("stride", d, 1), &pad = s.ints("padding", 2 * d, 0);
  const std::vector<std::int64_t> ones(d, 1);
  const auto& dilation = s.node.op == Op::MaxPool ? s.ints("dilation", d, 1) : ones;
  const bool ceil_mode = s.node.i("ceil_mode") != 0;
  Shape y{kBatch, x[1]};
  for (std::size_t i = 0; i < d; ++i) {
    const std::int64_t reach = dilation[i] * (kernel[i] - 1) + 1, before = pad[i], after = pad[d + i];
    if (std::max(before, after) > kernel[i] / 2)
      s.reject("padding must be at most half the kernel (", kernel[i] / 2, ") on axis ", 2 + i, ", got ",
               std::max(before, after));
    const std::int64_t room = x[2 + i] + before + after - reach;
    std::int64_t out = floor_div(room + (ceil_mode ? stride[i] - 1 : 0), stride[i]) + 1;
    // In ceil mode a window may hang over the end but must start inside the input or the padding before it.
    if (ceil_mode && (out - 1) * stride[i] >= x[2 + i] + before) --out;
    if (out < 1)
      s.reject("the kernel reaches over ", reach, " samples (", kernel[i], ", dilation ", dilation[i],
               ") but the padded input has ", x[2 + i] + before + after, " on axis ", 2 + i);
    y.push_back(out);
  }
  return y;
}

Shape adaptive_pool_shape(const Shapes& s) {
  const auto& output = s.ints("output", s.spatial_rank(), 1);
  Shape y{kBatch, s.in(0)[1]};
  y.insert(y.end(), output.begin(), output.end());
  return y;
}

Shape resize_shape(const Shapes& s) {
  const std::size_t d = s.spatial_rank();
  const auto& output = s.ints("output", d, 1);
  const std::vector<double>& scale = s.node.floats("scale");
  if (scale.size() != d) s.reject("scale must hold ", d, " numbers for the input", s.named(0), ", got ", scale.size());
  for (std::size_t i = 0; i < d; ++i)
    // Bounds the source position output * scale, which kernels turn into an integer.
    if (!(scale[i] > 0) || !(scale[i] * static_cast<double>(output[i]) <= static_cast<double>(kMaxExtent)))
      s.reject("scale must be positive, with output * scale at most 2^30, got ", scale[i]);
  Shape y{kBatch, s.in(0)[1]};
  y.insert(y.end(), output.begin(), output.end());
  return y;
}

}  // namespace sn
