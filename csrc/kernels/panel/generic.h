// The body of panel.h's loop for one ISA: packing, and the driver around a micro-kernel.
//
// A micro-kernel is a type with
//   static constexpr int BR, R;                                  // rows and vectors of accumulators
//   static void mul(const MatrixProblem&, const float* panel, int64 group, int k_block, int row_block, V (&acc)[BR][R])
// that adds the product of one segment of weights with the panel to acc.
#pragma once

#include "kernels/panel/panel.h"
#include "simd/math.h"

namespace sn {
namespace SN_ISA {

constexpr int kMaxTile = 256;  // pixels: the widest tile of any kernels.inc row

SN_INLINE void copy_row(float* dst, const float* src, int n) {
  int i = 0;
  for (; i + VL <= n; i += VL) store(dst + i, load(src + i));
  if (i < n) store_n(dst + i, load_n(src + i, n - i), n - i);
}

SN_INLINE void zero_row(float* dst, int n) {
  int i = 0;
  for (; i + VL <= n; i += VL) store(dst + i, zero());
  if (i < n) store_n(dst + i, zero(), n - i);
}

SN_INLINE void copy_strided(float* dst, const float* src, int n, int stride) {
  if (stride == 1) return copy_row(dst, src, n);
  if (stride == 2) {
    for (int i = 0; i < n; ++i) dst[i] = src[2 * i];
  } else {
    for (int i = 0; i < n; ++i) dst[i] = src[static_cast<int64_t>(stride) * i];
  }
}

// Pixels of one tile that lie in one output row.
struct Run {
  int32_t oh, ow, len, at;
};

// panel[k - k0][T] = col(n, g, k, p0 ...) for k in [k0, k1); pixels past the last are left as they are, for no result
// is stored from them; rows up to k0 + rows are zeroed (what a column block past K multiplies).
inline __attribute__((noinline)) void pack_panel(const MatrixProblem& q, const float* x, int64_t p0, int n, int tile,
                                                 int k0, int k1, int rows, float* panel) {
  if (q.flat) {  // a 1x1 layer at stride 1: the plane is the row of pixels
    for (int k = k0; k < k1; ++k, panel += tile) copy_row(panel, x + static_cast<int64_t>(k) * q.W + p0, n);
  } else {
    Run runs[kMaxTile];
    int count = 0;
    for (int at = 0; at < n; ++count) {
      const int32_t p = static_cast<int32_t>(p0) + at, oh = p / q.OW, ow = p % q.OW;
      const int32_t len = q.OW - ow < n - at ? q.OW - ow : n - at;
      runs[count] = {oh, ow, len, at};
      at += len;
    }
    const int32_t window = q.KH * q.KW;
    int c = k0 / window, kh = k0 % window / q.KW, kw = k0 % q.KW;
    for (int k = k0; k < k1; ++k, panel += tile) {
      const float* plane = x + static_cast<int64_t>(c) * q.H * q.W;
      const int32_t dh = kh * q.DH - q.PT, dw = kw * q.DW - q.PL;
      // iw = ow*SW + dw lies inside for ow in [first, last)
      const int32_t first = dw >= 0 ? 0 : (-dw + q.SW - 1) / q.SW;
      const int32_t inside = q.W - dw;
      const int32_t last = inside <= 0 ? 0 : (inside + q.SW - 1) / q.SW;
      for (int i = 0; i < count; ++i) {
        const Run& r = runs[i];
        float* dst = panel + r.at;
        const int32_t ih = r.oh * q.SH + dh;
        int32_t a = first - r.ow, b = last - r.ow;
        a = a < 0 ? 0 : a;
        b = b > r.len ? r.len : b;
        if (ih < 0 || ih >= q.H || a >= b) {
          zero_row(dst, r.len);
          continue;
        }
        if (a > 0) zero_row(dst, a);
        copy_strided(dst + a, plane + static_cast<int64_t>(ih) * q.W + (r.ow + a) * q.SW + dw, b - a, q.SW);
        if (b < r.len) zero_row(dst + b, r.len - b);
      }
      if (++kw == q.KW) {
        kw = 0;
        if (++kh == q.KH) kh = 0, ++c;
      }
    }
  }
  for (int k = k1 - k0; k < rows; ++k, panel += tile) zero_row(panel, tile);
}

// The same for a fully connected layer: panel[k - k0][j] = x[j][k], j < n.
inline __attribute__((noinline)) void pack_linear(const float* x, int64_t K, int n, int tile, int k0, int k1, int rows,
                                                  float* panel) {
  for (int k = k0; k < k1; ++k, panel += tile) copy_strided(panel, x + k, n, static_cast<int>(K));
  for (int k = k1 - k0; k < rows; ++k, panel += tile) zero_row(panel, tile);
}

inline __attribute__((noinline)) void act_row(float* y, int64_t n, const Epilogue& e) {
  const V a = set1(e.a), b = set1(e.b);
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(y + i, apply(e.act, load(y + i), a, b));
  if (i < n) {
    const int tail = static_cast<int>(n - i);
    store_n(y + i, apply(e.act, load_n(y + i, tail), a, b), tail);
  }
}

// y[0..n) = clamp(acc + bias + residual), R vectors
template <int R>
SN_INLINE void store_row(const V (&acc)[R], float bias, const float* residual, float lo, float hi, float* y, int n) {
  const V b = set1(bias), l = set1(lo), h = set1(hi);
  if (n == R * VL) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      V v = add(acc[r], b);
      if (residual) v = add(v, load(residual + r * VL));
      store(y + r * VL, min(h, max(l, v)));
    }
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const int left = n - r * VL;
    if (left <= 0) return;
    const int lanes = left < VL ? left : VL;
    V v = add(acc[r], b);
    if (residual) v = add(v, load_n(residual + r * VL, lanes));
    store_n(y + r * VL, min(h, max(l, v)), lanes);
  }
}

// The last step of a fully connected tile: sums[m][tile] -> y[j][m], transposed.
inline __attribute__((noinline)) void store_linear(const MatrixProblem& q, const float* sums, int tile, int rb0,
                                                   int rb1, const float* residual, float* y, int n) {
  const int m0 = rb0 * q.w.br, m1 = rb1 * q.w.br < q.M ? rb1 * q.w.br : q.M;
  for (int j = 0; j < n; ++j) {
    float* row = y + static_cast<int64_t>(j) * q.M;
    for (int m = m0; m < m1; ++m) {
      float v = sums[static_cast<int64_t>(m) * tile + j] + q.bias[m];
      if (residual) v += residual[static_cast<int64_t>(j) * q.M + m];
      row[m] = v < q.lo ? q.lo : v > q.hi ? q.hi : v;
    }
    if (q.act_after) act_row(row + m0, m1 - m0, q.epilogue);
  }
}

template <class Micro>
int64_t panel_tasks(const void* params, int64_t batch) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  constexpr int T = Micro::R * VL;
  if (q.linear) return (batch + T - 1) / T * q.chunks;
  const int64_t pixels = static_cast<int64_t>(q.OH) * q.OW;
  return batch * q.groups * ((pixels + T - 1) / T) * q.chunks;
}

template <class Micro>
void panel_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  constexpr int BR = Micro::BR, R = Micro::R, T = R * VL;
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int64_t pixels = q.linear ? args.batch : static_cast<int64_t>(q.OH) * q.OW;
  const int64_t tiles = (pixels + T - 1) / T;
  const int64_t in_plane = static_cast<int64_t>(q.C) * q.H * q.W;
  float* panel = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(args.scratch) + 63) & ~uintptr_t{63});
  float* sums = panel + static_cast<int64_t>(q.w.kc + q.w.bc) * T;

  for (int64_t task = begin; task < end; ++task) {
    const int chunk = static_cast<int>(task % q.chunks);
    const int64_t p0 = task / q.chunks % tiles * T;
    const int64_t image = task / q.chunks / tiles;  // n * groups + g
    const int64_t g = q.groups == 1 ? 0 : image % q.groups;
    const int n = static_cast<int>(pixels - p0 < T ? pixels - p0 : T);
    const int rb0 = q.chunk[chunk], rb1 = q.chunk[chunk + 1];

    for (int kb = 0; kb < q.w.k_blocks; ++kb) {
      const int k0 = kb * q.w.kc, k1 = k0 + q.w.kc < q.K ? k0 + q.w.kc : q.K;
      const bool first = kb == 0, last = kb == q.w.k_blocks - 1;
      // Only the last k-block can hold a column block that reaches past K.
      const int rows = last && q.w.bc > 1 ? (k1 - k0 + q.w.bc - 1) / q.w.bc * q.w.bc : k1 - k0;
      if (q.linear) {
        pack_linear(args.in[0] + p0 * q.K, q.K, n, T, k0, k1, rows, panel);
      } else {
        pack_panel(q, args.in[0] + image * in_plane, p0, n, T, k0, k1, rows, panel);
      }
      for (int rb = rb0; rb < rb1; ++rb) {
        float* sum = sums + static_cast<int64_t>(rb) * BR * T;
        V acc[BR][R];
#pragma GCC unroll 16
        for (int i = 0; i < BR; ++i) {
#pragma GCC unroll 16
          for (int r = 0; r < R; ++r) acc[i][r] = first ? zero() : loada(sum + (i * R + r) * VL);
        }
        Micro::mul(q, panel, g, kb, rb, acc);
        if (!last || q.linear) {
#pragma GCC unroll 16
          for (int i = 0; i < BR; ++i) {
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) storea(sum + (i * R + r) * VL, acc[i][r]);
          }
          continue;
        }
#pragma GCC unroll 16
        for (int i = 0; i < BR; ++i) {
          const int m = rb * BR + i;
          if (m >= q.M) break;
          const int64_t at = (image * q.M + m) * pixels + p0;
          store_row<R>(acc[i], q.bias[g * q.M + m], q.has_residual ? args.in[1] + at : nullptr, q.lo, q.hi,
                       args.out + at, n);
          if (q.act_after) act_row(args.out + at, n, q.epilogue);
        }
      }
    }
    if (q.linear) {
      store_linear(q, sums, T, rb0, rb1, q.has_residual ? args.in[1] + p0 * q.M : nullptr, args.out + p0 * q.M, n);
    }
  }
}

}  // namespace SN_ISA
}  // namespace sn
