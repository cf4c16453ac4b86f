// Sparse rows times a panel, for any block shape: each entry loads bc panel rows and feeds br rows of accumulators.
#pragma once

#include "kernels/panel/generic.h"

namespace sn {
namespace SN_ISA {

template <int Br, int Bc, int Width>
struct Spmm {
  static constexpr int BR = Br, R = Width, T = Width * VL;

  Spmm(const MatrixProblem& q, const float* a_panel, int64_t g, int kb)
      : panel(a_panel),
        start(q.w.start + (g * q.w.k_blocks + kb) * q.w.row_blocks),
        rows(q.w.row + (g * q.w.k_blocks + kb) * q.w.row_blocks),
        index(q.w.index),
        value(q.w.value),
        count(nullptr),
        step(q.linear ? T : place_floats(q.layout, VL)) {
    if (!q.w.count) return;
    const int64_t slices = int64_t{kb} * ((q.w.row_blocks + kSlice - 1) / kSlice);
    start = q.w.start + slices;
    count = q.w.count + slices * kSlice;
  }

  SN_INLINE int64_t row(int64_t i) const { return rows[i]; }

  // One set of accumulators is enough even where it has fewer than the eight chains that FMA latency wants: rows are
  // independent, and with their lengths predicted the next row's work fills the gaps. Entries are counted up to zero
  // from behind the last one, as one instruction then counts and ends the loop: where a neighbour shares the core, the
  // number of instructions is what bounds it (docs/performance.md).
  template <bool Half, int W>
  SN_INLINE void mul(int64_t i, V (&acc)[BR][W]) const {
    if (Br == 1 && step == T && count) return interleaved<Half>(i, acc);
    const uint32_t from = start[i], end = start[i + 1];
    const uint16_t* to = index + end;
    const float* w = value + static_cast<int64_t>(end) * (Br * Bc);
    const int64_t first = static_cast<int64_t>(from) - end;
    if (step == kPlace) return entries<kPlace, Half>(panel, to, w, first, acc);
    step == 1 ? entries<1, Half>(panel, to, w, first, acc) : entries<T, Half>(panel, to, w, first, acc);
  }

 private:
  static constexpr int kPlace = place_floats(Layout::packed, VL), kSlice = slice_rows(Bc, VL);

  const float* panel;
  const uint32_t *start, *rows;
  const uint16_t* index;
  const float* value;
  const uint32_t* count;
  int step;  // floats that an index counts

  template <bool Half, int W>
  SN_INLINE void interleaved(int64_t i, V (&acc)[BR][W]) const {
    const int64_t from = start[i / kSlice] + i % kSlice, end = from + int64_t{count[i]} * kSlice;
    for (int64_t e = from; e != end; e += kSlice) {
      entry<Half>(row_at(panel, index[e] * int64_t{T}), value + e * Bc, acc);
    }
  }

  template <int Step, bool Half, int W>
  SN_INLINE static void entries(const float* panel, const uint16_t* to, const float* w, int64_t first,
                                V (&acc)[BR][W]) {
    for (int64_t e = first; e != 0; ++e) entry<Half>(row_at(panel, to[e] * int64_t{Step}), w + e * (Br * Bc), acc);
  }

  // acc += one block of weights times its panel rows. Registers hold its Br weights beside one vector of a panel row,
  // or the W vectors beside one weight, whichever are fewer; else they run out, and vectors are kept on the stack.
  template <bool Half, int W>
  SN_INLINE static void entry(const float* row, const float* w, V (&acc)[BR][W]) {
#pragma GCC unroll 4
    for (int j = 0; j < Bc; ++j, row += T) {
      if constexpr (Br > 1 && Br < W) {
        V wi[Br];
#pragma GCC unroll 16
        for (int i = 0; i < Br; ++i) wi[i] = splat(w + j * Br, Br, i);
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) {
          const bool half = Half && r == W - 1;
          const V p = half ? load_half(row + r * VL) : load_once(row + r * VL);
#pragma GCC unroll 16
          for (int i = 0; i < Br; ++i) acc[i][r] = half ? fma_half(wi[i], p, acc[i][r]) : fma(wi[i], p, acc[i][r]);
        }
        continue;
      }
#pragma GCC unroll 16
      for (int i = 0; i < Br; ++i) {
        const V wi = splat(w + j * Br, Br, i);
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) {
          const float* p = row + r * VL;
          acc[i][r] = Half && r == W - 1 ? fma_half(wi, load_half(p), acc[i][r]) : fma(wi, load(p), acc[i][r]);
        }
      }
    }
  }
};

}  // namespace SN_ISA
}  // namespace sn
