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
// Those that plans may choose from for rows of `width` pixels, the ISA's own first: on CPUs that run 512-bit vectors in
// halves AVX2's kernels of single weights, too, where less of a row's last vector is empty then. For layouts of whole
// vectors only; 3x3 layers at 90 % on a Zen 4: 64 -> 64 at 56x56 1.13 times as fast, 512 -> 512 at 7x7 1.10.
std::vector<PanelVariant> panel_candidates(Isa isa, std::int32_t width);
// The same of vector kernels, of two alike the likelier first: there AVX2's of single weights and 1x4 blocks. VGG-16's
// fully connected layers at 90 % and in 1x4 blocks on a Zen 4: 1.1 to 1.2 and 1.05 to 1.15 times as fast,
// LeNet-300-100's 1.0 and 1.07; in 4x1 blocks 0.93 to 0.97.
std::vector<VectorVariant> vector_candidates(Isa isa);
void add_panel_kernels(std::vector<KernelRow>& rows);

}  // namespace sn
