#include "kernels/depthwise/depthwise.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, depthwise, variant)
#include "kernels/depthwise/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, depthwise, variant, DepthwiseKernel)
#include "kernels/depthwise/kernels.inc"
#undef SN_KERNEL
};
}  // namespace

const KernelEntry* depthwise_kernel(DepthwiseKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_depthwise_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

std::int64_t depthwise_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const DepthwiseParams*>(params);
  return batch * p.channels * p.blocks;
}

}  // namespace sn
