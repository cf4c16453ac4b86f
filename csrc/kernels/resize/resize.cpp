#include "kernels/resize/resize.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, resize, variant)
#include "kernels/resize/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, resize, variant, ResizeKernel)
#include "kernels/resize/kernels.inc"
#undef SN_KERNEL
};
}  // namespace

const KernelEntry* resize_kernel(ResizeKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_resize_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

std::int64_t resize_tasks(const void* params, std::int64_t batch) noexcept {
  return batch * static_cast<const ResizeParams*>(params)->planes;
}

}  // namespace sn
