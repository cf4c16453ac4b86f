// One ISA's rows of kernels.inc, ended by a row without a name; panel/panel.cpp strings them together.
#pragma once

#include "kernels/spmv/generic.h"

namespace sn {
namespace SN_ISA {

extern const VectorVariant spmv_variants[];
#define SN_VECTOR(isa, name, sparse, br, bc, sell, f16, ...) \
  {name, sparse, br, bc, sell, f16, sparse ? 1 : most_samples(br), __VA_ARGS__},
const VectorVariant spmv_variants[] = {
#include "kernels/spmv/kernels.inc"
    {nullptr, false, 0, 0, false, false, 0, nullptr}};
#undef SN_VECTOR

}  // namespace SN_ISA
}  // namespace sn
