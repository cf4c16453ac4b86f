// One ISA's rows of kernels.inc (the ISA file says which by SN_ROWS_...), ended by a row without a name.
// panel/panel.cpp strings the arrays of all ISAs together.
#pragma once

#include "kernels/gemm/generic.h"

namespace sn {
namespace SN_ISA {

extern const PanelVariant gemm_variants[];
#define SN_PANEL(isa, br, bc, r) \
  {"gemm_" #br "x" #r "_" #isa, false, false, br, bc, r, VL, panel_run<Gemm<br, r>>, panel_tasks<Gemm<br, r>>},
const PanelVariant gemm_variants[] = {
#include "kernels/gemm/kernels.inc"
    {nullptr, false, false, 0, 0, 0, 0, nullptr, nullptr}};
#undef SN_PANEL

}  // namespace SN_ISA
}  // namespace sn
