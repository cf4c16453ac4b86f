// Dense rows times a panel: the BLIS micro-kernel (Van Zee and van de Geijn 2015), br rows by R vectors.
#pragma once

#include "kernels/panel/generic.h"

namespace sn {
namespace SN_ISA {

template <int Br, int Width>
struct Gemm {
  static constexpr int BR = Br, R = Width, T = Width * VL;

  Gemm(const MatrixProblem& q, const float* a_panel, int64_t g, int kb)
      : panel(a_panel),
        value(q.w.value + (g * q.w.row_blocks * q.K + int64_t{kb} * q.w.kc) * Br),
        depth(q.K),
        count(q.K - kb * q.w.kc < q.w.kc ? q.K - kb * q.w.kc : q.w.kc) {}

  SN_INLINE int64_t row(int64_t i) const { return i; }

  template <int W>
  SN_INLINE void mul(int64_t i, V (&acc)[BR][W]) const {
    const float *w = value + i * depth * Br, *x = panel;
    for (int k = 0; k < count; ++k, w += Br, x += T) {
      V p[W];
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) p[r] = loada(x + r * VL);
#pragma GCC unroll 16
      for (int i = 0; i < Br; ++i) {
        const V wi = splat(w, Br, i);
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) acc[i][r] = fma(wi, p[r], acc[i][r]);
      }
    }
  }

 private:
  const float *panel, *value;
  int64_t depth;
  int count;
};

}  // namespace SN_ISA
}  // namespace sn
