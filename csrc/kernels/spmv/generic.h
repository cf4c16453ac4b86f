#pragma once

#include "kernels/panel/generic.h"
#include "kernels/spmv/spmv.h"

namespace sn {
namespace SN_ISA {

// How far ahead of their use weights beyond L2 (q.far) are fetched by hand, in bytes, and whether into L1 or L2 only:
// they come in long streams, and the hardware's prefetchers stop at each page. Nearer ones lose by it: 15 % of a dense
// LeNet-300-100. VGG-16's layers on a Zen 4, against 2 KB and L1 for all: dense weights 1.1-1.3 times as fast, 4x1
// blocks 1.05-1.2, 1x4 blocks 1.02 (with 8 KB; 32 KB are level or better), interleaved rows 1.05 (50 % zeros),
// 1.15-1.3 (80 %) and 1.2-1.3 (90 and 95 %), from 16 KB on much the same; CSR of single weights loses a fifth if it
// goes to L2. Fewer than four streams of dense weights, as several samples leave, run 2.3 times as fast (AVX2, batch 8)
// with 32 KB as with 1 KB.
struct Ahead {
  int bytes;
  bool l1;
};
constexpr Ahead kCsr{2048, true}, kFar{32768, false}, kDense{1024, false};

SN_INLINE void fetch_ahead(const void* p, Ahead ahead) {
  const char* at = static_cast<const char*>(p) + ahead.bytes;
  ahead.l1 ? __builtin_prefetch(at, 0, 3) : __builtin_prefetch(at, 0, 2);
}

// Weights are W: float, or uint16_t for half floats.
SN_INLINE const float* weights(const PackedWeights& w, float) {
  return w.value;
}
SN_INLINE const uint16_t* weights(const PackedWeights& w, uint16_t) {
  return w.half;
}
SN_INLINE V load_weights(const float* w) {
  return load(w);
}
SN_INLINE V load_weights(const uint16_t* w) {
  return load_f16(w);
}
// Where what lies behind the first n meets zeros; half floats are finite, and 0 times any of them is 0.
SN_INLINE V load_weights_n(const float* w, int n) {
  return load_n(w, n);
}
SN_INLINE V load_weights_n(const uint16_t* w, int) {
  return load_f16(w);
}

template <class W>
constexpr int kLine = 64 / sizeof(W);  // weights of a cache line

// The first n lanes, zeros behind.
SN_INLINE V first(V a, int n) {
  alignas(64) static const float lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return select(lt(loada(lane), set1(static_cast<float>(n))), a, zero());
}

// sums[i] = row i of n blocks of Br x 1, times x. Two accumulators: gathering takes longer than the FMAs.
// A row's last vector reads past its end, into the next row or the padding behind the last: valid indices, whose x is
// masked.
template <int Br, bool Far, class W>
SN_INLINE void sparse_dots(const uint16_t* index, const W* w, int64_t n, const float* x, float* sums) {
  constexpr Ahead kAhead = Br == 1 ? kCsr : kFar;
  static_assert(Br == 1 || Br == 4, "no gather for these blocks");
  constexpr int kEntries = VL > Br ? VL / Br : 1;  // of a vector
  constexpr int kParts = VL > Br ? 1 : Br / VL;    // vectors of an entry
  const auto operand = [&](int64_t e) {
    if constexpr (Br == 1) return gather(x, index + e);
    return gather_splats(x, index + e);
  };
  V acc[2][kParts];
  for (int i = 0; i < kParts; ++i) acc[0][i] = acc[1][i] = zero();
  int64_t e = 0;
  for (; e + 2 * kEntries <= n; e += 2 * kEntries) {
    for (int i = 0; i < 2 * kEntries * Br && Far; i += kLine<W>) fetch_ahead(w + e * Br + i, kAhead);
    if (Far) fetch_ahead(index + e, kAhead);
    for (int c = 0; c < 2; ++c) {
      const int64_t at = e + c * kEntries;
      for (int i = 0; i < kParts; ++i) {
        acc[c][i] = fma(load_weights(w + at * Br + i * VL), operand(at), acc[c][i]);
      }
    }
  }
  for (; e + kEntries <= n; e += kEntries) {
    for (int i = 0; i < kParts; ++i) acc[0][i] = fma(load_weights(w + e * Br + i * VL), operand(e), acc[0][i]);
  }
  if (e < n) {
    const int left = static_cast<int>(n - e) * Br;
    acc[1][0] = fma(load_weights_n(w + e * Br, left), first(operand(e), left), acc[1][0]);
  }
  if (Br == 1) {
    sums[0] = hsum(add(acc[0][0], acc[1][0]));
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

template <int Br, bool Far, class W>
void spmv_rows(const MatrixProblem& q, const KernelArgs& args, int rb0, int rb1) {
  for (int kb = 0; kb < q.w.k_blocks; ++kb) {
    const uint32_t* start = q.w.start + static_cast<int64_t>(kb) * q.w.row_blocks;
    const uint32_t* row = q.w.row + static_cast<int64_t>(kb) * q.w.row_blocks;
    for (int i = rb0; i < rb1; ++i) {
      const int64_t e = start[i], m = static_cast<int64_t>(row[i]) * Br;
      for (int64_t n = 0; n < args.batch; ++n) {
        float sums[Br];
        sparse_dots<Br, Far>(q.w.index + e, weights(q.w, W{}) + e * Br, start[i + 1] - e,
                             args.in[0] + n * q.K + kb * q.w.kc, sums);
        float* y = args.out + n * q.M + m;
        for (int j = 0; j < Br && m + j < q.M; ++j) y[j] = kb == 0 ? sums[j] : y[j] + sums[j];
      }
    }
  }
}

template <int Br, class W>
void spmv_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int rb0 = q.chunk[begin], rb1 = q.chunk[end];
  q.far ? spmv_rows<Br, true, W>(q, args, rb0, rb1) : spmv_rows<Br, false, W>(q, args, rb0, rb1);
  finish_rows(q, args, rb0 * Br, rb1 * Br < q.M ? rb1 * Br : q.M);
}

// sums[j * Bc + b] = column b of row j's blocks, times x; count[j] of them, side by side (PackedWeights::count). Those
// rows come longest first, so the lanes that have an entry left are the first ones; x behind them is masked, as 0 * x
// is not 0 for every x. Where K is no multiple of Bc, `ragged`, the last block of a row may reach past x's K floats,
// which are copied then. Which accumulator an entry goes to is not a matter of the other rows: they change with the
// threads.
template <int Bc, bool Far, class W>
SN_INLINE void sell_dots(const uint32_t* count, const uint16_t* index, const W* w, const float* x, int K, bool ragged,
                         int rows, float* sums) {
  constexpr int kSlice = slice_rows(Bc, VL), kParts = kSlice * Bc / VL;  // vectors of an entry of all rows
  constexpr int kSets = Bc == 1 ? 1 : 2;  // two of single weights: VGG-16's layers 5-10 % slower, LeNet's 3 % faster
  const auto operand = [&](int64_t e, int part) {
    if constexpr (Bc == 1) return gather(x, index + e * kSlice);
    return VL < Bc ? gather_fours(x + part % Bc, index + e * kSlice + part / Bc)
                   : gather_fours(x, index + e * kSlice + part * (VL / Bc));
  };
  V acc[kSets][kParts];
  for (V(&set)[kParts] : acc) {
    for (V& v : set) v = zero();
  }
  const int64_t most = count[0], least = count[kSlice - 1], all = ragged && least > 0 ? least - 1 : least;
  int64_t e = 0;
  for (; e + kSets <= all; e += kSets) {
    for (int f = 0; f < kSets * kSlice * Bc && Far; f += kLine<W>) fetch_ahead(w + e * kSlice * Bc + f, kFar);
    if (Far) fetch_ahead(index + e * kSlice, kFar);
    for (int c = 0; c < kSets; ++c) {
      for (int p = 0; p < kParts; ++p) {
        acc[c][p] = fma(load_weights(w + (e + c) * kSlice * Bc + p * VL), operand(e + c, p), acc[c][p]);
      }
    }
  }
  int left = rows;
  const auto add_rest = [&](V(&set)[kParts]) {
    if (ragged) {
      alignas(64) float safe[kSlice * Bc] = {};
      for (int j = 0; j < left; ++j) {
        const int column = index[e * kSlice + j];
        for (int b = 0; b < Bc && column + b < K; ++b) safe[j * Bc + b] = x[column + b];
      }
      for (int p = 0; p < kParts; ++p) {
        set[p] = fma(load_weights(w + e * kSlice * Bc + p * VL), loada(safe + p * VL), set[p]);
      }
      return;
    }
    for (int p = 0; p < kParts && p * VL < left * Bc; ++p) {
      set[p] = fma(load_weights(w + e * kSlice * Bc + p * VL), first(operand(e, p), left * Bc - p * VL), set[p]);
    }
  };
  for (; e < most; ++e) {
    while (count[left - 1] <= e) --left;
    e % kSets == 0 ? add_rest(acc[0]) : add_rest(acc[kSets - 1]);
  }
  for (int p = 0; p < kParts; ++p) {
    storea(sums + p * VL, kSets == 1 ? acc[0][p] : add(acc[0][p], acc[kSets - 1][p]));
  }
}

template <int Bc, bool Far, class W>
void sell_rows(const MatrixProblem& q, const KernelArgs& args, int rb0, int rb1) {
  constexpr int kSlice = slice_rows(Bc, VL);
  const int64_t slices = (q.w.row_blocks + kSlice - 1) / kSlice;
  for (int kb = 0; kb < q.w.k_blocks; ++kb) {
    const int K = q.K - kb * q.w.kc;
    const bool ragged = Bc > 1 && kb + 1 == q.w.k_blocks && K % Bc != 0;
    for (int i = rb0; i < rb1; i += kSlice) {
      const int rows = rb1 - i < kSlice ? rb1 - i : kSlice;
      const int64_t slice = kb * slices + i / kSlice, from = q.w.start[slice];
      const uint32_t* row = q.w.row + int64_t{kb} * q.w.row_blocks + i;
      for (int64_t n = 0; n < args.batch; ++n) {
        alignas(64) float sums[kSlice * Bc];
        sell_dots<Bc, Far>(q.w.count + slice * kSlice, q.w.index + from, weights(q.w, W{}) + from * Bc,
                           args.in[0] + n * q.K + kb * q.w.kc, K, ragged, rows, sums);
        float* y = args.out + n * q.M;
        for (int j = 0; j < rows; ++j) {
          float sum = sums[j * Bc];
          for (int b = 1; b < Bc; ++b) sum += sums[j * Bc + b];
          y[row[j]] = kb == 0 ? sum : y[row[j]] + sum;
        }
      }
    }
  }
}

template <int Bc, class W>
void sell_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int rb0 = q.chunk[begin], rb1 = q.chunk[end];
  q.far ? sell_rows<Bc, true, W>(q, args, rb0, rb1) : sell_rows<Bc, false, W>(q, args, rb0, rb1);
  finish_rows(q, args, rb0, rb1);
}

// Vectors of sums that half of the registers hold.
constexpr int kSums = VL == 8 ? 8 : 16;

// y[n][..] of `Blocks` row blocks, whose streams of weights are read side by side, and of up to S samples, to whom each
// weight goes as it comes. Behind the last sample its x stands in for those that are missing. Sums of k, k + 1, ... go
// to so many chains, as an FMA takes four cycles.
template <int BR, int Blocks, int Chains, int S, bool Far, class W>
SN_INLINE void dense_dots(const MatrixProblem& q, const KernelArgs& args, W, int64_t n, int samples, int rb) {
  constexpr int kVectors = BR / VL;
  constexpr Ahead kAhead = Blocks == kGemvStreams ? kDense : kFar;
  const int64_t next = static_cast<int64_t>(q.K) * BR;
  const W* w = weights(q.w, W{}) + rb * next;
  const float* sample[S];
  for (int s = 0; s < S; ++s) sample[s] = args.in[0] + (n + (s < samples ? s : samples - 1)) * q.K;
  V acc[Chains][S][Blocks][kVectors];
#pragma GCC unroll 4
  for (int c = 0; c < Chains; ++c) {
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) acc[c][s][b][v] = zero();
      }
    }
  }
  const auto take = [&](int64_t k, V(&sums)[S][Blocks][kVectors]) {
    V row[Blocks][kVectors];
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) {
      if (Far) fetch_ahead(w + b * next + k * BR, kAhead);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) row[b][v] = load_weights(w + b * next + k * BR + v * VL);
    }
#pragma GCC unroll 8
    for (int s = 0; s < S; ++s) {
      const V xk = set1(sample[s][k]);
#pragma GCC unroll 4
      for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[s][b][v] = fma(xk, row[b][v], sums[s][b][v]);
      }
    }
  };
  int64_t k = 0;
  for (; k + Chains <= q.K; k += Chains) {
#pragma GCC unroll 4
    for (int c = 0; c < Chains; ++c) take(k + c, acc[c]);
  }
  for (; k < q.K; ++k) take(k, acc[0]);
#pragma GCC unroll 8
  for (int s = 0; s < S; ++s) {
    if (s >= samples) return;
#pragma GCC unroll 4
    for (int b = 0; b < Blocks; ++b) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 4
        for (int c = 1; c < Chains; ++c) acc[0][s][b][v] = add(acc[0][s][b][v], acc[c][s][b][v]);
        const int m = (rb + b) * BR + v * VL, left = q.M - m;
        if (left > 0) store_n(args.out + (n + s) * q.M + m, acc[0][s][b][v], left < VL ? left : VL);
      }
    }
  }
}

constexpr int at_most(int a, int b) {
  return a < b ? a : b;
}

// As many as registers hold the sums of, with one stream of row blocks.
constexpr int most_samples(int br) {
  return at_most(kSums / (br / VL), 8);
}

// S samples at most, by as many streams as there are registers for their sums; the last few row blocks one by one, in
// chains. So the order of a sum depends neither on the number of samples nor on that of threads.
template <int BR, int S, bool Far, class W>
void gemv_samples(const MatrixProblem& q, const KernelArgs& args, int64_t n, int samples, int rb0, int rb1) {
  constexpr int kFit = kSums / (BR / VL), kBlocks = at_most(kFit / S, kGemvStreams);
  constexpr int kChains = 4, kPart = at_most(kFit >= kChains ? kFit / kChains : 1, S);
  int rb = rb0;
  for (const int even = rb1 - (rb1 - rb0) % kGemvStreams; rb < even; rb += kBlocks) {
    dense_dots<BR, kBlocks, 1, S, Far>(q, args, W{}, n, samples, rb);
  }
  for (; rb < rb1; ++rb) {
    for (int s = 0; s < samples; s += kPart) {
      dense_dots<BR, 1, kChains, kPart, Far>(q, args, W{}, n + s, at_most(samples - s, kPart), rb);
    }
  }
}

template <int BR, bool Far, class W>
void gemv_rows(const MatrixProblem& q, const KernelArgs& args, int rb0, int rb1) {
  constexpr int kMost = most_samples(BR);
  for (int64_t n = 0; n < args.batch; n += kMost) {
    const int samples = args.batch - n < kMost ? static_cast<int>(args.batch - n) : kMost;
    if (samples == 1) {
      gemv_samples<BR, 1, Far, W>(q, args, n, samples, rb0, rb1);
    } else if (samples <= kMost / 2) {
      gemv_samples<BR, kMost / 2, Far, W>(q, args, n, samples, rb0, rb1);
    } else {
      gemv_samples<BR, kMost, Far, W>(q, args, n, samples, rb0, rb1);
    }
  }
}

template <int BR, class W>
void gemv_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int rb0 = q.chunk[begin], rb1 = q.chunk[end];
  q.far ? gemv_rows<BR, true, W>(q, args, rb0, rb1) : gemv_rows<BR, false, W>(q, args, rb0, rb1);
  finish_rows(q, args, rb0 * BR, rb1 * BR < q.M ? rb1 * BR : q.M);
}

}  // namespace SN_ISA
}  // namespace sn
