#include "kernels/pool/pool.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, pool, variant)
#include "kernels/pool/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, pool, variant, PoolKernel)
#include "kernels/pool/kernels.inc"
#undef SN_KERNEL
};
}  // namespace

const KernelEntry* pool_kernel(PoolKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_pool_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

std::int64_t window_tasks(const void* params, std::int64_t batch) noexcept {
  return batch * static_cast<const WindowParams*>(params)->planes;
}
std::int64_t adaptive_tasks(const void* params, std::int64_t batch) noexcept {
  return batch * static_cast<const AdaptiveParams*>(params)->planes;
}
std::int64_t rows_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const RowsParams*>(params);
  return (batch * p.rows + p.rows_per_task - 1) / p.rows_per_task;
}
std::int64_t axes_tasks(const void*, std::int64_t batch) noexcept {
  return batch;
}

}  // namespace sn
