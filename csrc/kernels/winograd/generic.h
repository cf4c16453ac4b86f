// Winograd convolution, written once over V. Contract: winograd.h.
#include "kernels/winograd/multiply.h"
#include "kernels/winograd/output.h"

namespace sn {
namespace SN_ISA {
namespace {

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
      const Lanes in = lanes(low, high);
      SN_UNROLL for (int y = 0; y < kIn; ++y) d[y] = load_in(in, rows[y] + x);
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

// A thread's work on one step.
template <class F>
struct Run {
  const WinogradParams& p;
  const WinogradScratch s;
  const float* in;
  const Output o;
  float *v, *sums, *squares, *rows, *zeros;

  Run(const WinogradParams& params, const KernelArgs& args)
      : p(params),
        s(winograd_scratch(p, F::kOut, F::kIn)),
        in(args.in[0]),
        o{args.out, p.has_residual ? args.in[1] : nullptr},
        v(static_cast<float*>(args.scratch)),
        sums(v + s.input),
        squares(sums + s.sums),
        rows(squares + s.squares),
        zeros(rows + s.rows) {
    // The squares too: a last, partial one is clipped whole, and subnormal garbage there would be slow.
    for (int64_t i = 0; i < s.squares; i += VL) store(squares + i, zero());
    for (int64_t i = 0; i < s.zeros; i += VL) store(zeros + i, zero());
  }

  // Panels [first, last) of filters over a block whose input is transformed. Not `written`, it only leaves the rows
  // that the next block's pooling begins with.
  void panels(const Block& b, int32_t first, int32_t last, bool written) const {
    constexpr int kFrequencies = F::kIn * F::kIn;
    for (int32_t m0 = first * p.panel; m0 < last * p.panel && m0 < p.filters; m0 += p.panel) {
      const int32_t filters = p.padded_filters - m0 < p.panel ? p.padded_filters - m0 : p.panel;
      for (int64_t f = 0; f < kFrequencies; ++f) {
        multiply(p, p.u + (kFrequencies * m0 + f * filters) * p.channels, filters, v + f * s.input_pitch,
                 kFrequencies * s.input_pitch, b.rows * b.columns, sums + f * s.sums_pitch);
      }
      each_stretch(p, b, [&](const Stretch& r) {
        for (int32_t m = 0; m < filters && m0 + m < p.filters; m += VL) {
          if (p.pool.size > 0) {
            pool_output<F>(p, s, b, r, o, sums + m, filters, m0 + m, squares, rows, written);
          } else {
            transform_output<F>(p, s, b, r, o, sums + m, filters, m0 + m, squares);
          }
        }
      });
    }
  }
};

template <class F>
void winograd(const WinogradParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  const Run<F> run(p, args);
  const int32_t panels = (p.padded_filters + p.panel - 1) / p.panel;
  const auto block = [&](const Block& b, bool written) {
    transform_input<F>(p, run.s, b, run.in, run.zeros, run.v);
    run.panels(b, 0, panels, written);
  };
  if (p.bands > 0) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / p.bands, band = task % p.bands;
      const auto at = [&](int64_t i) { return static_cast<int32_t>(p.tiles_down * i / p.bands); };
      if (band > 0) block({image, at(band) - 1, 1, 0, p.tiles_across}, false);
      for (int32_t row = at(band), last = at(band + 1); row < last; row += p.block_rows) {
        block({image, row, last - row < p.block_rows ? last - row : p.block_rows, 0, p.tiles_across}, true);
      }
    }
    return;
  }
  const int64_t rows = args.batch * p.tiles_down;
  int64_t transformed = -1;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t chunk = task % p.chunks, index = task / p.chunks, row = index / p.row_splits * p.block_rows;
    const int32_t c0 = static_cast<int32_t>(index % p.row_splits) * p.block_columns;
    const Block b{row / p.tiles_down, static_cast<int32_t>(row % p.tiles_down),
                  static_cast<int32_t>(rows - row < p.block_rows ? rows - row : p.block_rows), c0,
                  p.tiles_across - c0 < p.block_columns ? p.tiles_across - c0 : p.block_columns};
    if (index != transformed) transform_input<F>(p, run.s, b, run.in, run.zeros, run.v);
    transformed = index;
    run.panels(b, static_cast<int32_t>(panels * chunk / p.chunks),
               static_cast<int32_t>(panels * (chunk + 1) / p.chunks), true);
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
