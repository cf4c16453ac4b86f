// Dense rows times a panel: the BLIS micro-kernel (Van Zee and van de Geijn 2015), br rows by R vectors.
#pragma once

#include "kernels/panel/generic.h"

namespace sn {
namespace SN_ISA {

template <int Br, int Width>
struct Gemm {
  static constexpr int BR = Br, R = Width, T = Width * VL;

  SN_INLINE static int row(const MatrixProblem&, int64_t, int, int i) { return i; }

  template <int W>
  SN_INLINE static void mul(const MatrixProblem& q, const float* panel, int64_t g, int kb, int rb, V (&acc)[BR][W]) {
    const int k0 = kb * q.w.kc, k1 = k0 + q.w.kc < q.K ? k0 + q.w.kc : q.K;
    const float* w = q.w.value + ((g * q.w.row_blocks + rb) * q.K + k0) * Br;
    for (int k = k0; k < k1; ++k, w += Br, panel += T) {
      V p[W];
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) p[r] = loada(panel + r * VL);
#pragma GCC unroll 16
      for (int i = 0; i < Br; ++i) {
        const V wi = splat(w, Br, i);
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) acc[i][r] = fma(wi, p[r], acc[i][r]);
      }
    }
  }
};

}  // namespace SN_ISA
}  // namespace sn
