#include "kernels/move/move.h"

#include "kernels/table.h"

namespace sn {

#define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, move, variant)
#include "kernels/move/kernels.inc"
#undef SN_KERNEL

namespace {
const KernelEntry kTable[] = {
#define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, move, variant, MoveKernel)
#include "kernels/move/kernels.inc"
#undef SN_KERNEL
};

std::int64_t groups(std::int64_t rows, std::int64_t per_task) {
  return (rows + per_task - 1) / per_task;
}
}  // namespace

const KernelEntry* move_kernel(MoveKernel variant, Isa isa) {
  return find_kernel(kTable, variant, isa);
}
void add_move_kernels(std::vector<KernelRow>& rows) {
  list_kernels(kTable, rows);
}

std::int64_t concat_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const ConcatParams*>(params);
  return groups(batch * p.outer, p.rows_per_task) * p.tasks_per_row;
}
std::int64_t move_rows_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const StridedParams*>(params);
  return groups(batch * p.outer, p.rows_per_task) * p.tasks_per_row;
}
std::int64_t move_tiles_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const StridedParams*>(params);
  return batch * p.outer * p.tasks_per_tile;
}
std::int64_t pad_tasks(const void* params, std::int64_t batch) noexcept {
  const auto& p = *static_cast<const PadParams*>(params);
  return groups(batch * p.outer, p.rows_per_task);
}

}  // namespace sn
