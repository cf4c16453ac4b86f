// From sums to pixels: output tiles transformed back, and transposed to rows of pixels, or pooled first.
#pragma once

#include "kernels/winograd/transforms.h"
#include "kernels/winograd/winograd.h"
#include "simd/math.h"

#define SN_UNROLL _Pragma("GCC unroll 16")

namespace sn {
namespace SN_ISA {
namespace {

// Tiles [c0, c0 + columns) of `rows` rows of tiles from `row` of `image` on, which run on into the next images.
struct Block {
  int64_t image;
  int32_t row, rows, c0, columns;
};

// A stretch of a block's rows that lie in one image.
struct Stretch {
  int64_t image;
  int32_t row, rows;  // in the image; how many
  int32_t tile;       // the first one's number in the block
};

template <class Body>
SN_INLINE void each_stretch(const WinogradParams& p, const Block& b, Body body) {
  Stretch s{b.image, b.row, 0, 0};
  for (int32_t done = 0; done < b.rows; done += s.rows) {
    const int32_t left = p.tiles_down - s.row;
    s.rows = b.rows - done < left ? b.rows - done : left;
    s.tile = done * b.columns;
    body(s);
    ++s.image, s.row = 0;
  }
}

// Hardware prefetchers follow a row, not rows a plane or a frequency apart: what the next channel reads and writes and
// what a tile will write is fetched by hand. Together worth 10 to 30 %, the most on planes beyond L2.
template <int ForWrite>
SN_INLINE void prefetch(const float* p) {
  __builtin_prefetch(p, ForWrite, 3);
}

// log2(VL) perfect shuffles of the rows transpose a square.
SN_INLINE void transpose(V (&v)[VL]) {
  SN_UNROLL for (int stage = 1; stage < VL; stage *= 2) {
    V w[VL];
    SN_UNROLL for (int i = 0; i < VL / 2; ++i) deinterleave(v[2 * i], v[2 * i + 1], w[i], w[i + VL / 2]);
    SN_UNROLL for (int i = 0; i < VL; ++i) v[i] = w[i];
  }
}

// One tile of VL filters: squares[y * pitch + x * VL]. Not inlined: in a loop, the compiler would keep (m + 2)^2
// offsets.
template <class F>
__attribute__((noinline)) void transform_tile(const float* sums, int64_t sums_pitch, V bias, float* squares,
                                              int64_t pitch) {
  V half[F::kOut][F::kIn];
  const int64_t step = F::kIn * sums_pitch;
  SN_UNROLL for (int e = 0; e < F::kIn; ++e, sums += sums_pitch) {
    V m[F::kIn], t[F::kOut];
    SN_UNROLL for (int f = 0; f < F::kIn; ++f) m[f] = loada(sums + f * step);
    F::output(m, t);
    SN_UNROLL for (int y = 0; y < F::kOut; ++y) half[y][e] = t[y];
  }
  SN_UNROLL for (int y = 0; y < F::kOut; ++y) {
    V t[F::kOut];
    F::output(half[y], t);
    SN_UNROLL for (int x = 0; x < F::kOut; ++x) storea(squares + y * pitch + x * VL, add(t[x], bias));
  }
}

struct Output {
  float* out;
  const float* residual;  // or null
};

// Where filter m's row y of an image begins.
SN_INLINE int64_t row_of(const WinogradParams& p, int64_t image, int32_t m, int32_t y) {
  return ((image * p.filters + m) * p.oh + y) * p.ow;
}

// `n` <= VL pixels from x on of one row of `filters` <= VL filters from m on, transposed.
__attribute__((noinline)) void store_pixels(const WinogradParams& p, const Output& o, const float* squares, int64_t at,
                                            int64_t plane, int filters, int n) {
  const V low = set1(p.low), high = set1(p.high);
  V v[VL];
  SN_UNROLL for (int i = 0; i < VL; ++i) v[i] = loada(squares + i * VL);
  transpose(v);
  SN_UNROLL for (int i = 0; i < VL; ++i) {
    if (i >= filters) break;
    if (n == VL) {
      if (o.residual) v[i] = add(v[i], load(o.residual + at));
      store(o.out + at, clip(v[i], low, high));
    } else {
      if (o.residual) v[i] = add(v[i], load_n(o.residual + at, n));
      store_n(o.out + at, clip(v[i], low, high), n);
    }
    at += plane;
  }
}

void apply_act(const WinogradParams& p, float* row, int32_t n) {
  const V a = set1(p.after.a), b = set1(p.after.b);
  for (int32_t i = 0; i < n; i += VL) {
    const int k = n - i < VL ? n - i : VL;
    store_n(row + i, apply(p.after.act, load_n(row + i, k), a, b), k);
  }
}

// The output of `filters` <= VL filters from m on, over a stretch. Neighbouring tiles whose rows fill a vector are
// transposed together.
template <class F>
void transform_output(const WinogradParams& p, const WinogradScratch& s, const Block& b, const Stretch& r,
                      const Output& o, const float* sums, int64_t width, int32_t m, float* squares) {
  constexpr int kOut = F::kOut, kTogether = VL > kOut ? VL / kOut : 1;
  const int filters = p.filters - m < VL ? p.filters - m : VL;
  const V bias = loada(p.bias + m);
  constexpr int64_t pitch = kTogether * kOut * VL;
  const int64_t plane = static_cast<int64_t>(p.oh) * p.ow;
  const int32_t x_begin = b.c0 * kOut, x_end = x_begin + b.columns * kOut < p.ow ? x_begin + b.columns * kOut : p.ow;
  for (int32_t row = 0; row < r.rows; ++row) {
    const int32_t y0 = (r.row + row) * kOut, rows = p.oh - y0 < kOut ? p.oh - y0 : kOut;
    const float* from = sums + static_cast<int64_t>(r.tile + row * b.columns) * width;
    for (int32_t t0 = 0; t0 < b.columns; t0 += kTogether) {
      int64_t at = row_of(p, r.image, m, y0) + x_begin + t0 * kOut;
      for (int i = 0; i < filters; ++i, at += plane) {
        for (int32_t y = 0; y < rows; ++y) {
          prefetch<1>(o.out + at + y * p.ow);
          if (o.residual) prefetch<0>(o.residual + at + y * p.ow);
        }
      }
      for (int i = 0; i < kTogether && t0 + i < b.columns; ++i) {
        transform_tile<F>(from + (t0 + i) * width, s.sums_pitch, bias, squares + i * kOut * VL, pitch);
      }
      for (int32_t y = 0; y < rows; ++y) {
        for (int q = 0; q < kTogether * kOut; q += VL) {
          const int32_t x = x_begin + t0 * kOut + q;
          if (x >= x_end) break;
          store_pixels(p, o, squares + y * pitch + q * VL, row_of(p, r.image, m, y0 + y) + x, plane, filters,
                       x_end - x < VL ? x_end - x : VL);
        }
      }
    }
    if (p.after.act == Act::none) continue;
    for (int i = 0; i < filters; ++i) {
      for (int32_t y = 0; y < rows; ++y) {
        apply_act(p, o.out + row_of(p, r.image, m + i, y0 + y) + x_begin, x_end - x_begin);
      }
    }
  }
}

// The same, max pooled: `rows` holds, of each row of the convolution by its number modulo kWinogradRing, the maxima
// across its windows, vectors of VL filters. Windows end within the block, in whose last row of tiles the next block's
// may begin (WinogradParams::bands); with bands, so, each vector of filters has a ring of its own.
template <class F>
void pool_output(const WinogradParams& p, const WinogradScratch& s, const Block& b, const Stretch& r, const Output& o,
                 const float* sums, int64_t width, int32_t m, float* squares, float* rows, bool written) {
  constexpr int kOut = F::kOut;
  const WinogradPool& q = p.pool;
  const int filters = p.filters - m < VL ? p.filters - m : VL;
  const V bias = loada(p.bias + m);
  float* const tiles = rows + s.rings;  // a row of tiles, [kOut][columns * kOut] vectors of filters
  const int64_t pitch = static_cast<int64_t>(b.columns) * kOut * VL, plane = static_cast<int64_t>(q.oh) * q.ow;
  // Columns of the convolution, and of windows: a block that ends before a row does has windows of its own.
  const int32_t x0 = b.c0 * kOut, x1 = x0 + b.columns * kOut < p.ow ? x0 + b.columns * kOut : p.ow;
  const int32_t from = x0 / 2, to = x1 == p.ow ? q.ow : x1 / 2;
  const int64_t ring = static_cast<int64_t>(to - from) * VL;
  if (p.bands > 0) rows += m / VL * (kWinogradRing * ring);
  const auto windows_before = [&](int32_t y) {  // windows that have ended above row y
    return y >= p.oh ? q.oh : y + q.top < q.size ? 0 : (y + q.top - q.size) / 2 + 1;
  };
  for (int32_t row = r.row; row < r.row + r.rows; ++row) {
    const int32_t y0 = row * kOut, y1 = p.oh - y0 < kOut ? p.oh : y0 + kOut;
    const float* tile = sums + static_cast<int64_t>(r.tile + (row - r.row) * b.columns) * width;
    for (int32_t t = 0; t < b.columns; ++t) {
      transform_tile<F>(tile + t * width, s.sums_pitch, bias, tiles + t * kOut * VL, pitch);
    }
    for (int32_t y = y0; y < y1; ++y) {
      const float* pixels = tiles + (y - y0) * pitch;
      float* maxima = rows + y % kWinogradRing * ring;
      for (int32_t x = from; x < to; ++x, maxima += VL) {
        const int32_t left = x * 2 - q.left, first = left < x0 ? x0 : left,
                      last = left + q.size < x1 ? left + q.size : x1;
        V v = loada(pixels + (first - x0) * VL);
        for (int32_t i = first + 1; i < last; ++i) v = nan_max(v, loada(pixels + (i - x0) * VL));
        storea(maxima, v);
      }
    }
    if (!written) continue;
    for (int32_t w = windows_before(y0), end = windows_before(row + 1 == p.tiles_down ? p.oh : y1); w < end; ++w) {
      const int32_t top = w * 2 - q.top, first = top < 0 ? 0 : top, last = top + q.size < p.oh ? top + q.size : p.oh;
      for (int32_t x = from; x < to; x += VL) {
        const int n = to - x < VL ? to - x : VL;
        for (int i = 0; i < n; ++i) {
          const float* column = rows + (x - from + i) * VL;
          V v = loada(column + first % kWinogradRing * ring);
          for (int32_t y = first + 1; y < last; ++y) v = nan_max(v, loada(column + y % kWinogradRing * ring));
          storea(squares + i * VL, v);
        }
        store_pixels(p, o, squares, ((r.image * p.filters + m) * q.oh + w) * q.ow + x, plane, filters, n);
      }
    }
  }
}

}  // namespace
}  // namespace SN_ISA
}  // namespace sn
