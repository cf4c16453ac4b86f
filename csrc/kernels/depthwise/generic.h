// Depthwise convolution, written once over V. Contract: depthwise.h.
#include "kernels/depthwise/depthwise.h"
#include "simd/math.h"
#include "simd/phases.h"

#define SN_UNROLL _Pragma("GCC unroll 17")  // rows of an image that seven of a 5x5 layer see at stride 2: the most

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

// What `image_tiles` loads for a row of taps. Stride 1: the columns that each tap sees. Stride 2: neighbouring columns,
// those of taps (0, 1), (2, 3) ... and of the last two. A tap that two loads see has half of its weight in each, and
// neighbouring sums are added at the end, without a shuffle of what is loaded.
template <int kK, int kS>
struct Loads {
  static constexpr int kCount = kS == 1 ? kK : (kK + 1) / 2, kShared = kS == 1 ? kK : kK - 2;
  static constexpr int first(int l) { return kS == 1 ? l : l < kCount - 1 ? 2 * l : kK - 2; }
  static SN_INLINE V weight(const float* row, int l) {
    const int tap = first(l);
    if (kS == 1) return set1(row[tap]);
    return alternate(tap == kShared ? 0.5f * row[tap] : row[tap],
                     tap + 1 == kShared ? 0.5f * row[tap + 1] : row[tap + 1]);
  }
};

struct Columns {
  int64_t at;    // of a vector's first lane
  Lanes inside;  // its lanes that lie in the image
};

// Outputs [x, end) of RB rows, straight from the image's rows, each vector of them from H vectors of columns. With
// kEdge, lanes outside of the image are zero.
template <int kK, int kS, int H, int RB, bool kEdge>
__attribute__((noinline)) void image_tiles(const DepthwiseParams& p, const float* const* rows, const float* weights,
                                           const Output& o, int64_t y, int64_t x, int64_t end) {
  using L = Loads<kK, kS>;
  constexpr int kRows = (RB - 1) * kS + kK;
  // All weights in registers where there are enough; else those of one load.
  constexpr bool kKeep = kK == 3 && (kS == 2 || VL == 16);
  V kept[L::kCount][kK];
  SN_UNROLL for (int l = 0; l < L::kCount && kKeep; ++l) {
    SN_UNROLL for (int ky = 0; ky < kK; ++ky) kept[l][ky] = L::weight(weights + ky * kK, l);
  }
  const V bias = o.bias, low = o.low, high = o.high;
  const int64_t iw = p.iw, ow = p.ow, left = p.left;
  for (; x < end; x += VL) {
    V acc[RB][H];
    SN_UNROLL for (int i = 0; i < RB; ++i) {
      SN_UNROLL for (int h = 0; h < H; ++h) acc[i][h] = zero();
    }
    const auto columns = [&](int h, int l) __attribute__((always_inline)) -> Columns {
      const int64_t at = kS * x + h * VL + L::first(l) - left, room = iw - at;
      return {at, lanes(static_cast<int>(at < 0 ? -at : 0), static_cast<int>(room < 0 ? 0 : room < VL ? room : VL))};
    };
    const auto add_row = [&](const V(&w)[kK], Columns c, int h, int j) __attribute__((always_inline)) {
      const V v = kEdge ? load_in(c.inside, rows[j] + c.at) : load(rows[j] + c.at);
      SN_UNROLL for (int i = 0; i < RB; ++i) {
        const int ky = j - i * kS;
        if (ky >= 0 && ky < kK) acc[i][h] = fma(w[ky], v, acc[i][h]);
      }
    };
    // 3x3 at stride 2 goes row by row, which is 3-12 % faster there; the others load by load, with one load's weights.
    if (kK == 3 && kS == 2) {
      SN_UNROLL for (int j = 0; j < kRows; ++j) {
        SN_UNROLL for (int h = 0; h < H; ++h) {
          SN_UNROLL for (int l = 0; l < L::kCount; ++l) add_row(kept[l], columns(h, l), h, j);
        }
      }
    } else {
      SN_UNROLL for (int l = 0; l < L::kCount; ++l) {
        V w[kK];
        SN_UNROLL for (int ky = 0; ky < kK; ++ky) w[ky] = kKeep ? kept[l][ky] : L::weight(weights + ky * kK, l);
        SN_UNROLL for (int h = 0; h < H; ++h) {
          const Columns c = columns(h, l);
          SN_UNROLL for (int j = 0; j < kRows; ++j) add_row(w, c, h, j);
        }
      }
    }
    float* out = o.out + y * ow + x;
    const float* residual = o.residual ? o.residual + y * ow + x : nullptr;
    const int n = static_cast<int>(ow - x < VL ? ow - x : VL);
    SN_UNROLL for (int i = 0; i < RB; ++i) {
      V sum = acc[i][0];
      if (kS == 2) {
        V even, odd;
        deinterleave(acc[i][0], H == 2 ? acc[i][H - 1] : zero(), even, odd);
        sum = add(even, odd);
      }
      sum = add(sum, bias);
      if (residual) sum = add(sum, kEdge ? load_n(residual + i * ow, n) : load(residual + i * ow));
      sum = clip(sum, low, high);
      if (kEdge) {
        store_n(out, sum, n);
      } else {
        store(out, sum);
      }
      out += ow;
    }
  }
}

// Rows [y, rows) of a block that begins with row oy, RB at a time; returns the first that is left.
template <int kK, int kS, int H, int RB>
SN_INLINE int64_t image_rows(const DepthwiseParams& p, const float* image, const float* zeros, const float* weights,
                             const Output& o, int64_t oy, int64_t y, int64_t rows) {
  constexpr int kRows = (RB - 1) * kS + kK;
  // Vectors past the first, all of whose loads and outputs lie in the image.
  const int64_t whole = (p.iw + p.left - Loads<kK, kS>::first(Loads<kK, kS>::kCount - 1)) / (kS * VL);
  const int64_t fit = whole < p.ow / VL ? whole : p.ow / VL;
  const int64_t inner = (fit > 1 ? fit : 1) * VL;
  for (; y + RB <= rows; y += RB) {
    const float* from[kRows];
    const int64_t first = (oy + y) * kS - p.top;
    for (int64_t j = 0, r = first; j < kRows; ++j, ++r) from[j] = r >= 0 && r < p.ih ? image + r * p.iw : zeros;
    image_tiles<kK, kS, H, RB, true>(p, from, weights, o, y, 0, inner > VL ? VL : p.ow);
    if (inner <= VL) continue;
    image_tiles<kK, kS, H, RB, false>(p, from, weights, o, y, VL, inner);
    if (inner < p.ow) image_tiles<kK, kS, H, RB, true>(p, from, weights, o, y, inner, p.ow);
  }
  return y;
}

template <int kK, int kS, int H>
void image_block(const DepthwiseParams& p, const float* image, const float* zeros, const float* weights,
                 const Output& o, int64_t oy, int64_t rows) {
  // Seven divides what images of 224x224 come down to, and shares loads and set-up among more rows than four.
  int64_t y = 0;
  y = image_rows<kK, kS, H, 7>(p, image, zeros, weights, o, oy, y, rows);
  y = image_rows<kK, kS, H, 4>(p, image, zeros, weights, o, oy, y, rows);
  y = image_rows<kK, kS, H, 2>(p, image, zeros, weights, o, oy, y, rows);
  image_rows<kK, kS, H, 1>(p, image, zeros, weights, o, oy, y, rows);
}

template <int kK, int kS>
void depthwise(const DepthwiseParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  // 3x3 and 5x5 layers are computed from the image itself, not from a padded copy, where a row's first vector is its
  // only one at the left edge: faster than copies, and than neighbours taken from registers (docs/performance.md). Four
  // lanes would be mostly edges.
  constexpr bool kImage = kK > 0 && VL >= 8;
  const bool from_image = kImage && p.left <= VL;
  // Two sets of phase planes: the next block is copied before this one is computed, or loads would overtake the
  // stores that they depend on. The columns of padding, which no copy touches, stay zero.
  const int64_t set = p.sh * p.sw * p.phase_size + kDepthwiseSlack;
  float* phases = static_cast<float*>(args.scratch);
  float* next = phases + set;
  const float* const zeros = phases;  // a row above an image
  memset(phases, 0, static_cast<size_t>(from_image ? p.iw : 2 * set) * sizeof(float));
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
      if constexpr (kImage) {
        const float* image = args.in[0] + plane * p.ih * p.iw;
        if (!from_image) {
          block(Shape<0, 1>(), p, taps, phases, o, rows);
        } else if (kS == 1 || p.ow <= VL / 2) {
          image_block<kK, kS, 1>(p, image, zeros, taps.weights, o, oy, rows);
        } else {
          image_block<kK, kS, kS>(p, image, zeros, taps.weights, o, oy, rows);
        }
      } else if (kK > 0 && taps.count * 2 > kK * kK) {
        // A tap of the loop costs a load an FMA; unrolled, vertical neighbours share their loads.
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
