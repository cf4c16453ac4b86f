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

// Rows of pixels lie a plane apart, in pages of their own, where no hardware prefetcher follows: on planes that come
// from beyond L2 worth 17 % (64 -> 256 channels at 56x56) and 7 % (256 -> 64), on nearer ones a loss of 5 %.
constexpr int kRowsAhead = 8;
template <int ForWrite>
SN_INLINE void prefetch_row(const float* p, int n) {
  for (int i = 0; i < n; i += 64 / static_cast<int>(sizeof(float))) __builtin_prefetch(p + i, ForWrite, 2);
}

SN_INLINE void copy_strided(float* dst, const float* src, int n, int stride) {
  if (stride == 1) return copy_row(dst, src, n);
  if (stride == 2) {
    for (int i = 0; i < n; ++i) dst[i] = src[2 * i];
  } else {
    for (int i = 0; i < n; ++i) dst[i] = src[static_cast<int64_t>(stride) * i];
  }
}

// A layer with a window is packed by way of a band: the image rows of one channel that a tile of pixels sees, zero
// padded, with the columns split into their SW phases (column SW*i + ph at [ph][i]). In the band every tap of every
// pixel run is a contiguous piece at a fixed offset, so a panel row is a list of unmasked vector copies, whatever the
// window, stride, padding or dilation; and each input element is fetched and bounds-checked once, not KH*KW times.
struct Band {
  struct Piece {
    int32_t from, to;  // offsets in the band, for the tap (0, 0), and in the panel row
  };
  Piece pieces[kMaxTile + kMaxTile / VL];
  int piece_count;
  int32_t first_row, first_column;       // of the band, in the image; negative in the padding
  int32_t row_begin, row_end, row_step;  // rows of the band that hold image rows
  int32_t phases, pitch;                 // floats a phase of a row: pitch

  // Tile [p0, p0 + n). `data` is all zero afterwards; only what lies inside the image is ever written to it.
  void plan(const MatrixProblem& q, int64_t p0, int n, float* data);
  void load(const MatrixProblem& q, const float* plane, float* data) const;

  int32_t tap(const MatrixProblem& q, int kh, int kw) const {
    return (kh * q.DH * phases + kw * q.DW % q.SW) * pitch + kw * q.DW / q.SW;
  }
};

inline __attribute__((noinline)) void Band::plan(const MatrixProblem& q, int64_t p0, int n, float* data) {
  const int32_t oh0 = static_cast<int32_t>(p0 / q.OW), ow0 = static_cast<int32_t>(p0 % q.OW);
  const int32_t oh1 = static_cast<int32_t>((p0 + n - 1) / q.OW);
  const bool one_row = oh0 == oh1;  // then the band needs only the columns of these pixels
  first_row = oh0 * q.SH - q.PT;
  first_column = (one_row ? ow0 * q.SW : 0) - q.PL;
  const int32_t columns = ((one_row ? n : q.OW) - 1) * q.SW + (q.KW - 1) * q.DW + 1;
  pitch = (columns + q.SW - 1) / q.SW;
  phases = q.SW < columns ? q.SW : columns;  // a stride beyond the window leaves phases without a column
  const int32_t height = (oh1 - oh0) * q.SH + (q.KH - 1) * q.DH + 1;
  zero_row(data, height * phases * pitch + VL);

  // A single tap at stride SH sees every SH-th row; a taller window may skip some too, but they cost little.
  row_step = q.KH == 1 ? q.SH : 1;
  row_begin = first_row >= 0 ? 0 : (-first_row + row_step - 1) / row_step * row_step;
  row_end = q.H - first_row < height ? q.H - first_row : height;
  piece_count = 0;
  for (int at = 0, oh = oh0, ow = ow0; at < n; ++oh, ow = 0) {
    const int32_t len = q.OW - ow < n - at ? q.OW - ow : n - at;
    const int32_t from = (oh - oh0) * q.SH * phases * pitch + (one_row ? 0 : ow);
    for (int32_t i = 0; i < len; i += VL) pieces[piece_count++] = {from + i, at + i};
    at += len;
  }
}

inline void Band::load(const MatrixProblem& q, const float* plane, float* data) const {
  for (int32_t ph = 0; ph < phases; ++ph) {
    bool seen = false;
    for (int kw = 0; kw < q.KW && !seen; ++kw) seen = kw * q.DW % q.SW == ph;
    if (!seen) continue;
    // Element i of the phase is image column first_column + ph + i*SW.
    const int32_t column = first_column + ph;
    const int32_t begin = column >= 0 ? 0 : (-column + q.SW - 1) / q.SW;
    int32_t end = q.W > column ? (q.W - column + q.SW - 1) / q.SW : 0;
    end = end < pitch ? end : pitch;
    if (begin >= end) continue;
    const float* src = plane + static_cast<int64_t>(first_row) * q.W + column + static_cast<int64_t>(begin) * q.SW;
    float* dst = data + ph * pitch + begin;
    for (int32_t r = row_begin; r < row_end; r += row_step) {
      copy_strided(dst + static_cast<int64_t>(r) * phases * pitch, src + static_cast<int64_t>(r) * q.W, end - begin,
                   q.SW);
    }
  }
}

// panel[k - k0][T] = col(n, g, k, p0 ...) for k in [k0, k1), where x is the image's group. Floats past the tile's last
// pixel hold anything; no result is stored from them.
inline __attribute__((noinline)) void pack_window(const MatrixProblem& q, const Band& band, const float* x, int tile,
                                                  int k0, int k1, float* data, float* panel) {
  const int32_t window = q.KH * q.KW;
  int c = k0 / window, kh = k0 % window / q.KW, kw = k0 % q.KW;
  for (int k = k0; k < k1; ++k, panel += tile) {
    if (k == k0 || (kh == 0 && kw == 0)) band.load(q, x + static_cast<int64_t>(c) * q.H * q.W, data);
    const float* from = data + band.tap(q, kh, kw);
    for (int i = 0; i < band.piece_count; ++i) {
      store(panel + band.pieces[i].to, load(from + band.pieces[i].from));
    }
    if (++kw == q.KW) {
      kw = 0;
      if (++kh == q.KH) kh = 0, ++c;
    }
  }
}

// The same for a 1x1 layer at stride 1, whose planes are rows of pixels.
inline __attribute__((noinline)) void pack_flat(const MatrixProblem& q, const float* x, int64_t p0, int n, int tile,
                                                int k0, int k1, float* panel) {
  for (int k = k0; k < k1; ++k, panel += tile) {
    const float* row = x + static_cast<int64_t>(k) * q.W + p0;
    if (q.far) prefetch_row<0>(row + kRowsAhead * static_cast<int64_t>(q.W), n);
    copy_row(panel, row, n);
  }
}

// The same for a fully connected layer: panel[k - k0][j] = x[j][k], j < n.
inline __attribute__((noinline)) void pack_linear(const float* x, int64_t K, int n, int tile, int k0, int k1,
                                                  float* panel) {
  for (int k = k0; k < k1; ++k, panel += tile) copy_strided(panel, x + k, n, static_cast<int>(K));
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
  // The scratch: panel (a vector more, for a piece's overhang), sums, band. All but the band are whole vectors.
  float* panel = static_cast<float*>(args.scratch);
  float* sums = panel + panel_floats(q, T);
  float* data = sums + sums_floats(q, T);
  Band band;

  for (int64_t task = begin; task < end; ++task) {
    const int chunk = static_cast<int>(task % q.chunks);
    const int64_t p0 = task / q.chunks % tiles * T;
    const int64_t image = task / q.chunks / tiles;  // n * groups + g
    const int64_t g = q.groups == 1 ? 0 : image % q.groups;
    const int n = static_cast<int>(pixels - p0 < T ? pixels - p0 : T);
    const int rb0 = q.chunk[chunk], rb1 = q.chunk[chunk + 1];
    if (!q.flat && !q.linear) band.plan(q, p0, n, data);

    for (int kb = 0; kb < q.w.k_blocks; ++kb) {
      const int k0 = kb * q.w.kc, k1 = k0 + q.w.kc < q.K ? k0 + q.w.kc : q.K;
      const bool first = kb == 0, last = kb == q.w.k_blocks - 1;
      if (q.linear) {
        pack_linear(args.in[0] + p0 * q.K, q.K, n, T, k0, k1, panel);
      } else if (q.flat) {
        pack_flat(q, args.in[0] + image * in_plane, p0, n, T, k0, k1, panel);
      } else {
        pack_window(q, band, args.in[0] + image * in_plane, T, k0, k1, data, panel);
      }
      // A column block may reach past K.
      for (int k = k1; k < k1 + q.w.bc - 1; ++k) zero_row(panel + static_cast<int64_t>(k - k0) * T, T);
      for (int rb = rb0; rb < rb1; ++rb) {
        float* sum = sums + static_cast<int64_t>(rb) * BR * T;
        V acc[BR][R];
#pragma GCC unroll 16
        for (int i = 0; i < BR; ++i) {
#pragma GCC unroll 16
          for (int r = 0; r < R; ++r) acc[i][r] = first ? zero() : loada(sum + (i * R + r) * VL);
        }
        if (last && q.far && rb + 2 < rb1) {
          const int64_t ahead = (image * q.M + (rb + 2) * BR) * pixels + p0;
          for (int i = 0; i < BR; ++i) prefetch_row<1>(args.out + ahead + i * pixels, T);
          for (int i = 0; i < BR && q.has_residual; ++i) prefetch_row<0>(args.in[1] + ahead + i * pixels, T);
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
