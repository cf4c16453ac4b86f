// The body of panel.h's loop for one ISA: packing, and the driver around a micro-kernel.
//
// A micro-kernel is a type with
//   static constexpr int BR, R;                                  // rows and vectors of accumulators
//   Micro(const MatrixProblem&, const float* panel, int64 group, int k_block);
//   int64 row(int64 i, int j);
//   template <bool Half, int W> void mul(int64 i, V (&acc)[BR][W]);
// where mul adds the product of the k-block's segment i, of rows row(i, 0) to row(i, BR - 1), with the panel's first W
// vectors to acc; with Half, of the last of them the lower half. Rows from M on are none.
#pragma once

#include "kernels/panel/window.h"

namespace sn {
namespace SN_ISA {

// How far ahead of their use the weights of a fully connected layer that L2 does not hold are fetched, in bytes. On a
// Zen 4, VGG-16's at batch 8: 1.24 (90 % zeros), 1.4 (4x1 blocks) and 1.15-1.18 times (dense) as fast; 1x4 blocks the
// same.
constexpr int kWeightsAhead = 2048;

SN_INLINE void fetch_weights(const float* w) {
  __builtin_prefetch(reinterpret_cast<const char*>(w) + kWeightsAhead, 0, 3);
}

// panel[k - k0][T] = x[k][p0 ...] for k in [k0, k1), W vectors: a 1x1 layer at stride 1, whose planes are rows of
// pixels. Only the last vector may be partial.
template <int W>
__attribute__((noinline)) void pack_vectors(const MatrixProblem& q, const float* x, int64_t p0, int n, int tile, int k0,
                                            int k1, float* panel) {
  const int tail = n - (W - 1) * VL;
  const Lanes in_tail = lanes(0, tail);
  const int64_t plane = q.W;
  const bool far = q.far;
  const float* row = x + k0 * plane + p0;
  for (int k = k0; k < k1; ++k, panel += tile, row += plane) {
    if (far) prefetch_row<0>(row + kRowsAhead * plane, W * VL);
#pragma GCC unroll 16
    for (int r = 0; r < W - 1; ++r) storea(panel + r * VL, load(row + r * VL));
    const float* last = row + (W - 1) * VL;
    storea(panel + (W - 1) * VL, tail == VL ? load(last) : load_in(in_tail, last));
  }
}

template <int R>
SN_INLINE void pack_flat(const MatrixProblem& q, const float* x, int64_t p0, int n, int k0, int k1, float* panel) {
  if (n > (R - 1) * VL) return pack_vectors<R>(q, x, p0, n, R * VL, k0, k1, panel);
  if (R > 1 && n > (R - 2) * VL) return pack_vectors<(R > 1 ? R - 1 : 1)>(q, x, p0, n, R * VL, k0, k1, panel);
  for (int k = k0; k < k1; ++k, panel += R * VL) copy_row(panel, x + static_cast<int64_t>(k) * q.W + p0, n);
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

// y[0..n) = clamp(acc + bias + residual), R vectors, with Half fewer pixels
template <int R, bool Half>
SN_INLINE void store_row(const V (&acc)[R], float bias, const float* residual, float lo, float hi, float* y, int n) {
  const V b = set1(bias), l = set1(lo), h = set1(hi);
  if (!Half && n == R * VL) {
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

// The same for a tile whose vectors are no run of pixels: by parts of vectors that lie in one row of pixels.
template <int R>
SN_INLINE void store_parts(const V (&acc)[R], const Strip& strip, float bias, const float* residual, float lo, float hi,
                           float* y) {
  const V b = set1(bias), l = set1(lo), h = set1(hi);
  int s = 0;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const V sum = add(acc[r], b);
    for (; s < strip.store_count && strip.stores[s].from < (r + 1) * VL; ++s) {
      const Run run = strip.stores[s];
      if (run.n == VL) {  // not every ISA has masks
        const V v = residual ? add(sum, load(residual + run.to)) : sum;
        store(y + run.to, min(h, max(l, v)));
        continue;
      }
      const int low = run.from - r * VL, high = low + run.n;
      const V v = residual ? add(sum, load_range(residual + run.to - low, low, high)) : sum;
      store_range(y + run.to - low, min(h, max(l, v)), low, high);
    }
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

template <bool Half, int R>
SN_INLINE void load_sums(V (&acc)[R], const float* sum) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    acc[r] = !sum ? zero() : Half && r == R - 1 ? load_half(sum + r * VL) : loada(sum + r * VL);
  }
}

template <bool Half, int R>
SN_INLINE void store_sums(const V (&acc)[R], float* sum) {
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    if (Half && r == R - 1) {
      store_half(sum + r * VL, acc[r]);
    } else {
      storea(sum + r * VL, acc[r]);
    }
  }
}

// Fetches a plane's part of a tile ahead of its turn.
template <int ForWrite>
SN_INLINE void fetch_tile(const MatrixProblem& q, const Strip& strip, const float* plane, int64_t first, int tile) {
  if (!whole_vectors(q) || q.pitch == q.OW) return prefetch_row<ForWrite>(plane + first, tile);
  for (int s = 0; s < strip.store_count; ++s) prefetch_row<ForWrite>(plane + strip.stores[s].to, 1);
}

// A tile of a panel, and where its results go.
struct Tile {
  const MatrixProblem& q;
  const KernelArgs& args;
  const Strip& strip;
  const float* panel;
  float* sums;
  bool parted;  // the results of a vector do not lie side by side
  int64_t image, g, p0, first_pixel;
  int n, rb0, rb1;
};

// All rows over one k-block's panel, W vectors wide; their sums wait for the next.
template <class Micro, int W, bool Half>
__attribute__((noinline)) void add_rows(const Tile& t, int kb) {
  constexpr int BR = Micro::BR, T = Micro::R * VL;
  // Copies: a store of a vector may change what lies behind any pointer, so that each row would read all that anew.
  const Micro micro(t.q, t.panel, t.g, kb);
  float* const sums = t.sums;
  for (int64_t i = t.rb0, end = t.rb1; i < end; ++i) {
    V acc[BR][W];
#pragma GCC unroll 16
    for (int j = 0; j < BR; ++j) load_sums<Half>(acc[j], kb == 0 ? nullptr : sums + micro.row(i, j) * T);
    micro.template mul<Half>(i, acc);
#pragma GCC unroll 16
    for (int j = 0; j < BR; ++j) store_sums<Half>(acc[j], sums + micro.row(i, j) * T);
  }
}

// The same over the last k-block: the results.
template <class Micro, int W, bool Half>
__attribute__((noinline)) void write_rows(const Tile& t, int kb) {
  constexpr int BR = Micro::BR, T = Micro::R * VL;
  const MatrixProblem& q = t.q;
  const Micro micro(q, t.panel, t.g, kb);
  const int64_t plane = static_cast<int64_t>(q.OH) * q.OW, image = t.image * q.M * plane, end = t.rb1;
  const float* const bias = q.bias + t.g * q.M;
  const float* const sums = t.sums;
  float* const out = t.args.out + image;
  const float* const residuals = q.has_residual ? t.args.in[1] + image : nullptr;
  const bool far = q.far, parted = t.parted, act_after = q.act_after;
  const int M = q.M, n = t.n;
  const int64_t p0 = t.p0;
  const float lo = q.lo, hi = q.hi;
  for (int64_t i = t.rb0; i < end; ++i) {
    V acc[BR][W];
#pragma GCC unroll 16
    for (int j = 0; j < BR; ++j) load_sums<Half>(acc[j], kb == 0 ? nullptr : sums + micro.row(i, j) * T);
    if (far && i + 2 < end) {
      for (int j = 0; j < BR; ++j) {
        const int64_t ahead = micro.row(i + 2, j) * plane;
        fetch_tile<1>(q, t.strip, out + ahead, t.first_pixel, T);
        if (residuals) fetch_tile<0>(q, t.strip, residuals + ahead, t.first_pixel, T);
      }
    }
    micro.template mul<Half>(i, acc);
    if (parted) {
      const auto write = [&](int64_t m, const V(&row)[W]) {
        float* y = out + m * plane;
        store_parts<W>(row, t.strip, bias[m], residuals ? residuals + m * plane : nullptr, lo, hi, y);
        for (int s = 0; s < t.strip.store_count && act_after; ++s) {
          act_row(y + t.strip.stores[s].to, t.strip.stores[s].n, q.epilogue);
        }
      };
      if constexpr (BR == 1) {
        write(micro.row(i, 0), acc[0]);
      } else {  // from a copy of them: code for each row would be a tenth of the library
        alignas(64) float copy[BR][W * VL];
#pragma GCC unroll 16
        for (int j = 0; j < BR; ++j) store_sums<false>(acc[j], copy[j]);
        for (int j = 0; j < BR && micro.row(i, j) < M; ++j) {
          V row[W];
          load_sums<false>(row, copy[j]);
          write(micro.row(i, j), row);
        }
      }
      continue;
    }
#pragma GCC unroll 16
    for (int j = 0; j < BR; ++j) {
      const int64_t m = micro.row(i, j), first = m * plane + p0;
      if (BR > 1 && m >= M) break;
      store_row<W, Half>(acc[j], bias[m], residuals ? residuals + first : nullptr, lo, hi, out + first, n);
      if (act_after) act_row(out + first, n, q.epilogue);
    }
  }
}

template <class Micro, int W, bool Half>
SN_INLINE void run_rows(const Tile& tile, int kb) {
  kb == tile.q.w.k_blocks - 1 && !tile.q.linear ? write_rows<Micro, W, Half>(tile, kb)
                                                : add_rows<Micro, W, Half>(tile, kb);
}

// The last tile may be narrower than the others: 196 pixels are 7 and 6 vectors, not twice 7, and of the 6 half of the
// last, where that is half the work.
template <class Micro, int W>
SN_INLINE void run_tile(const Tile& tile, int kb) {
  constexpr int kLeast = W > narrowest_tile(Micro::BR, Micro::R) ? W - 1 : W;
  if (kLeast < W && tile.n <= kLeast * VL) return run_tile<Micro, kLeast>(tile, kb);
  if (kHalves && tile.n <= W * VL - VL / 2) return run_rows<Micro, W, kHalves>(tile, kb);
  run_rows<Micro, W, false>(tile, kb);
}

// The weights of a k-block that belong to row blocks [i, next), and how many there are.
struct Stretch {
  int next;
  int64_t from, n;
};

SN_INLINE Stretch stretch(const MatrixProblem& q, int kb, int i) {
  const PackedWeights& w = q.w;
  if (!w.start) {
    const int k0 = kb * w.kc, depth = q.K - k0 < w.kc ? q.K - k0 : w.kc;
    return {i + 1, (int64_t{i} * q.K + k0) * w.br, int64_t{depth} * w.br};
  }
  const int unit = w.count ? slice_rows(w.bc, VL) : 1, per_block = (w.row_blocks + unit - 1) / unit;
  const uint32_t* at = w.start + int64_t{kb} * per_block + i / unit;
  return {i + unit, int64_t{at[0]} * (w.br * w.bc), int64_t{at[1] - at[0]} * (w.br * w.bc)};
}

// run_tile of half floats.
template <class Micro>
__attribute__((noinline)) void run_halves(const Tile& t, int kb, float* floats) {
  MatrixProblem q = t.q;
  for (int i = t.rb0; i < t.rb1;) {
    const Stretch s = stretch(q, kb, i);
    const uint16_t* from = q.w.half + s.from;
    for (int64_t j = 0; j < s.n; j += VL) storea(floats + j, load_f16(from + j));
    q.w.value = floats - s.from;  // kernels count from the first weight of all
    const int end = s.next < t.rb1 ? s.next : t.rb1;
    run_tile<Micro, Micro::R>(
        {q, t.args, t.strip, t.panel, t.sums, t.parted, t.image, t.g, t.p0, t.first_pixel, t.n, i, end}, kb);
    i = end;
  }
}

template <class Micro>
int64_t panel_tasks(const void* params, int64_t batch) noexcept {
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  constexpr int T = Micro::R * VL;
  if (q.linear) return (batch + T - 1) / T * q.chunks;
  return batch * q.groups * ((pixel_count(q) + T - 1) / T) * q.chunks;
}

template <class Micro>
void panel_run(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  constexpr int R = Micro::R, T = R * VL;
  const MatrixProblem& q = *static_cast<const MatrixProblem*>(params);
  const int64_t pixels = q.linear ? args.batch : pixel_count(q);
  const int64_t tiles = (pixels + T - 1) / T;
  const int64_t in_plane = static_cast<int64_t>(q.C) * q.H * q.W;
  const bool window = !q.flat && !q.linear, parted = window && q.pitch != q.OW;
  // The scratch: panel (a vector more, for a piece's overhang), sums, strip, lists; or, as fully connected layers have
  // no lists, expanded half floats. All are whole vectors.
  float* panel = static_cast<float*>(args.scratch);
  float* sums = panel + panel_floats(q, T);
  Strip strip, more;
  strip.data = sums + sums_floats(q, T);
  float* const lists = strip.data + strip_floats(q, T);
  strip.place(q, T, lists);
  if (q.more) more.place(*q.more, T, lists + run_floats(q, T));
  int64_t strip_end = begin;  // the first task that the strip does not serve
  int loaded = 0;             // channels of the strip that are there
  int used = T;               // lanes of the panel that are not zero

  for (int64_t task = begin, next; task < end; task = next) {
    const int chunk = static_cast<int>(task % q.chunks);
    next = task - chunk + q.chunks < end ? task - chunk + q.chunks : end;  // of one tile
    const int64_t p0 = task / q.chunks % tiles * q.advance;
    const int64_t image = task / q.chunks / tiles;  // n * groups + g
    const int64_t g = q.groups == 1 ? 0 : image % q.groups;
    const int n = static_cast<int>(pixels - p0 < q.advance ? pixels - p0 : q.advance);
    const int rb0 = q.chunk[chunk], rb1 = q.chunk[chunk + (next - task)];
    if (window) {
      if (task >= strip_end) {
        const int64_t ahead = (end - 1) / q.chunks - task / q.chunks + 1, left = tiles - p0 / T;
        const int64_t wanted = q.strip < left ? q.strip : left, count = ahead < wanted ? ahead : wanted;
        strip_end = (task / q.chunks + count) * q.chunks;
        strip.plan(q, p0, count * T < pixels - p0 ? count * T : pixels - p0, T);
        loaded = q.KH * q.KW > 1 ? 0 : q.C;
      }
      strip.plan_tile(q, p0, n);
    }
    if (q.more && !q.more->flat) more.plan(*q.more, p0, n, T);
    const int64_t first_pixel = !parted ? p0 : strip.store_count > 0 ? strip.stores[0].to : 0;

    // No result comes from the lanes past the tile's last pixel, but subnormal garbage there would slow every FMA on
    // it twentyfold.
    if (n < used && !in_place(q)) zero_row(panel, static_cast<int>(panel_floats(q, T)));
    used = n;
    const float* const x = args.in[0] + image * in_plane;
    const auto pack_plane = [&](const MatrixProblem& s, const Strip& points, const float* from, int c0, int c1) {
      s.flat ? pack_flat<R>(s, from, p0, n, c0, c1, panel) : pack_points(s, points, from, T, c0, c1, panel);
    };
    Tile tile{q, args, strip, panel, sums, parted, image, g, p0, first_pixel, n, rb0, rb1};
    for (int kb = 0; kb < q.w.k_blocks; ++kb) {
      const int k0 = kb * q.w.kc, k1 = k0 + q.w.kc < q.K ? k0 + q.w.kc : q.K;
      // A k-block's channels come when its turn does, so that it finds them in the nearest cache. Those of `more` need
      // no strip.
      if (window && loaded < q.C && loaded * (q.KH * q.KW) < k1) {
        for (; loaded * (q.KH * q.KW) < k1; ++loaded) {
          const int64_t plane = static_cast<int64_t>(q.H) * q.W;
          strip.load(x + loaded * plane, q.SW, strip.data + int64_t{loaded} * strip.channel,
                     q.distant ? kPlanesAhead * plane : 0);
        }
        zero_row(strip.data + int64_t{loaded} * strip.channel, VL);  // the last piece may overhang
      }
      if (q.linear) {
        pack_linear(args.in[0] + p0 * q.K, q.K, n, T, k0, k1, panel);
      } else if (in_place(q)) {
        tile.panel = strip.data + int64_t{k0 / (q.KH * q.KW)} * strip.channel + strip.offset;
      } else if (q.more && k0 >= q.C) {
        const MatrixProblem& m = *q.more;
        pack_plane(m, more, args.in[1] + image * m.C * m.H * m.W, k0 - q.C, k1 - q.C);
      } else if (q.KH * q.KW == 1) {
        pack_plane(q, strip, x, k0, k1);
      } else if (q.layout == Layout::sliding) {
        pack_sliding<R>(q, strip, k0, k1, panel);
      } else {
        pack_window<R>(q, strip, k0, k1, panel);
      }
      // A column block may reach past K.
      for (int k = k1; k < k1 + q.w.bc - 1; ++k) zero_row(panel + static_cast<int64_t>(k - k0) * T, T);
      q.w.half ? run_halves<Micro>(tile, kb, lists) : run_tile<Micro, R>(tile, kb);
    }
    if (q.linear) {
      store_linear(q, sums, T, rb0, rb1, q.has_residual ? args.in[1] + p0 * q.M : nullptr, args.out + p0 * q.M, n);
    }
  }
}

}  // namespace SN_ISA
}  // namespace sn
