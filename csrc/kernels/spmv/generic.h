#pragma once

#include "kernels/panel/generic.h"
#include "kernels/spmv/spmv.h"

namespace sn {
namespace SN_ISA {

// How far ahead of their use weights beyond L2 (q.far) are fetched by hand, in bytes, and whether into L1 or L2 only:
// they come in long streams, and the hardware's prefetchers stop at each page. Nearer ones lose by it: 15 % of a dense
// LeNet-300-100. VGG-16's layers on a Zen 4, against 2 KB and L1 for all: dense weights 1.1-1.3 times as fast, 4x1
// blocks 1.05-1.2, 1x4 blocks 1.02; single weights lose a fifth if they go to L2.
struct Ahead {
  int bytes;
  bool l1;
};
constexpr Ahead kSingle{2048, true}, kBlocks{8192, false}, kDense{1024, false};

SN_INLINE void fetch_ahead(const void* p, Ahead ahead) {
  const char* at = static_cast<const char*>(p) + ahead.bytes;
  ahead.l1 ? __builtin_prefetch(at, 0, 3) : __builtin_prefetch(at, 0, 2);
}

// The first n lanes, zeros behind.
SN_INLINE V first(V a, int n) {
  alignas(64) static const float lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return select(lt(loada(lane), set1(static_cast<float>(n))), a, zero());
}

// sums[i] = row i of n blocks of Br x Bc, times x. Two accumulators: gathering takes longer than the FMAs.
// A row's last vector reads past its end, into the next row or the padding behind the last: valid indices, whose x is
// masked. Where K is no multiple of Bc, `ragged`, a block may reach past x's K floats: the last ones go one by one.
template <int Br, int Bc, bool Far>
SN_INLINE void sparse_dots(const uint16_t* index, const float* w, int64_t n, const float* x, int K, bool ragged,
                           float* sums) {
  constexpr int kBlock = Br * Bc;
  constexpr Ahead kAhead = kBlock == 1 ? kSingle : kBlocks;
  static_assert(kBlock == 1 || (kBlock == 4 && (Br == 1 || Bc == 1)), "no gather for these blocks");
  constexpr int kEntries = VL > kBlock ? VL / kBlock : 1;  // of a vector
  constexpr int kParts = VL > kBlock ? 1 : kBlock / VL;    // vectors of an entry
  const auto operand = [&](int64_t e, int part) {
    if constexpr (kBlock == 1) return gather(x, index + e);
    if constexpr (Br == 1) return gather_fours(x + part * VL, index + e);
    return gather_splats(x, index + e);
  };
  V acc[2][kParts];
  for (int i = 0; i < kParts; ++i) acc[0][i] = acc[1][i] = zero();
  float rest = 0;
  if (ragged && n > 0) {
    const int64_t whole = (n - 1) / kEntries * kEntries;
    for (int64_t i = whole; i < n; ++i) {
      for (int j = 0; j < Bc && index[i] + j < K; ++j) rest += w[i * Bc + j] * x[index[i] + j];
    }
    n = whole;
  }
  int64_t e = 0;
  for (; e + 2 * kEntries <= n; e += 2 * kEntries) {
    for (int i = 0; i < 2 * kEntries * kBlock && Far; i += 16) fetch_ahead(w + e * kBlock + i, kAhead);
    if (Far) fetch_ahead(index + e, kAhead);
    for (int c = 0; c < 2; ++c) {
      const int64_t at = e + c * kEntries;
      for (int i = 0; i < kParts; ++i) acc[c][i] = fma(load(w + at * kBlock + i * VL), operand(at, i), acc[c][i]);
    }
  }
  for (; e + kEntries <= n; e += kEntries) {
    for (int i = 0; i < kParts; ++i) acc[0][i] = fma(load(w + e * kBlock + i * VL), operand(e, i), acc[0][i]);
  }
  if (e < n) {
    const int left = static_cast<int>(n - e) * kBlock;
    acc[1][0] = fma(load_n(w + e * kBlock, left), first(operand(e, 0), left), acc[1][0]);
  }
  if (Br == 1) {
    sums[0] = rest;
    for (int i = 0; i < kParts; ++i) sums[0] += hsum(add(acc[0][i], acc[1][i]));
    return;
  }
  alignas(64) float lane[VL * kParts];
  for (int i = 0; i < kParts; ++i) storea(lane + i * VL, add(acc[0][i], acc[1][i]));
  for (int i = 0; i < Br; ++i) {
    sums[i] = 0;
    for (int j = i; j < VL * kParts; j += Br) sums[i] += lane[j];
  }
}

SN_INLINE void finish_rows(const MatrixProblem& q, const KernelArgs& args, int m0, int m1) {
  for (int64_t n = 0; n < args.batch; ++n) {
    float* y = args.out + n * q.M;
    const float* residual = q.has_residual ? args.in[1] + n * q.M : nullptr;
    for (int m = m0; m < m1; ++m) {
      const float v = y[m] + q.bias[m] + (residual ? residual[m] : 0.0f);
      y[m] = v < q.lo ? q.lo : v > q.hi ? q.hi : v;
    }
    if (q.act_after) act_row(y + m0, m1 - m0, q.epilogue);
  }
}

template <int Br, int Bc, bool Far>
void spmv_rows(const MatrixProblem& q, const KernelArgs& args, int rb0, int rb1) {
  for (int kb = 0; kb < q.w.k_blocks; ++kb) {
    const uint32_t* start = q.w.start + static_cast<int64_t>(kb) * q.w.row_blocks;
    const uint32_t* row = q.w.row + static_cast<int64_t>(kb) * q.w.row_blocks;
    for (int i = rb0; i < rb1; ++i) {
      const int64_t e = start[i], m = static_cast<int64_t>(row[i]) * Br;
      for (int64_t n = 0; n < args.batch; ++n) {
        float sums[Br];
        sparse_dots<Br, Bc, Far>(q.w.index + e, q.w.value + e * (Br * Bc), start[i + 1] - e,
                                 args.in[0] + n * q.K + kb * q.w.kc, q.K - kb * q.w.kc, Bc > 1 && q.K % Bc != 0, sums);
        float* y = args.out + n * q.M + m;
        for (int j = 0; j < Br && m + j < q.M; ++j) y[j] = kb == 0 ? sums[j] : y[j] + sums[j];
      }
    }
  }
}

template <int Br, int Bc>
void spmv_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int rb0 = q.chunk[begin], rb1 = q.chunk[end];
  q.far ? spmv_rows<Br, Bc, true>(q, args, rb0, rb1) : spmv_rows<Br, Bc, false>(q, args, rb0, rb1);
  finish_rows(q, args, rb0 * Br, rb1 * Br < q.M ? rb1 * Br : q.M);
}

// A row a lane. Rows of a slice come longest first, so the lanes that have an entry left are the first ones; x behind
// them is masked, as 0 * x is not 0 for every x.
template <bool Far>
void sell_rows(const MatrixProblem& q, const KernelArgs& args, int rb0, int rb1) {
  for (int i = rb0; i < rb1; i += VL) {
    const int rows = rb1 - i < VL ? rb1 - i : VL;
    const uint32_t* count = q.w.count + i;
    const int64_t begin = q.w.start[i / VL], all = begin + int64_t{count[VL - 1]} * VL,
                  end = begin + int64_t{count[0]} * VL;
    for (int64_t n = 0; n < args.batch; ++n) {
      const float* x = args.in[0] + n * q.K;
      V acc = zero();
      int64_t e = begin;
      for (; e < all; e += VL) {
        if (Far) fetch_ahead(q.w.value + e, kSingle), fetch_ahead(q.w.index + e, kSingle);
        acc = fma(load(q.w.value + e), gather(x, q.w.index + e), acc);
      }
      for (int left = rows; e < end; e += VL) {
        while (begin + int64_t{count[left - 1]} * VL <= e) --left;
        acc = fma(load(q.w.value + e), first(gather(x, q.w.index + e), left), acc);
      }
      alignas(64) float lane[VL];
      storea(lane, acc);
      float* y = args.out + n * q.M;
      for (int j = 0; j < rows; ++j) y[q.w.row[i + j]] = lane[j];
    }
  }
}

inline void sell_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int rb0 = q.chunk[begin], rb1 = q.chunk[end];
  q.far ? sell_rows<true>(q, args, rb0, rb1) : sell_rows<false>(q, args, rb0, rb1);
  finish_rows(q, args, rb0, rb1);
}

// y[n][..] of `Blocks` row blocks, whose streams of weights are read side by side.
template <int BR, int Blocks, bool Far>
SN_INLINE void dense_dots(const MatrixProblem& q, const float* rows, const float* x, int m, float* y) {
  constexpr int kVectors = BR / VL, kChains = Blocks < 4 ? 4 / Blocks : 1;  // of k, k+1, ...: an FMA takes four cycles
  const int64_t next = static_cast<int64_t>(q.K) * BR;
  const float* w = rows;
  V acc[kChains][Blocks][kVectors];
  for (int c = 0; c < kChains; ++c) {
    for (int b = 0; b < Blocks; ++b) {
      for (int v = 0; v < kVectors; ++v) acc[c][b][v] = zero();
    }
  }
  int k = 0;
  for (; k + kChains <= q.K; k += kChains, w += kChains * BR) {
#pragma GCC unroll 4
    for (int c = 0; c < kChains; ++c) {
      const V xk = set1(x[k + c]);
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) {
        if (Far && c * BR % 16 == 0) fetch_ahead(w + b * next + c * BR, kDense);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          acc[c][b][v] = fma(xk, load(w + b * next + c * BR + v * VL), acc[c][b][v]);
        }
      }
    }
  }
  for (; k < q.K; ++k, w += BR) {
    const V xk = set1(x[k]);
    for (int b = 0; b < Blocks; ++b) {
      for (int v = 0; v < kVectors; ++v) acc[0][b][v] = fma(xk, load(w + b * next + v * VL), acc[0][b][v]);
    }
  }
  for (int b = 0; b < Blocks; ++b) {
    for (int v = 0; v < kVectors; ++v) {
      for (int c = 1; c < kChains; ++c) acc[0][b][v] = add(acc[0][b][v], acc[c][b][v]);
      const int left = q.M - m - b * BR - v * VL;
      if (left > 0) store_n(y + b * BR + v * VL, acc[0][b][v], left < VL ? left : VL);
    }
  }
}

template <int BR, bool Far>
void gemv_rows(const MatrixProblem& q, const KernelArgs& args, int rb0, int rb1) {
  for (int rb = rb0; rb < rb1;) {
    const int blocks = rb1 - rb >= kGemvStreams ? kGemvStreams : 1;
    const float* rows = q.w.value + static_cast<int64_t>(rb) * q.K * BR;
    for (int64_t n = 0; n < args.batch; ++n) {
      const float* x = args.in[0] + n * q.K;
      float* y = args.out + n * q.M + rb * BR;
      if (blocks == 1) {
        dense_dots<BR, 1, Far>(q, rows, x, rb * BR, y);
      } else {
        dense_dots<BR, kGemvStreams, Far>(q, rows, x, rb * BR, y);
      }
    }
    rb += blocks;
  }
}

template <int BR>
void gemv_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int rb0 = q.chunk[begin], rb1 = q.chunk[end];
  q.far ? gemv_rows<BR, true>(q, args, rb0, rb1) : gemv_rows<BR, false>(q, args, rb0, rb1);
  finish_rows(q, args, rb0 * BR, rb1 * BR < q.M ? rb1 * BR : q.M);
}

}  // namespace SN_ISA
}  // namespace sn
