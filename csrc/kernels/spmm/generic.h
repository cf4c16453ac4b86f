// Sparse rows times a panel, for any block shape: each entry loads bc panel rows and feeds br rows of accumulators.
#pragma once

#include "kernels/panel/generic.h"

namespace sn {
namespace SN_ISA {

// acc += weight * panel row
template <bool Half, int W>
SN_INLINE void add_product(const float* row, V weight, V (&acc)[W]) {
#pragma GCC unroll 16
  for (int r = 0; r < W; ++r) {
    const float* p = row + r * VL;
    acc[r] = Half && r == W - 1 ? fma_half(weight, load_half(p), acc[r]) : fma(weight, load(p), acc[r]);
  }
}

// The same of Br rows, each vector loaded once.
template <bool Half, int Br, int W>
SN_INLINE void add_products(const float* row, const float* w, V (&acc)[Br][W]) {
  V wi[Br];
#pragma GCC unroll 16
  for (int i = 0; i < Br; ++i) wi[i] = splat(w, Br, i);
#pragma GCC unroll 16
  for (int r = 0; r < W; ++r) {
    const bool half = Half && r == W - 1;
    const V p = half ? load_half(row + r * VL) : load_once(row + r * VL);
#pragma GCC unroll 16
    for (int i = 0; i < Br; ++i) acc[i][r] = half ? fma_half(wi[i], p, acc[i][r]) : fma(wi[i], p, acc[i][r]);
  }
}

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
        step(q.linear ? T : place_floats(q.layout, VL)),
        far(q.linear && q.far) {
    if (!q.w.count) return;
    const int64_t slices = int64_t{kb} * ((q.w.row_blocks + kSlice - 1) / kSlice);
    start = q.w.start + slices;
    count = q.w.count + slices * kSlice;
  }

  SN_INLINE int64_t row(int64_t i, int j) const { return int64_t{rows[i]} * BR + j; }

  // Entries are counted up to zero from behind the last one, as one instruction then counts and ends the loop: where a
  // neighbour shares the core, the number of instructions is what bounds it (docs/performance.md).
  template <bool Half, int W>
  SN_INLINE void mul(int64_t i, V (&acc)[BR][W]) const {
    if (Br == 1 && step == T && count) return interleaved<Half>(i, acc);
    const uint32_t from = start[i], end = start[i + 1];
    const uint16_t* to = index + end;
    const float* w = value + static_cast<int64_t>(end) * (Br * Bc);
    const int64_t first = static_cast<int64_t>(from) - end;
    if (step == kPlace) return entries<kPlace, false, Half>(panel, to, w, first, acc);
    if (step == 1) return entries<1, false, Half>(panel, to, w, first, acc);
    far ? entries<T, true, Half>(panel, to, w, first, acc) : entries<T, false, Half>(panel, to, w, first, acc);
  }

 private:
  static constexpr int kPlace = place_floats(Layout::packed, VL), kSlice = slice_rows(Bc, VL);

  const float* panel;
  const uint32_t *start, *rows;
  const uint16_t* index;
  const float* value;
  const uint32_t* count;
  int step;  // floats that an index counts
  bool far;

  // One set of accumulators is enough even where it has fewer than the eight chains that FMA latency wants: rows are
  // independent, and with their lengths predicted the next row's work fills the gaps. But not those of fully connected
  // layers, some hundred entries each, which are what tiles of one vector or two are for.
  template <int W, class Entry>
  SN_INLINE static void each(int64_t e, int64_t end, int64_t step, V (&acc)[BR][W], Entry entry) {
    if constexpr (BR == 1 && R <= 2) {
      V other[BR][W];
      for (V& v : other[0]) v = zero();
      for (; e < end - step; e += 2 * step) entry(e, acc), entry(e + step, other);
      if (e < end) entry(e, acc);
      for (int r = 0; r < W; ++r) acc[0][r] = add(acc[0][r], other[0][r]);
    } else {
      for (; e != end; e += step) entry(e, acc);
    }
  }

  template <bool Half, int W>
  SN_INLINE void interleaved(int64_t i, V (&acc)[BR][W]) const {
    const int64_t from = start[i / kSlice] + i % kSlice, end = from + int64_t{count[i]} * kSlice;
    each(from, end, kSlice, acc, [&](int64_t e, V(&to)[BR][W]) __attribute__((always_inline)) {
      entry<Half>(row_at(panel, index[e] * int64_t{T}), value + e * Bc, to);
    });
  }

  template <int Step, bool Far, bool Half, int W>
  SN_INLINE static void entries(const float* panel, const uint16_t* to, const float* w, int64_t first,
                                V (&acc)[BR][W]) {
    each(first, 0, 1, acc, [&](int64_t e, V(&sums)[BR][W]) __attribute__((always_inline)) {
      if (Far) fetch_weights(w + e * (Br * Bc));
      entry<Half>(row_at(panel, to[e] * int64_t{Step}), w + e * (Br * Bc), sums);
    });
  }

  // acc += one block of weights times its panel rows. Registers hold its Br weights beside one vector of a panel row,
  // or the W vectors beside one weight, whichever are fewer; else they run out, and vectors are kept on the stack.
  template <bool Half, int W>
  SN_INLINE static void entry(const float* row, const float* w, V (&acc)[BR][W]) {
#pragma GCC unroll 4
    for (int j = 0; j < Bc; ++j, row += T) {
      if constexpr (Br > 1 && Br < W) {
        add_products<Half>(row, w + j * Br, acc);
        continue;
      }
#pragma GCC unroll 16
      for (int i = 0; i < Br; ++i) add_product<Half>(row, splat(w + j * Br, Br, i), acc[i]);
    }
  }
};

// Single weights of two rows. A load feeds one FMA, and CPUs that start as many of either have no more than 80 % of
// their FMA peak so (docs/performance.md); columns that both rows have take one load for two. Sparse Register Tiling
// (Wilkinson, Cheshmi and Dehnavi, "Register Tiling for Unstructured Sparsity in Neural Network Inference", PLDI 2023)
// with one pattern of both rows; the rest of each runs in one loop. We choose which rows meet.
template <int Width>
struct SpmmPairs {
  static constexpr int BR = 2, R = Width;

  SpmmPairs(const MatrixProblem& q, const float* a_panel, int64_t g, int kb)
      : panel(a_panel),
        start(q.w.start + 4 * (g * q.w.k_blocks + kb) * q.w.row_blocks),
        rows(q.w.row + 2 * (g * q.w.k_blocks + kb) * q.w.row_blocks),
        index(q.w.index),
        value(q.w.value),
        step(place_floats(q.layout, VL)) {}

  SN_INLINE int64_t row(int64_t i, int j) const { return rows[2 * i + j]; }

  template <bool Half, int W>
  SN_INLINE void mul(int64_t i, V (&acc)[BR][W]) const {
    step == kPlace ? entries<kPlace, Half>(start + 4 * i, acc) : entries<1, Half>(start + 4 * i, acc);
  }

 private:
  static constexpr int kPlace = place_floats(Layout::packed, VL);

  const float* panel;
  const uint32_t *start, *rows;
  const uint16_t* index;
  const float* value;
  int step;

  // Counted up to zero, as in Spmm.
  template <int Step, bool Half, int W>
  SN_INLINE void entries(const uint32_t* s, V (&acc)[BR][W]) const {
    const int64_t shared = int64_t{s[1]} - s[0], both = int64_t{s[2]} - s[1], rest = int64_t{s[4]} - s[2];
    const uint16_t* to = index + s[1];
    const float* w = value + s[3] + 2 * shared;
    for (int64_t e = -shared; e != 0; ++e) add_products<Half>(row_at(panel, to[e] * int64_t{Step}), w + 2 * e, acc);
    to += both, w += both;
    for (int64_t e = -both; e != 0; e += 2) {
      add_product<Half>(row_at(panel, to[e] * int64_t{Step}), splat(w + e, 1, 0), acc[0]);
      add_product<Half>(row_at(panel, to[e + 1] * int64_t{Step}), splat(w + e + 1, 1, 0), acc[1]);
    }
    to += rest, w += rest;
    for (int64_t e = -rest; e != 0; ++e) {
      add_product<Half>(row_at(panel, to[e] * int64_t{Step}), splat(w + e, 1, 0), acc[0]);
    }
  }
};

}  // namespace SN_ISA
}  // namespace sn
