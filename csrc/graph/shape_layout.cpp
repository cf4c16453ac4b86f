// Shape rules of broadcasting, reduction and data movement.
#include <algorithm>

#include "graph/shape.h"

namespace sn {

Shape broadcast_shape(const Shapes& s) {
  const bool swapped = s.value(0).is_constant();
  const Shape &a = s.in(swapped ? 1 : 0), &b = s.in(swapped ? 0 : 1);
  const bool constant = s.value(swapped ? 0 : 1).is_constant();
  // Trailing axes align. Two activations must agree in rank, or one's batch axis would meet another axis.
  if (constant ? b.size() > a.size() : b.size() != a.size())
    s.reject("cannot broadcast", s.named(0), " with", s.named(1), ": ",
             constant ? "the constant has more axes than the activation" : "activations must have the same rank");
  if (constant && b.size() == a.size() && b[0] != 1)
    s.reject("cannot broadcast", s.named(0), " with", s.named(1),
             ": a constant must have 1 on the batch axis (axis 0), got ", b[0]);
  Shape y = a;
  const std::size_t shift = a.size() - b.size();
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (shift + i == 0) continue;
    if (a[shift + i] != b[i] && a[shift + i] != 1 && b[i] != 1)
      s.reject("cannot broadcast", s.named(0), " with", s.named(1), ": axis ", shift + i, " is ", a[shift + i], " and ",
               b[i]);
    y[shift + i] = std::max(a[shift + i], b[i]);
  }
  return y;
}

Shape mean_shape(const Shapes& s) {
  const Shape& x = s.in(0);
  const auto& axes = s.node.ints("axes");
  const bool keep = s.node.i("keepdim") != 0;
  if (axes.empty()) s.reject("axes is empty");
  std::vector<char> reduced(x.size(), 0);
  for (const std::int64_t a : axes) {
    if (a < 1 || a >= static_cast<std::int64_t>(x.size()))
      s.reject("axes must be from 1 to ", x.size() - 1, " for the input", s.named(0), " (axis 0 is the batch), got ",
               a);
    if (reduced[static_cast<std::size_t>(a)]) s.reject("axis ", a, " is named twice");
    reduced[static_cast<std::size_t>(a)] = 1;
  }
  Shape y;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (!reduced[i] || keep) y.push_back(reduced[i] ? 1 : x[i]);
  return y;
}

Shape concat_shape(const Shapes& s) {
  const std::size_t axis = s.axis();
  Shape y = s.in(0);
  for (std::size_t i = 1; i < s.node.inputs.size(); ++i) {
    Shape same = s.in(i);
    if (same.size() != y.size()) s.reject("inputs", s.named(0), " and", s.named(i), " differ in rank");
    const std::int64_t length = same[axis];
    same[axis] = y[axis];
    if (same != y) s.reject("inputs", s.named(0), " and", s.named(i), " differ outside axis ", axis);
    y[axis] += length;
  }
  return y;
}

Shape slice_shape(const Shapes& s) {
  const std::size_t axis = s.axis();
  Shape y = s.in(0);
  const std::int64_t start = s.node.i("start"), end = s.node.i("end"), step = s.node.i("step");
  if (step < 1) s.reject("step must be at least 1, got ", step);
  if (start < 0 || start >= end || end > y[axis])
    s.reject("expected 0 <= start < end <= ", y[axis], " on axis ", axis, " of", s.named(0), ", got start=", start,
             " end=", end);
  y[axis] = (end - start - 1) / step + 1;
  return y;
}

Shape pad_shape(const Shapes& s) {
  Shape y = s.in(0);
  const std::size_t n = y.size() - 1;
  const auto& pads = s.ints("pads", 2 * n, -kMaxElements, kMaxElements);
  const bool reflect = s.node.str("mode") == "reflect";
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t before = pads[i], after = pads[n + i], length = y[i + 1];
    const std::int64_t zero = 0;
    if (length + std::min(before, zero) + std::min(after, zero) < 1)
      s.reject("pads ", before, " and ", after, " crop all of axis ", i + 1, " of", s.named(0));
    if (reflect && std::max(before, after) >= length)
      s.reject("reflection needs pads smaller than the ", length, " samples of axis ", i + 1, ", got ", before, " and ",
               after);
    y[i + 1] = length + before + after;
  }
  return y;
}

Shape reshape_shape(const Shapes& s) {
  const auto& want = s.node.ints("shape");
  if (want.empty() || want[0] != 0) s.reject("shape must begin with 0 (the batch axis), got ", to_string(want));
  if (want.size() > kMaxRank) s.reject("shape has ", want.size(), " axes; at most ", kMaxRank, " are supported");
  const std::int64_t count = s.value(0).size();
  Shape y(want.begin(), want.end());
  y[0] = kBatch;
  std::int64_t known = 1;
  std::size_t open = 0;
  for (std::size_t i = 1; i < y.size(); ++i) {
    if (y[i] == -1 && open == 0) {
      open = i;
    } else if (y[i] < 1) {
      s.reject("shape must hold sizes and at most one -1 after the first axis, got ", to_string(want));
    } else if (y[i] > count / known) {
      s.reject("cannot reshape", s.named(0), " to ", to_string(want), ": too many elements");
    } else {
      known *= y[i];
    }
  }
  if (open ? count % known != 0 : count != known)
    s.reject("cannot reshape", s.named(0), " (", count, " elements a sample) to ", to_string(want));
  if (open) y[open] = count / known;
  return y;
}

Shape transpose_shape(const Shapes& s) {
  const Shape& x = s.in(0);
  const auto& perm = s.node.ints("perm");
  std::vector<char> seen(x.size(), 0);
  bool ok = perm.size() == x.size() && !perm.empty() && perm[0] == 0;
  for (std::size_t i = 0; ok && i < perm.size(); ++i) {
    ok = perm[i] >= 0 && perm[i] < static_cast<std::int64_t>(x.size()) && !seen[static_cast<std::size_t>(perm[i])];
    if (ok) seen[static_cast<std::size_t>(perm[i])] = 1;
  }
  if (!ok)
    s.reject("perm must hold each axis of", s.named(0), " once and begin with 0 (the batch), got ", to_string(perm));
  Shape y;
  for (const std::int64_t p : perm) y.push_back(x[static_cast<std::size_t>(p)]);
  return y;
}

}  // namespace sn
