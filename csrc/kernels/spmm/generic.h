// Sparse rows times a panel, for any block shape: each entry loads bc panel rows and feeds br rows of accumulators.
#pragma once

#include "kernels/panel/generic.h"

namespace sn {
namespace SN_ISA {

template <int Br, int Bc, int Width>
struct Spmm {
  static constexpr int BR = Br, R = Width, T = Width * VL;

  SN_INLINE static int row(const MatrixProblem& q, int64_t g, int kb, int i) {
    return static_cast<int>(q.w.row[(g * q.w.k_blocks + kb) * q.w.row_blocks + i]);
  }

  // One set of accumulators is enough even where it has fewer than the eight chains that FMA latency wants: rows are
  // independent, and with their lengths predicted the next row's work fills the gaps.
  template <int W>
  SN_INLINE static void mul(const MatrixProblem& q, const float* panel, int64_t g, int kb, int i, V (&acc)[BR][W]) {
    const int64_t s = (g * q.w.k_blocks + kb) * q.w.row_blocks + i;
    const uint32_t e0 = q.w.start[s], e1 = q.w.start[s + 1];
    const uint16_t* index = q.w.index + e0;
    const uint16_t* const end = q.w.index + e1;
    const float* w = q.w.value + static_cast<int64_t>(e0) * (Br * Bc);
    // Two loops, as a constant distance between rows spares a multiplication an entry.
    if (q.sliding && Bc == 1) {
      for (; index != end; ++index, w += Br) entry(row_at(panel, *index * int64_t{VL}), w, acc);
    } else {
      for (; index != end; ++index, w += Br * Bc) entry(row_at(panel, *index * int64_t{T}), w, acc);
    }
  }

 private:
  // acc += one block of weights times its panel rows
  template <int W>
  SN_INLINE static void entry(const float* row, const float* w, V (&acc)[BR][W]) {
#pragma GCC unroll 4
    for (int j = 0; j < Bc; ++j, row += T) {
#pragma GCC unroll 16
      for (int i = 0; i < Br; ++i) {
        const V wi = splat(w + j * Br, Br, i);
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) acc[i][r] = fma(wi, loada(row + r * VL), acc[i][r]);
      }
    }
  }
};

}  // namespace SN_ISA
}  // namespace sn
