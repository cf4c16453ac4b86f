#include "kernels/panel/table.h"

namespace sn {

#define SN_ARRAYS(isa)                        \
  namespace isa {                             \
  extern const PanelVariant spmm_variants[];  \
  extern const PanelVariant gemm_variants[];  \
  extern const VectorVariant spmv_variants[]; \
  }
SN_ARRAYS(scalar)
SN_ARRAYS(avx2)
SN_ARRAYS(avx512)
SN_ARRAYS(neon)
#undef SN_ARRAYS

namespace {

struct Table {
  const PanelVariant* spmm;
  const PanelVariant* gemm;
  const VectorVariant* spmv;
};

Table table(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return {scalar::spmm_variants, scalar::gemm_variants, scalar::spmv_variants};
#ifdef SPARSENET_HAVE_AVX2
    case Isa::avx2:
      return {avx2::spmm_variants, avx2::gemm_variants, avx2::spmv_variants};
#endif
#ifdef SPARSENET_HAVE_AVX512
    case Isa::avx512:
      return {avx512::spmm_variants, avx512::gemm_variants, avx512::spmv_variants};
#endif
#ifdef SPARSENET_HAVE_NEON
    case Isa::neon:
      return {neon::spmm_variants, neon::gemm_variants, neon::spmv_variants};
#endif
    default:
      return {nullptr, nullptr, nullptr};
  }
}

}  // namespace

std::vector<PanelVariant> panel_variants(Isa isa) {
  std::vector<PanelVariant> out;
  const Table t = table(isa);
  for (const PanelVariant* rows : {t.spmm, t.gemm}) {
    for (; rows && rows->name; ++rows) out.push_back(*rows);
  }
  return out;
}

std::vector<VectorVariant> vector_variants(Isa isa) {
  std::vector<VectorVariant> out;
  for (const VectorVariant* row = table(isa).spmv; row && row->name; ++row) out.push_back(*row);
  return out;
}

std::vector<PanelVariant> panel_candidates(Isa isa, std::int32_t width) {
  std::vector<PanelVariant> out = panel_variants(isa);
  if (runs_in_halves(isa) && (width - 1) % kMaxLanes < kMaxLanes / 2) {
    for (const PanelVariant& v : panel_variants(Isa::avx2)) {
      if (v.sparse && v.br == 1 && v.bc == 1) out.push_back(v);
    }
  }
  return out;
}

std::vector<VectorVariant> vector_candidates(Isa isa) {
  std::vector<VectorVariant> out;
  if (runs_in_halves(isa)) {
    for (const VectorVariant& v : vector_variants(Isa::avx2)) {
      const bool same_slices = !v.sell || slice_rows(v.bc, 8) == slice_rows(v.bc, 16);
      if (v.sparse && v.br == 1 && same_slices) out.push_back(v);
    }
  }
  for (const VectorVariant& v : vector_variants(isa)) out.push_back(v);
  return out;
}

void add_panel_kernels(std::vector<KernelRow>& rows) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    for (const PanelVariant& v : panel_variants(isa)) rows.push_back({v.sparse ? "spmm" : "gemm", v.name, isa});
    for (const VectorVariant& v : vector_variants(isa)) rows.push_back({v.sparse ? "spmv" : "gemv", v.name, isa});
  }
}

}  // namespace sn
