#include "kernels/convtranspose/convtranspose.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, convtranspose, variant)
#include "kernels/convtranspose/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, convtranspose, variant, ConvTransposeKernel)
#include "kernels/convtranspose/kernels.inc"
#undef SN_KERNEL
};
}  // namespace

const KernelEntry* convtranspose_kernel(ConvTransposeKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_convtranspose_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

std::int64_t convtranspose_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const ConvTransposeParams*>(params);
  return batch * p.groups * p.blocks * p.channel_tasks;
}

}  // namespace sn
