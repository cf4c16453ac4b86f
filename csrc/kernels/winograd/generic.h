// Winograd convolution, written once over V. Contract: winograd.h.
#include "kernels/winograd/multiply.h"
#include "kernels/winograd/transforms.h"
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

// v's columns x, x + 1, ... to phase[j], which holds x + j, x + j + N, ...
template <int N>
SN_INLINE void deal(const V (&v)[N], V (&phase)[N]) {
  if constexpr (N == 2) {
    deinterleave(v[0], v[1], phase[0], phase[1]);
  } else {
    V even[N / 2], odd[N / 2], evens[N / 2], odds[N / 2];
    SN_UNROLL for (int i = 0; i < N / 2; ++i) deinterleave(v[2 * i], v[2 * i + 1], even[i], odd[i]);
    deal(even, evens);
    deal(odd, odds);
    SN_UNROLL for (int i = 0; i < N / 2; ++i) phase[2 * i] = evens[i], phase[2 * i + 1] = odds[i];
  }
}

// Hardware prefetchers follow a row, not rows a plane or a frequency apart: what the next channel reads and writes and
// what a tile will write is fetched by hand. Together worth 10 to 30 %, the most on planes beyond L2.
template <int ForWrite>
SN_INLINE void prefetch(const float* p) {
  __builtin_prefetch(p, ForWrite, 3);
}

// VL tiles side by side, their first column x: rows down, then, dealt out to one lane a tile, across. to[f * pitch], at
// stride 2 for the columns of either parity. `count` tiles are wanted: vectors of the first parity may not reach into
// the second's. The next channel reads `plane` and writes `ahead` floats further on.
template <class F>
__attribute__((noinline)) void transform_tiles(const float* const (&rows)[F::kIn], int32_t width, int32_t x,
                                               float* const (&to)[F::kStride], int64_t pitch, int32_t count,
                                               int64_t plane, int64_t ahead) {
  constexpr int kIn = F::kIn, kOut = F::kOut, kStride = F::kStride;
  constexpr int kStep = kOut * kStride, kMore = (kIn - kOut) * kStride;  // columns of a tile; of the next that it sees
  constexpr int kVectors = kStep + (kMore + VL - 1) / VL;
  V half[kIn][kVectors];
  SN_UNROLL for (int g = 0; g < kVectors; ++g, x += VL) {
    V d[kIn], t[kIn];
    if (x >= width) {
      SN_UNROLL for (int f = 0; f < kIn; ++f) half[f][g] = zero();
      continue;
    }
    if (x >= 0 && x + VL <= width) {
      SN_UNROLL for (int y = 0; y < kIn; ++y) d[y] = load(rows[y] + x);
    } else {
      const int low = x >= 0 ? 0 : -x < VL ? -x : VL, high = width - x < VL ? width - x : VL;
      SN_UNROLL for (int y = 0; y < kIn; ++y) d[y] = load_range(rows[y] + x, low, high);
    }
    SN_UNROLL for (int y = 0; y < kIn; ++y) prefetch<0>(rows[y] + x + plane);
    F::input(d, t);
    SN_UNROLL for (int f = 0; f < kIn; ++f) half[f][g] = t[f];
  }
#pragma GCC unroll 1  // or the compiler keeps a pointer to each frequency's row, most of them in memory
  for (int f = 0; f < kIn; ++f) {
    V v[kStep], phase[kStep], more[kMore], next = zero();
    SN_UNROLL for (int g = 0; g < kStep; ++g) v[g] = half[f][g];
    deal(v, phase);
    SN_UNROLL for (int i = 0; i < kMore; ++i) {
      next = i % VL == 0 ? half[f][kStep + i / VL] : slide(next, next);
      more[i] = slide(phase[i], next);
    }
    SN_UNROLL for (int i = 0; i < kStride; ++i) {
      V d[kIn], t[kIn];
      SN_UNROLL for (int j = 0; j < kIn; ++j) d[j] = j < kOut ? phase[j * kStride + i] : more[(j - kOut) * kStride + i];
      F::input(d, t);
      float* row = to[i] + f * kIn * pitch;
      SN_UNROLL for (int e = 0; e < kIn; ++e, row += pitch) {
        if (i + 1 == kStride || count >= VL) {
          store(row, t[e]);
        } else {
          store_n(row, t[e], count);
        }
        prefetch<1>(row + ahead);
      }
    }
  }
}

// v for all channels of a block. Vectors reach past the last tile of a row, into the place of the next row or channel,
// which is written later; past the last of eight channels, into what the pitch leaves.
template <class F>
void transform_input(const WinogradParams& p, const WinogradScratch& s, const Block& b, const float* in,
                     const float* zeros, float* v) {
  constexpr int kStride = F::kStride;
  const int64_t tiles = static_cast<int64_t>(b.rows) * b.columns, size = static_cast<int64_t>(p.ih) * p.iw;
  const int32_t planes = p.channels / (kStride * kStride);
  for (int32_t c = 0; c < p.channels; c += kStride) {  // the columns' parities of one of the rows'
    const int32_t image_channel = c / (kStride * kStride), parity = c / kStride % kStride;
    float* channel[kStride];
    for (int i = 0; i < kStride; ++i) {
      const int32_t k = c + i;
      channel[i] = v + k / kWinogradDepth * F::kIn * F::kIn * s.input_pitch + k % kWinogradDepth * tiles;
    }
    each_stretch(p, b, [&](const Stretch& r) {
      const float* plane = in + (r.image * planes + image_channel) * size;
      int64_t tile = r.tile;
      for (int32_t row = r.row; row < r.row + r.rows; ++row, tile += b.columns) {
        const float* rows[F::kIn];
        for (int i = 0; i < F::kIn; ++i) {
          const int32_t y = (row * F::kOut + i) * kStride + parity - p.top;
          rows[i] = y >= 0 && y < p.ih ? plane + static_cast<int64_t>(y) * p.iw : zeros;
        }
        for (int32_t i = 0; i < b.columns; i += VL) {
          float* to[kStride];
          for (int k = 0; k < kStride; ++k) to[k] = channel[k] + tile + i;
          const int32_t x = (b.c0 + i) * F::kOut * kStride - p.left;
          transform_tiles<F>(rows, p.iw, x, to, s.input_pitch, b.columns - i, size, kStride * tiles);
        }
      }
    });
  }
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
                                            int filters, int n) {
  const int64_t plane = static_cast<int64_t>(p.oh) * p.ow;
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
  const int32_t x_begin = b.c0 * kOut, x_end = x_begin + b.columns * kOut < p.ow ? x_begin + b.columns * kOut : p.ow;
  for (int32_t row = 0; row < r.rows; ++row) {
    const int32_t y0 = (r.row + row) * kOut, rows = p.oh - y0 < kOut ? p.oh - y0 : kOut;
    const float* from = sums + static_cast<int64_t>(r.tile + row * b.columns) * width;
    for (int32_t t0 = 0; t0 < b.columns; t0 += kTogether) {
      int64_t at = row_of(p, r.image, m, y0) + x_begin + t0 * kOut;
      for (int i = 0; i < filters; ++i, at += static_cast<int64_t>(p.oh) * p.ow) {
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
          store_pixels(p, o, squares + y * pitch + q * VL, row_of(p, r.image, m, y0 + y) + x, filters,
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

template <class F>
void winograd(const WinogradParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  constexpr int kFrequencies = F::kIn * F::kIn;
  const WinogradScratch s = winograd_scratch(p, F::kIn);
  float* v = static_cast<float*>(args.scratch);
  float* sums = v + s.input;
  float* squares = sums + s.sums;
  float* zeros = squares + s.squares;
  // The squares too: a last, partial one is clipped whole, and subnormal garbage there would be slow.
  for (int64_t i = 0; i < s.squares + s.zeros; i += VL) store(squares + i, zero());
  const int32_t panels = (p.padded_filters + p.panel - 1) / p.panel;
  const int64_t rows = args.batch * p.tiles_down;
  const Output o{args.out, p.has_residual ? args.in[1] : nullptr};
  int64_t transformed = -1;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t chunk = task % p.chunks, index = task / p.chunks, row = index / p.row_splits * p.block_rows;
    const int32_t c0 = static_cast<int32_t>(index % p.row_splits) * p.block_columns;
    const Block b{row / p.tiles_down, static_cast<int32_t>(row % p.tiles_down),
                  static_cast<int32_t>(rows - row < p.block_rows ? rows - row : p.block_rows), c0,
                  p.tiles_across - c0 < p.block_columns ? p.tiles_across - c0 : p.block_columns};
    if (index != transformed) transform_input<F>(p, s, b, args.in[0], zeros, v);
    transformed = index;
    const int64_t first = panels * chunk / p.chunks, last = panels * (chunk + 1) / p.chunks;
    for (int32_t m0 = static_cast<int32_t>(first) * p.panel; m0 < last * p.panel && m0 < p.filters; m0 += p.panel) {
      const int32_t filters = p.padded_filters - m0 < p.panel ? p.padded_filters - m0 : p.panel;
      for (int64_t f = 0; f < kFrequencies; ++f) {
        multiply(p, p.u + (kFrequencies * m0 + f * filters) * p.channels, filters, v + f * s.input_pitch,
                 kFrequencies * s.input_pitch, b.rows * b.columns, sums + f * s.sums_pitch);
      }
      each_stretch(p, b, [&](const Stretch& r) {
        for (int32_t m = 0; m < filters && m0 + m < p.filters; m += VL) {
          transform_output<F>(p, s, b, r, o, sums + m, filters, m0 + m, squares);
        }
      });
    }
  }
}

}  // namespace

#define SN_WINOGRAD(name, F)                                                                              \
  void winograd_##name(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept { \
    winograd<F>(*static_cast<const WinogradParams*>(params), args, begin, end);                           \
  }
SN_WINOGRAD(f2x2, F2x2)
SN_WINOGRAD(f4x4, F4x4)
SN_WINOGRAD(f4x4s2, F4x4S2)
#undef SN_WINOGRAD

}  // namespace SN_ISA
}  // namespace sn
