// sums[tile][filter] = sum over channels of v[channel][tile] * u[channel][filter], for one frequency: a register tile
// of up to kTiles tiles by kVectors vectors of filters, the tiles' values broadcast from memory.
#pragma once

#include "kernels/winograd/winograd.h"

namespace sn {
namespace SN_ISA {
namespace {

constexpr int kVectors = winograd_vectors(VL), kTiles = winograd_tiles(VL);

struct Product {
  const float* u;  // [depth][R * VL]
  const float* v;  // [depth / 8][8][tiles], the eights v_pitch apart
  int64_t v_pitch, tiles;
  int32_t depth;
  float* sums;  // [tile][width]
  int64_t width;
  bool first;         // or add to what is there
  const float* next;  // the weights needed next
  int64_t next_step;  // floats to fetch of them for each channel
};

template <int T, int R>
void product(const Product& q) {
  V acc[T][R];
#pragma GCC unroll 16
  for (int i = 0; i < T; ++i) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) acc[i][r] = q.first ? zero() : loada(q.sums + i * q.width + r * VL);
  }
  const float *u = q.u, *v = q.v, *next = q.next;
  for (int32_t k = 0; k < q.depth; k += kWinogradDepth, v += q.v_pitch) {
    const float* x = v;
    const float* end = u + (q.depth - k < kWinogradDepth ? q.depth - k : kWinogradDepth) * (R * VL);
    for (; u < end; u += R * VL, x += q.tiles, next += q.next_step) {
      __builtin_prefetch(next, 0, 2);
      V w[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) w[r] = loada(u + r * VL);
#pragma GCC unroll 16
      for (int i = 0; i < T; ++i) {
        const V xi = set1(x[i]);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) acc[i][r] = fma(xi, w[r], acc[i][r]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < T; ++i) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) storea(q.sums + i * q.width + r * VL, acc[i][r]);
  }
}

using ProductFn = void (*)(const Product&);

template <int R>
ProductFn product_of(int tiles) {
  constexpr ProductFn table[] = {product<1, R>, product<2, R>, product<3, R>,
                                 product<4, R>, product<5, R>, product<kTiles, R>};
  return table[tiles - 1];
}

inline ProductFn product_of(int tiles, int vectors) {
  switch (vectors) {
    case 1:
      return product_of<1>(tiles);
    case 2:
      return product_of<2>(tiles);
    case 3:
      return product_of < kVectors<3 ? 1 : 3>(tiles);
    default:
      return product_of < kVectors<4 ? 1 : 4>(tiles);
  }
}

// One frequency of one panel.
inline void multiply(const WinogradParams& p, const float* u, int32_t filters, const float* v, int64_t v_pitch,
                     int32_t tiles, float* sums) {
  const int32_t parts = (tiles + kTiles - 1) / kTiles, least = tiles / parts, larger = tiles % parts;
  const ProductFn less = product_of(least, filters / VL);
  const ProductFn more = larger > 0 ? product_of(least + 1, filters / VL) : less;
  for (int32_t k0 = 0; k0 < p.channels; k0 += p.kc) {
    const int32_t depth = p.channels - k0 < p.kc ? p.channels - k0 : p.kc;
    const float* next = u + static_cast<int64_t>(depth) * filters;
    Product q{
        u, v + k0 / kWinogradDepth * v_pitch, v_pitch, tiles, depth, sums, filters, k0 == 0, next, filters / parts};
    for (int32_t part = 0; part < parts; ++part) {
      const int32_t count = part < larger ? least + 1 : least;
      (part < larger ? more : less)(q);
      q.v += count;
      q.sums += static_cast<int64_t>(count) * filters;
      q.next += static_cast<int64_t>(depth) * q.next_step;
    }
    u = next;
  }
}

}  // namespace
}  // namespace SN_ISA
}  // namespace sn
