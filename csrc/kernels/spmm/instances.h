// One ISA's rows of kernels.inc (the ISA file says which by SN_ROWS_...), ended by a row without a name.
// panel/panel.cpp strings the arrays of all ISAs together.
#pragma once

#include "kernels/spmm/generic.h"

namespace sn {
namespace SN_ISA {

extern const PanelVariant spmm_variants[];
#define SN_PANEL(isa, br, bc, r)                                                                 \
  {"spmm_" #br "x" #bc "_r" #r "_" #isa, true, false, br, bc, r, VL, panel_run<Spmm<br, bc, r>>, \
   panel_tasks<Spmm<br, bc, r>>},
#define SN_PAIRS(isa, r) \
  {"spmm_pairs_r" #r "_" #isa, true, true, 2, 1, r, VL, panel_run<SpmmPairs<r>>, panel_tasks<SpmmPairs<r>>},
const PanelVariant spmm_variants[] = {
#include "kernels/spmm/kernels.inc"
    {nullptr, false, false, 0, 0, 0, 0, nullptr, nullptr}};
#undef SN_PAIRS
#undef SN_PANEL

}  // namespace SN_ISA
}  // namespace sn
