#include "kernels/softmax/softmax.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, softmax, variant)
#include "kernels/softmax/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, softmax, variant, SoftmaxKernel)
#include "kernels/softmax/kernels.inc"
#undef SN_KERNEL
};
}  // namespace

const KernelEntry* softmax_kernel(SoftmaxKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_softmax_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

std::int64_t softmax_rows_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const SoftmaxParams*>(params);
  return (batch * p.outer + p.rows_per_task - 1) / p.rows_per_task;
}
std::int64_t softmax_columns_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const SoftmaxParams*>(params);
  return batch * p.outer * ((p.inner + kSoftmaxColumns - 1) / kSoftmaxColumns);
}

}  // namespace sn
