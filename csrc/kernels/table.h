// For a family's .cpp and for lowering; never for ISA files, which use no STL (see simd/scalar.h).
//
// How a family's kernels.inc becomes declarations, a dispatch table and rows of the registry.
//
// kernels.inc holds one row a kernel, SN_KERNEL(variant): the enumerator of the family's variant enum, and the kernel
// is <family>_<variant>, defined in namespace sn::<isa> by the generic body. A family's .cpp file reads:
//
//   #define SN_KERNEL(variant) SN_EACH_ISA(SN_DECLARE, pool, variant)
//   #include "kernels/pool/kernels.inc"
//   #undef SN_KERNEL
//   const KernelEntry kTable[] = {
//   #define SN_KERNEL(variant) SN_EACH_ISA(SN_ENTRY, pool, variant, PoolKernel)
//   ...
#pragma once

#include <vector>

#include "base/cpu.h"
#include "kernels/kernel.h"
#include "kernels/registry.h"

namespace sn {

struct KernelEntry {
  const char* family;
  const char* name;
  Isa isa;
  int variant;
  KernelFn fn;
};

// The row for `variant` on `isa`; null if this binary lacks it.
template <std::size_t N, class Variant>
const KernelEntry* find_kernel(const KernelEntry (&table)[N], Variant variant, Isa isa) {
  for (const KernelEntry& e : table) {
    if (e.isa == isa && e.variant == static_cast<int>(variant)) return &e;
  }
  return nullptr;
}

template <std::size_t N>
void list_kernels(const KernelEntry (&table)[N], std::vector<KernelRow>& rows) {
  for (const KernelEntry& e : table) rows.push_back({e.family, e.name, e.isa});
}

void add_convtranspose_kernels(std::vector<KernelRow>& rows);
void add_depthwise_kernels(std::vector<KernelRow>& rows);
void add_eltwise_kernels(std::vector<KernelRow>& rows);
void add_move_kernels(std::vector<KernelRow>& rows);
void add_pool_kernels(std::vector<KernelRow>& rows);
void add_resize_kernels(std::vector<KernelRow>& rows);
void add_softmax_kernels(std::vector<KernelRow>& rows);
void add_winograd_kernels(std::vector<KernelRow>& rows);

}  // namespace sn

#ifdef SPARSENET_HAVE_SCALAR
#define SN_IF_SCALAR(F, ...) F(scalar, __VA_ARGS__)
#else
#define SN_IF_SCALAR(F, ...)
#endif
#ifdef SPARSENET_HAVE_AVX2
#define SN_IF_AVX2(F, ...) F(avx2, __VA_ARGS__)
#else
#define SN_IF_AVX2(F, ...)
#endif
#ifdef SPARSENET_HAVE_AVX512
#define SN_IF_AVX512(F, ...) F(avx512, __VA_ARGS__)
#else
#define SN_IF_AVX512(F, ...)
#endif
#ifdef SPARSENET_HAVE_NEON
#define SN_IF_NEON(F, ...) F(neon, __VA_ARGS__)
#else
#define SN_IF_NEON(F, ...)
#endif

// F(isa, ...) for each ISA in this binary.
#define SN_EACH_ISA(F, ...)    \
  SN_IF_SCALAR(F, __VA_ARGS__) \
  SN_IF_AVX2(F, __VA_ARGS__) SN_IF_AVX512(F, __VA_ARGS__) SN_IF_NEON(F, __VA_ARGS__)

#define SN_DECLARE(isa, family, variant)                                                                              \
  namespace isa {                                                                                                     \
  void family##_##variant(const void* params, const KernelArgs& args, std::int64_t begin, std::int64_t end) noexcept; \
  }
#define SN_ENTRY(isa, family, variant, Enum) \
  {#family, #family "_" #variant "_" #isa, Isa::isa, static_cast<int>(Enum::variant), isa::family##_##variant},
