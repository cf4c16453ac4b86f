// One ISA's rows of kernels.inc (the ISA file says which by SN_ROWS_...), ended by a row without a name.
// panel/panel.cpp strings the arrays of all ISAs together.
#pragma once

#include "kernels/spmm/generic.h"

namespace sn {
namespace SN_ISA {

extern const PanelVariant spmm_variants[];
#define SN_PANEL(isa, br, bc, r) \
  {"spmm_" #br "x" #bc "_r" #r "_" #isa, true, br, bc, r, VL, panel_run<Spmm<br, bc, r>>, panel_tasks<Spmm<br, bc, r>>},
const PanelVariant spmm_variants[] = {
#include "kernels/spmm/kernels.inc"
    {nullptr, false, 0, 0, 0, 0, nullptr, nullptr}};
#undef SN_PANEL

}  // namespace SN_ISA
}  // namespace sn
