// Vec for AVX2 + FMA: eight lanes. Contract: scalar.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#ifndef SN_ISA
#error "define SN_ISA before including a simd header"
#endif
#define SN_INLINE inline __attribute__((always_inline))

#include "simd/fours.h"

namespace sn {
namespace SN_ISA {

// clang-format off: one operation a line, so that the ISAs' headers read side by side
constexpr int VL = 8;
constexpr bool kHalves = false;
struct V { __m256 v; };
struct M { __m256 m; };
struct Lanes { __m256i m; };

// 0 to 7, from memory each time: GCC would keep them in a register through any loop, and the fullest kernels would have
// one of their sums on the stack for it, at twice the time.
alignas(32) constexpr int32_t kLanes[8] = {0, 1, 2, 3, 4, 5, 6, 7};
SN_INLINE __m256i lane_numbers() {
  __m256i lane;
  asm volatile("vmovdqa %1, %0" : "=x"(lane) : "m"(kLanes));
  return lane;
}
// lanes < n: all ones
SN_INLINE __m256i first_lanes(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane_numbers()); }


SN_INLINE V load(const float* p) { return {_mm256_loadu_ps(p)}; }
SN_INLINE V load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
SN_INLINE V load_once(const float* p) {  // or several FMAs load it again each
  V a = load(p);
  asm("" : "+x"(a.v));
  return a;
}
SN_INLINE V loada(const float* p) { return {_mm256_load_ps(p)}; }
SN_INLINE void store(float* p, V a) { _mm256_storeu_ps(p, a.v); }
SN_INLINE void storea(float* p, V a) { _mm256_store_ps(p, a.v); }
SN_INLINE V load_n(const float* p, int n) { return {_mm256_maskload_ps(p, first_lanes(n))}; }
SN_INLINE Lanes lanes(int low, int high) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), past = _mm256_set1_epi32(high);
  return {_mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(low), lane), _mm256_cmpgt_epi32(past, lane))};
}
SN_INLINE V load_in(Lanes in, const float* p) { return {_mm256_maskload_ps(p, in.m)}; }
SN_INLINE V load_range(const float* p, int low, int high) {
  return {_mm256_maskload_ps(p, _mm256_andnot_si256(first_lanes(low), first_lanes(high)))};
}
SN_INLINE void store_n(float* p, V a, int n) {  // branches, as a masked store takes 12 cycles on AMD, these 3 to 4
  if (n >= VL) return store(p, a);
  if (n <= 0) return;
  __m128 x = _mm256_castps256_ps128(a.v);
  if (n & 4) _mm_storeu_ps(p, x), p += 4, x = _mm256_extractf128_ps(a.v, 1);
  if (n & 2) _mm_storel_pi(reinterpret_cast<__m64*>(p), x), p += 2, x = _mm_movehl_ps(x, x);
  if (n & 1) _mm_store_ss(p, x);
}
SN_INLINE void store_range(float* p, V a, int low, int high) {
  if (low > 0) a.v = _mm256_permutevar8x32_ps(a.v, _mm256_add_epi32(lane_numbers(), _mm256_set1_epi32(low))), p += low, high -= low;
  store_n(p, a, high);
}
SN_INLINE V load_strided(const float* p, int64_t s) {
  return {_mm256_setr_ps(p[0], p[s], p[2 * s], p[3 * s], p[4 * s], p[5 * s], p[6 * s], p[7 * s])};
}
SN_INLINE void deinterleave(V a, V b, V& even, V& odd) {
  const __m256 lo = _mm256_permute2f128_ps(a.v, b.v, 0x20), hi = _mm256_permute2f128_ps(a.v, b.v, 0x31);
  const __m256 e = _mm256_shuffle_ps(lo, hi, 0x88), o = _mm256_shuffle_ps(lo, hi, 0xdd);
  even.v = e, odd.v = o;
}
SN_INLINE V alternate(float a, float b) { return {_mm256_unpacklo_ps(_mm256_set1_ps(a), _mm256_set1_ps(b))}; }
SN_INLINE V slide(V a, V b) {
  const __m256i x = _mm256_castps_si256(a.v), middle = _mm256_castps_si256(_mm256_permute2f128_ps(a.v, b.v, 0x21));
  return {_mm256_castsi256_ps(_mm256_alignr_epi8(middle, x, 4))};
}
SN_INLINE V gather(const float* base, const uint16_t* idx) {
  return {_mm256_set_m128(four_of(base, idx + 4), four_of(base, idx))};
}
SN_INLINE V gather_fours(const float* base, const uint16_t* idx) {
  return {_mm256_set_m128(_mm_loadu_ps(base + idx[1]), _mm_loadu_ps(base + idx[0]))};
}
SN_INLINE V gather_splats(const float* base, const uint16_t* idx) {
  return {_mm256_set_m128(_mm_broadcast_ss(base + idx[1]), _mm_broadcast_ss(base + idx[0]))};
}
SN_INLINE V splat(const float* p, int n, int i) { (void)n; return {_mm256_set1_ps(p[i])}; }
SN_INLINE const float* row_at(const float* p, int64_t i) {  // one register, or an FMA and its load issue as two
  p += i;
  asm("" : "+r"(p));
  return p;
}
SN_INLINE V set1(float x) { return {_mm256_set1_ps(x)}; }
SN_INLINE V zero() { return {_mm256_setzero_ps()}; }
SN_INLINE V add(V a, V b) { return {_mm256_add_ps(a.v, b.v)}; }
SN_INLINE V sub(V a, V b) { return {_mm256_sub_ps(a.v, b.v)}; }
SN_INLINE V mul(V a, V b) { return {_mm256_mul_ps(a.v, b.v)}; }
SN_INLINE V div(V a, V b) { return {_mm256_div_ps(a.v, b.v)}; }
SN_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
SN_INLINE V load_half(const float* p) { return load(p); }
SN_INLINE void store_half(float* p, V a) { store(p, a); }
SN_INLINE V fma_half(V a, V b, V c) { return fma(a, b, c); }
SN_INLINE V max(V a, V b) { return {_mm256_max_ps(a.v, b.v)}; }
SN_INLINE V nan_max(V a, V b) {  // max takes b where either is NaN; all bits set is a NaN, too
  return {_mm256_or_ps(_mm256_max_ps(a.v, b.v), _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))};
}
SN_INLINE V min(V a, V b) { return {_mm256_min_ps(a.v, b.v)}; }
SN_INLINE V abs(V a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
SN_INLINE V sqrt(V a) { return {_mm256_sqrt_ps(a.v)}; }
SN_INLINE V nearest(V a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
SN_INLINE V scale2(V a, V n) {  // 2^n has the bit pattern (n + 127) << 23
  const __m256i e = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127)), 23);
  return {_mm256_mul_ps(a.v, _mm256_castsi256_ps(e))};
}
SN_INLINE M lt(V a, V b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
SN_INLINE V select(M m, V a, V b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
SN_INLINE float hsum(V a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
SN_INLINE float hmax(V a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
// clang-format on

}  // namespace SN_ISA
}  // namespace sn
