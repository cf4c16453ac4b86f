#include <algorithm>

#include "kernels/softmax/softmax.h"
#include "plan/lower.h"

namespace sn {

Step lower_softmax(const LowerContext& context, const Node& node) {
  const Shape& x = input_of(context, node, 0).shape;
  const auto axis = static_cast<std::size_t>(node.i("axis"));
  auto owned = std::make_shared<Owned<SoftmaxParams>>();
  SoftmaxParams& p = owned->params;
  p.outer = p.inner = 1;
  for (std::size_t a = 1; a < axis; ++a) p.outer *= x[a];
  for (std::size_t a = axis + 1; a < x.size(); ++a) p.inner *= x[a];
  p.length = x[axis];
  p.log = node.i("log") != 0;
  p.rows_per_task = std::max<std::int64_t>(1, 4096 / p.length);  // some 10 us of exponentials
  const bool rows = p.inner == 1;
  return make_step(context, node, softmax_kernel(rows ? SoftmaxKernel::rows : SoftmaxKernel::columns, context.isa),
                   rows ? softmax_rows_tasks : softmax_columns_tasks, std::move(owned));
}

}  // namespace sn
