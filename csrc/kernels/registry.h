// Every kernel of every family in this binary, from the families' kernels.inc rows: what tests and benchmarks walk.
#pragma once

#include <vector>

#include "base/cpu.h"
#include "kernels/kernel.h"

namespace sn {

struct KernelRow {
  const char* family;  // "spmm", "gemm", "spmv", "depthwise", "pool", ...
  const char* name;    // unique, ends in the ISA's name: "spmm_1x1_r8_avx2"
  Isa isa;
};

// Rows of ISAs compiled into this binary; whether this CPU runs one: isa_bit(row.isa) & available_isas().
const std::vector<KernelRow>& all_kernels();

}  // namespace sn
