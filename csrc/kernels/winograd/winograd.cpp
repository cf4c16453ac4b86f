#include "kernels/winograd/winograd.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, winograd, variant)
#include "kernels/winograd/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, winograd, variant, WinogradKernel)
#include "kernels/winograd/kernels.inc"
#undef SN_KERNEL
};
}  // namespace

const KernelEntry* winograd_kernel(WinogradKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_winograd_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

int winograd_lanes(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return 16;
    case Isa::avx2:
      return 8;
    case Isa::neon:
      return 4;
    default:
      return 1;
  }
}
int winograd_panel(Isa isa) {
  const int lanes = winograd_lanes(isa);
  return lanes * winograd_vectors(lanes);
}

std::int64_t winograd_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const WinogradParams*>(params);
  if (p.bands > 0) return batch * p.bands;
  const std::int64_t rows = batch * p.tiles_down;
  return (rows + p.block_rows - 1) / p.block_rows * p.row_splits * p.chunks;
}

}  // namespace sn
