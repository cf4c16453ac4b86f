#include "kernels/eltwise/eltwise.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, eltwise, variant)
#include "kernels/eltwise/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, eltwise, variant, EltwiseKernel)
#include "kernels/eltwise/kernels.inc"
#undef SN_KERNEL
};
}  // namespace

const KernelEntry* eltwise_kernel(EltwiseKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_eltwise_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

std::int64_t act_tasks(const void* params, std::int64_t batch) noexcept {
  return (batch * static_cast<const ActParams*>(params)->size + kEltwiseGrain - 1) / kEltwiseGrain;
}
std::int64_t binary_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const BinaryParams*>(params);
  return (batch * p.rows + p.rows_per_task - 1) / p.rows_per_task * p.tasks_per_row;
}

}  // namespace sn
