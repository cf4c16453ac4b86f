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
        index(q.w.index),
        depth(q.K),
        count(q.K - kb * q.w.kc < q.w.kc ? q.K - kb * q.w.kc : q.w.kc),
        step(place_floats(q.layout, VL)),
        far(q.linear && q.far) {}

  SN_INLINE int64_t row(int64_t i, int j) const { return i * BR + j; }

  template <bool Half, int W>
  SN_INLINE void mul(int64_t i, V (&acc)[BR][W]) const {
    const float* w = value + i * depth * Br;
    if (R == 1 && far) {
      for (int k = 0; k < count; ++k, w += Br) {
        for (int i = 0; i < Br; i += 16) fetch_weights(w + i);
        column<Half>(panel + int64_t{k} * T, w, acc);
      }
    } else if (!index) {
      for (int k = 0; k < count; ++k, w += Br) column<Half>(panel + int64_t{k} * T, w, acc);
    } else if (step == 1) {
      for (int k = 0; k < count; ++k, w += Br) column<Half>(row_at(panel, index[k]), w, acc);
    } else {
      for (int k = 0; k < count; ++k, w += Br) column<Half>(row_at(panel, index[k] * int64_t{kPlace}), w, acc);
    }
  }

 private:
  static constexpr int kPlace = place_floats(Layout::packed, VL);

  const float *panel, *value;
  const uint16_t* index;  // of a strip
  int64_t depth;
  int count, step;
  bool far;

  // acc += one column of the weights times its panel row
  template <bool Half, int W>
  SN_INLINE static void column(const float* row, const float* w, V (&acc)[BR][W]) {
    V p[W];
#pragma GCC unroll 16
    for (int r = 0; r < W; ++r) p[r] = Half && r == W - 1 ? load_half(row + r * VL) : load(row + r * VL);
#pragma GCC unroll 16
    for (int i = 0; i < Br; ++i) {
      const V wi = splat(w, Br, i);
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) {
        acc[i][r] = Half && r == W - 1 ? fma_half(wi, p[r], acc[i][r]) : fma(wi, p[r], acc[i][r]);
      }
    }
  }
};

}  // namespace SN_ISA
}  // namespace sn
