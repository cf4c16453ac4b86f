// Depthwise convolution, written once over V. Contract: depthwise.h.
#include "kernels/depthwise/depthwise.h"
#include "simd/math.h"
#include "simd/phases.h"

#define SN_UNROLL _Pragma("GCC unroll 16")

namespace sn {
namespace SN_ISA {
namespace {

void copy_block(const DepthwiseParams& p, const float* input, int64_t task, float* phases) {
  const float* in = input + task / p.blocks * p.ih * p.iw;
  const int64_t oy = task % p.blocks * p.block_rows;
  const int64_t rows = p.oh - oy < p.block_rows ? p.oh - oy : p.block_rows;
  const int64_t count = (rows - 1) * p.sh + (p.kh - 1) * p.dh + 1, first = oy * p.sh - p.top;
  for (int64_t py = 0; py < p.sh && py < count; ++py) {
    float* to = phases + py * p.sw * p.phase_size;
    for (int64_t y = first + py; y < first + count; y += p.sh, to += p.pitch) {
      if (y >= 0 && y < p.ih) {
        const float* from = in + y * p.iw;
        split_phases(
            p.iw, p.sw, p.left, p.phase_size, to, [&](int64_t x) { return load(from + x); },
            [&](int64_t x, int n) { return load_n(from + x, n); });
      } else {
        for (int64_t px = 0; px < p.sw; ++px) {
          for (int64_t x = 0; x < p.pitch; ++x) to[px * p.phase_size + x] = 0;
        }
      }
    }
  }
}

// The taps of one output channel.
struct Taps {
  const int32_t* offset;
  const float* value;
  int64_t count;
  const float* weights;
};

// Sums the taps of RB rows by XV vectors of outputs into acc. Of `Shape`, kK = 0 loops over the nonzero taps; otherwise
// the kernel is kK x kK with stride kS, and each vector loaded serves every row of the tile whose window holds it.
template <int kK, int kS>
struct Shape {};

template <int RB, int XV>
SN_INLINE void sum_taps(Shape<0, 1>, const DepthwiseParams& p, const Taps& taps, const float* at, V (&acc)[RB][XV]) {
  for (int64_t t = 0; t < taps.count; ++t) {
    const V w = set1(taps.value[t]);
    const float* from = at + taps.offset[t];
    SN_UNROLL for (int i = 0; i < RB; ++i) {
      SN_UNROLL for (int v = 0; v < XV; ++v) acc[i][v] = fma(w, load(from + i * p.pitch + v * VL), acc[i][v]);
    }
  }
}

template <int kK, int kS, int RB, int XV>
SN_INLINE void sum_taps(Shape<kK, kS>, const DepthwiseParams& p, const Taps& taps, const float* at, V (&acc)[RB][XV]) {
  SN_UNROLL for (int kx = 0; kx < kK; ++kx) {
    V w[kK];
    SN_UNROLL for (int ky = 0; ky < kK; ++ky) w[ky] = set1(taps.weights[ky * kK + kx]);
    SN_UNROLL for (int j = 0; j < (RB - 1) * kS + kK; ++j) {
      const float* from = at + (j % kS * kS + kx % kS) * p.phase_size + j / kS * p.pitch + kx / kS;
      SN_UNROLL for (int v = 0; v < XV; ++v) {
        const V x = load(from + v * VL);
        SN_UNROLL for (int i = 0; i < RB; ++i) {
          const int ky = j - i * kS;
          if (ky >= 0 && ky < kK) acc[i][v] = fma(w[ky], x, acc[i][v]);
        }
      }
    }
  }
}

struct Output {
  float* out;             // row oy, column 0 of the block
  const float* residual;  // the same place, or null
  V bias, low, high;
};

// Outputs [y, y + RB) x [x, x + XV * VL) of the block, fewer columns where the row ends. Not inlined: it is long,
// and its callers would hold many copies.
template <int RB, int XV, class S>
__attribute__((noinline)) void tile(S shape, const DepthwiseParams& p, const Taps& taps, const float* phases,
                                    const Output& o, int64_t y, int64_t x) {
  V acc[RB][XV];
  SN_UNROLL for (int i = 0; i < RB; ++i) {
    SN_UNROLL for (int v = 0; v < XV; ++v) acc[i][v] = o.bias;
  }
  sum_taps(shape, p, taps, phases + y * p.pitch + x, acc);
  const V low = o.low, high = o.high;  // for all the compiler knows, stores could change these
  const int64_t ow = p.ow;
  if (!o.residual && x + XV * VL <= ow) {
    float* to = o.out + y * ow + x;
    SN_UNROLL for (int i = 0; i < RB; ++i, to += ow) {
      SN_UNROLL for (int v = 0; v < XV; ++v) store(to + v * VL, clip(acc[i][v], low, high));
    }
    return;
  }
  SN_UNROLL for (int i = 0; i < RB; ++i) {
    SN_UNROLL for (int v = 0; v < XV; ++v) {
      const int64_t at = (y + i) * ow + x + v * VL, left = ow - x - v * VL;
      if (left >= VL) {
        if (o.residual) acc[i][v] = add(acc[i][v], load(o.residual + at));
        store(o.out + at, clip(acc[i][v], low, high));
      } else if (left > 0) {
        const int n = static_cast<int>(left);
        if (o.residual) acc[i][v] = add(acc[i][v], load_n(o.residual + at, n));
        store_n(o.out + at, clip(acc[i][v], low, high), n);
      }
    }
  }
}

// RB rows from y on: tiles of XV vectors, then of one.
template <int RB, int XV, class S>
SN_INLINE void tile_row(S shape, const DepthwiseParams& p, const Taps& taps, const float* phases, const Output& o,
                        int64_t y) {
  int64_t x = 0;
  for (; x + (XV - 1) * VL < p.ow; x += XV * VL) tile<RB, XV>(shape, p, taps, phases, o, y, x);
  for (; x < p.ow; x += VL) tile<RB, 1>(shape, p, taps, phases, o, y, x);
}

// Eight accumulators keep two FMA units with a latency of four cycles busy; seven fit the 7 and 14 rows of the late
// layers, whose rows are one vector.
template <class S>
void block(S shape, const DepthwiseParams& p, const Taps& taps, const float* phases, const Output& o, int64_t rows) {
  int64_t y = 0;
  if (p.ow <= VL) {
    for (; y + 7 <= rows; y += 7) tile<7, 1>(shape, p, taps, phases, o, y, 0);
  }
  for (; y + 4 <= rows; y += 4) tile_row<4, 2>(shape, p, taps, phases, o, y);
  for (; y + 2 <= rows; y += 2) tile_row<2, 2>(shape, p, taps, phases, o, y);
  for (; y < rows; ++y) tile_row<1, 4>(shape, p, taps, phases, o, y);
}

// Outputs [x, end) of RB rows, straight from the image's rows. Of each row of taps, stride 1 loads the columns to the
// left, at and to the right of a vector of outputs. Stride 2 loads those from the left ones on and from the middle ones
// on: neighbouring lanes hold the columns (left, middle) and (middle, right), half the middle weight goes to each, and
// neighbours are added at the end, once for three rows of taps and without a shuffle of what is loaded. With kEdge,
// lanes outside of the image are zero.
template <int kS, int RB, bool kEdge>
__attribute__((noinline)) void image_tiles(const DepthwiseParams& p, const float* const* rows, const float* weights,
                                           const Output& o, int64_t y, int64_t x, int64_t end) {
  constexpr int kLoads = kS == 1 ? 3 : 2;
  V w[3][kLoads];
  SN_UNROLL for (int ky = 0; ky < 3; ++ky) {
    const float* row = weights + 3 * ky;
    SN_UNROLL for (int l = 0; l < kLoads; ++l) {
      w[ky][l] = kS == 1 ? set1(row[l]) : alternate(l == 0 ? row[0] : 0.5f * row[1], l == 0 ? 0.5f * row[1] : row[2]);
    }
  }
  const V bias = o.bias, low = o.low, high = o.high;
  for (; x < end; x += VL) {
    V acc[RB][kS];
    SN_UNROLL for (int i = 0; i < RB; ++i) {
      SN_UNROLL for (int h = 0; h < kS; ++h) acc[i][h] = zero();
    }
    SN_UNROLL for (int j = 0; j < (RB - 1) * kS + 3; ++j) {
      SN_UNROLL for (int h = 0; h < kS; ++h) {
        SN_UNROLL for (int l = 0; l < kLoads; ++l) {
          const int64_t at = kS * x + h * VL + l - 1;
          const int64_t left = p.iw - at, n = left < 0 ? 0 : left < VL ? left : VL;
          const V v = kEdge ? load_range(rows[j] + at, at < 0 ? 1 : 0, static_cast<int>(n)) : load(rows[j] + at);
          SN_UNROLL for (int i = 0; i < RB; ++i) {
            const int ky = j - i * kS;
            if (ky >= 0 && ky < 3) acc[i][h] = fma(w[ky][l], v, acc[i][h]);
          }
        }
      }
    }
    const int64_t left = p.ow - x;
    SN_UNROLL for (int i = 0; i < RB; ++i) {
      V sum = acc[i][0];
      if (kS == 2) {
        V even, odd;
        deinterleave(acc[i][0], acc[i][kS - 1], even, odd);
        sum = add(even, odd);
      }
      sum = add(sum, bias);
      const int64_t to = (y + i) * p.ow + x;
      if (kEdge) {
        const int n = static_cast<int>(left < VL ? left : VL);
        if (o.residual) sum = add(sum, load_n(o.residual + to, n));
        store_n(o.out + to, clip(sum, low, high), n);
      } else {
        if (o.residual) sum = add(sum, load(o.residual + to));
        store(o.out + to, clip(sum, low, high));
      }
    }
  }
}

// Rows [y, rows) of a block that begins with row oy, RB at a time; returns the first that is left.
template <int kS, int RB>
SN_INLINE int64_t image_rows(const DepthwiseParams& p, const float* image, const float* zeros, const float* weights,
                             const Output& o, int64_t oy, int64_t y, int64_t rows) {
  constexpr int kRows = (RB - 1) * kS + 3;
  // Vectors past the first, all of whose loads and outputs lie in the image.
  const int64_t whole = (p.iw - (2 - kS)) / (kS * VL), fit = whole < p.ow / VL ? whole : p.ow / VL;
  const int64_t inner = (fit > 1 ? fit : 1) * VL;
  for (; y + RB <= rows; y += RB) {
    const float* from[kRows];
    const int64_t first = (oy + y) * kS - 1;
    const float* row = image + first * p.iw;
    for (int j = 0; j < kRows; ++j, row += p.iw) from[j] = row;
    if (first < 0) from[0] = zeros;
    for (int64_t j = first < p.ih ? p.ih - first : 0; j < kRows; ++j) from[j] = zeros;
    image_tiles<kS, RB, true>(p, from, weights, o, y, 0, inner > VL ? VL : p.ow);
    if (inner <= VL) continue;
    image_tiles<kS, RB, false>(p, from, weights, o, y, VL, inner);
    if (inner < p.ow) image_tiles<kS, RB, true>(p, from, weights, o, y, inner, p.ow);
  }
  return y;
}

template <int kS>
void image_block(const DepthwiseParams& p, const float* image, const float* zeros, const float* weights,
                 const Output& o, int64_t oy, int64_t rows) {
  // Seven divides what images of 224x224 come down to, and shares loads and set-up among more rows than four. AVX2 has
  // no registers for the weights of stride 1 beside seven sums: long rows are 12 % faster by fours.
  int64_t y = 0;
  if (VL == 16 || kS == 2 || p.ow <= 8 * VL) y = image_rows<kS, 7>(p, image, zeros, weights, o, oy, y, rows);
  y = image_rows<kS, 4>(p, image, zeros, weights, o, oy, y, rows);
  y = image_rows<kS, 2>(p, image, zeros, weights, o, oy, y, rows);
  image_rows<kS, 1>(p, image, zeros, weights, o, oy, y, rows);
}

// Whether a layer is computed from the image itself, and not from a padded copy: 3x3, padded by one above and to the
// left, where no output begins right of the image. On 3x3 layers of MobileNet faster than copies and than neighbours
// taken from registers: AVX2 1.0-1.2 times at stride 1, 1.2-1.6 at stride 2, AVX-512 1.0-1.2 and 1.05-1.3. Four lanes
// would be mostly edges.
template <int kK, int kS>
bool reads_image(const DepthwiseParams& p) {
  return VL >= 8 && kK == 3 && p.top == 1 && p.left == 1 && (p.ow - 1) * kS < p.iw;
}

template <int kK, int kS>
void depthwise(const DepthwiseParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  // Two sets of phase planes: the next block is copied before this one is computed, or loads would overtake the
  // stores that they depend on. The columns of padding, which no copy touches, stay zero.
  const int64_t set = p.sh * p.sw * p.phase_size + kDepthwiseSlack;
  float* phases = static_cast<float*>(args.scratch);
  float* next = phases + set;
  const bool from_image = reads_image<kK, kS>(p);
  memset(phases, 0, static_cast<size_t>(2 * set) * sizeof(float));
  if (!from_image) copy_block(p, args.in[0], begin, phases);
  int64_t plane = begin / p.blocks, block_of_plane = begin % p.blocks, channel = plane % p.channels;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t oy = block_of_plane * p.block_rows;
    const int64_t rows = p.oh - oy < p.block_rows ? p.oh - oy : p.block_rows;
    if (task + 1 < end && !from_image) copy_block(p, args.in[0], task + 1, next);
    for (int64_t j = 0; j < p.multiplier; ++j) {
      const int64_t m = channel * p.multiplier + j;
      const int64_t at = ((plane * p.multiplier + j) * p.oh + oy) * p.ow, n = rows * p.ow;
      const Taps taps{p.offset + p.start[m], p.value + p.start[m], p.start[m + 1] - p.start[m],
                      p.weights + m * p.kh * p.kw};
      const Output o{args.out + at, p.has_residual ? args.in[1] + at : nullptr, set1(p.bias[m]), set1(p.low),
                     set1(p.high)};
      // A tap of the loop costs a load an FMA; unrolled, vertical neighbours share their loads.
      if (from_image) {
        image_block<kS>(p, args.in[0] + plane * p.ih * p.iw, phases, taps.weights, o, oy, rows);
      } else if (kK > 0 && taps.count * 2 > kK * kK) {
        block(Shape<kK, kS>(), p, taps, phases, o, rows);
      } else {
        block(Shape<0, 1>(), p, taps, phases, o, rows);
      }
      if (p.after.act == Act::none) continue;
      const V a = set1(p.after.a), b = set1(p.after.b);
      for (int64_t i = 0; i < n; i += VL) {
        const int k = n - i < VL ? static_cast<int>(n - i) : VL;
        store_n(o.out + i, apply(p.after.act, load_n(o.out + i, k), a, b), k);
      }
    }
    float* done = phases;
    phases = next, next = done;
    if (++block_of_plane < p.blocks) continue;
    block_of_plane = 0, ++plane;
    if (++channel == p.channels) channel = 0;
  }
}

}  // namespace

#define SN_DEPTHWISE(name, K, S)                                                                           \
  void depthwise_##name(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept { \
    depthwise<K, S>(*static_cast<const DepthwiseParams*>(params), args, begin, end);                       \
  }
SN_DEPTHWISE(direct, 0, 1)
SN_DEPTHWISE(k3s1, 3, 1)
SN_DEPTHWISE(k3s2, 3, 2)
SN_DEPTHWISE(k5s1, 5, 1)
SN_DEPTHWISE(k5s2, 5, 2)
#undef SN_DEPTHWISE

}  // namespace SN_ISA
}  // namespace sn
