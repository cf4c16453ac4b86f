#include "kernels/registry.h"

#include "kernels/panel/table.h"
#include "kernels/table.h"

namespace sn {

const std::vector<KernelRow>& all_kernels() {
  static const std::vector<KernelRow> rows = [] {
    std::vector<KernelRow> out;
    add_panel_kernels(out);
    add_winograd_kernels(out);
    add_depthwise_kernels(out);
    add_convtranspose_kernels(out);
    add_pool_kernels(out);
    add_eltwise_kernels(out);
    add_softmax_kernels(out);
    add_resize_kernels(out);
    add_move_kernels(out);
    return out;
  }();
  return rows;
}

}  // namespace sn
