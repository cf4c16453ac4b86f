// The rows of spmm, gemm and spmv/kernels.inc, for the plan and the registry (ISA files include panel.h alone).
#pragma once

#include <vector>

#include "base/cpu.h"
#include "kernels/panel/panel.h"
#include "kernels/registry.h"
#include "kernels/spmv/spmv.h"

namespace sn {

std::vector<PanelVariant> panel_variants(Isa isa);    // empty where this binary has none
std::vector<VectorVariant> vector_variants(Isa isa);  // spmv and gemv
void add_panel_kernels(std::vector<KernelRow>& rows);

}  // namespace sn
