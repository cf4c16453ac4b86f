#pragma once

#include "kernels/panel/generic.h"
#include "kernels/spmv/spmv.h"

namespace sn {
namespace SN_ISA {

// How far ahead of their use weights are fetched by hand, in bytes: they come from memory, in one long stream, and the
// hardware's prefetchers stop at each page.
constexpr int kAhead = 2048;

SN_INLINE void fetch_ahead(const void* p) {
  __builtin_prefetch(static_cast<const char*>(p) + kAhead);
}

// Two accumulators: a gather takes about as long as the FMA it feeds. A row's last vector reads past its end, into the
// next row or the padding behind the last; those values are masked to zero, and their indices are valid ones.
SN_INLINE float sparse_dot(const uint16_t* index, const float* w, int64_t n, const float* x) {
  V s0 = zero(), s1 = zero();
  int64_t e = 0;
  for (; e + 2 * VL <= n; e += 2 * VL) {
    for (int i = 0; i < 2 * VL; i += 16) fetch_ahead(w + e + i);
    fetch_ahead(index + e);
    s0 = fma(load(w + e), gather(x, index + e), s0);
    s1 = fma(load(w + e + VL), gather(x, index + e + VL), s1);
  }
  for (; e < n; e += VL) {
    const int left = n - e < VL ? static_cast<int>(n - e) : VL;
    s0 = fma(load_n(w + e, left), gather(x, index + e), s0);
  }
  return hsum(add(s0, s1));
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

inline void spmv_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int m0 = q.chunk[begin], m1 = q.chunk[end];
  for (int kb = 0; kb < q.w.k_blocks; ++kb) {
    const uint32_t* start = q.w.start + static_cast<int64_t>(kb) * q.w.row_blocks;
    const uint32_t* row = q.w.row + static_cast<int64_t>(kb) * q.w.row_blocks;
    for (int i = m0; i < m1; ++i) {
      const uint32_t e = start[i], m = row[i];
      for (int64_t n = 0; n < args.batch; ++n) {
        const float s = sparse_dot(q.w.index + e, q.w.value + e, start[i + 1] - e, args.in[0] + n * q.K + kb * q.w.kc);
        args.out[n * q.M + m] = kb == 0 ? s : args.out[n * q.M + m] + s;
      }
    }
  }
  finish_rows(q, args, m0, m1);
}

template <int BR>
void gemv_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  constexpr int kVectors = BR / VL, kChains = 4;  // chains of k, k+1, ...: an FMA's latency is about four cycles
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int rb0 = q.chunk[begin], rb1 = q.chunk[end];
  for (int rb = rb0; rb < rb1; ++rb) {
    const float* rows = q.w.value + static_cast<int64_t>(rb) * q.K * BR;
    const int left = q.M - rb * BR;
    for (int64_t n = 0; n < args.batch; ++n) {
      const float* x = args.in[0] + n * q.K;
      const float* w = rows;
      V acc[kChains][kVectors];
      for (int c = 0; c < kChains; ++c) {
        for (int v = 0; v < kVectors; ++v) acc[c][v] = zero();
      }
      int k = 0;
      for (; k + kChains <= q.K; k += kChains, w += kChains * BR) {
#pragma GCC unroll 4
        for (int c = 0; c < kChains; ++c) {
          if (c * BR % 16 == 0) fetch_ahead(w + c * BR);
          const V xk = set1(x[k + c]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) acc[c][v] = fma(xk, load(w + c * BR + v * VL), acc[c][v]);
        }
      }
      for (; k < q.K; ++k, w += BR) {
        const V xk = set1(x[k]);
        for (int v = 0; v < kVectors; ++v) acc[0][v] = fma(xk, load(w + v * VL), acc[0][v]);
      }
      float* y = args.out + n * q.M + rb * BR;
      for (int v = 0; v < kVectors && v * VL < left; ++v) {
        const V s = add(add(acc[0][v], acc[1][v]), add(acc[2][v], acc[3][v]));
        store_n(y + v * VL, s, left - v * VL < VL ? left - v * VL : VL);
      }
    }
  }
  finish_rows(q, args, rb0 * BR, rb1 * BR < q.M ? rb1 * BR : q.M);
}

}  // namespace SN_ISA
}  // namespace sn
