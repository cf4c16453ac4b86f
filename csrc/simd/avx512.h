// Vec for AVX-512 F/BW/DQ/VL: sixteen lanes. Contract: scalar.h.
#pragma once

#pragma GCC diagnostic push
#if !defined(__clang__)  // GCC 12's own header initialises its undefined vectors with themselves (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

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
constexpr int VL = 16;
constexpr bool kHalves = true;
struct V { __m512 v; };
struct M { __mmask16 m; };
struct Lanes { __mmask16 m; };

SN_INLINE __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

SN_INLINE V load(const float* p) { return {_mm512_loadu_ps(p)}; }
SN_INLINE V load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
SN_INLINE V load_once(const float* p) {  // or several FMAs load it again each
  V a = load(p);
  asm("" : "+v"(a.v));
  return a;
}
SN_INLINE V loada(const float* p) { return {_mm512_load_ps(p)}; }
SN_INLINE void store(float* p, V a) { _mm512_storeu_ps(p, a.v); }
SN_INLINE void storea(float* p, V a) { _mm512_store_ps(p, a.v); }
SN_INLINE V load_n(const float* p, int n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
SN_INLINE Lanes lanes(int low, int high) { return {static_cast<__mmask16>(first_lanes(high) & ~first_lanes(low))}; }
SN_INLINE V load_in(Lanes in, const float* p) { return {_mm512_maskz_loadu_ps(in.m, p)}; }
SN_INLINE V load_range(const float* p, int low, int high) { return load_in(lanes(low, high), p); }
SN_INLINE void store_n(float* p, V a, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), a.v); }
SN_INLINE void store_range(float* p, V a, int low, int high) {
  _mm512_mask_storeu_ps(p, lanes(low, high).m, a.v);
}
SN_INLINE V load_strided(const float* p, int64_t s) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return {_mm512_i32gather_ps(_mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(s))), p, 4)};
}
SN_INLINE void deinterleave(V a, V b, V& even, V& odd) {
  const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i o = _mm512_add_epi32(e, _mm512_set1_epi32(1));
  even.v = _mm512_permutex2var_ps(a.v, e, b.v), odd.v = _mm512_permutex2var_ps(a.v, o, b.v);
}
SN_INLINE V alternate(float a, float b) { return {_mm512_unpacklo_ps(_mm512_set1_ps(a), _mm512_set1_ps(b))}; }
SN_INLINE V slide(V a, V b) {
  return {_mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b.v), _mm512_castps_si512(a.v), 1))};
}
SN_INLINE V four_quarters(__m128 a, __m128 b, __m128 c, __m128 d) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_set_m128(b, a)), _mm256_set_m128(d, c), 1)};
}
SN_INLINE V gather(const float* base, const uint16_t* idx) {
  return four_quarters(four_of(base, idx), four_of(base, idx + 4), four_of(base, idx + 8), four_of(base, idx + 12));
}
SN_INLINE V gather_fours(const float* base, const uint16_t* idx) {
  const Four at = four_at(base, idx);
  return four_quarters(_mm_loadu_ps(at.a), _mm_loadu_ps(at.b), _mm_loadu_ps(at.c), _mm_loadu_ps(at.d));
}
SN_INLINE V gather_splats(const float* base, const uint16_t* idx) {
  const Four at = four_at(base, idx);
  return four_quarters(_mm_broadcast_ss(at.a), _mm_broadcast_ss(at.b), _mm_broadcast_ss(at.c), _mm_broadcast_ss(at.d));
}
SN_INLINE V splat(const float* p, int n, int i) { (void)n; return {_mm512_set1_ps(p[i])}; }
SN_INLINE const float* row_at(const float* p, int64_t i) {  // one register, or an FMA and its load issue as two
  p += i;
  asm("" : "+r"(p));
  return p;
}
SN_INLINE V set1(float x) { return {_mm512_set1_ps(x)}; }
SN_INLINE V zero() { return {_mm512_setzero_ps()}; }
SN_INLINE V add(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
SN_INLINE V sub(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
SN_INLINE V mul(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
SN_INLINE V div(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
SN_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
SN_INLINE V load_half(const float* p) { return {_mm512_castps256_ps512(_mm256_loadu_ps(p))}; }
SN_INLINE void store_half(float* p, V a) { _mm256_storeu_ps(p, _mm512_castps512_ps256(a.v)); }
SN_INLINE V fma_half(V a, V b, V c) {
  const __m256 x = _mm512_castps512_ps256(a.v), y = _mm512_castps512_ps256(b.v), z = _mm512_castps512_ps256(c.v);
  return {_mm512_castps256_ps512(_mm256_fmadd_ps(x, y, z))};
}
SN_INLINE V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }
SN_INLINE V nan_max(V a, V b) {  // max takes b where either is NaN
  return {_mm512_mask_mov_ps(_mm512_max_ps(a.v, b.v), _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), a.v)};
}
SN_INLINE V min(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }
SN_INLINE V abs(V a) { return {_mm512_abs_ps(a.v)}; }
SN_INLINE V sqrt(V a) { return {_mm512_sqrt_ps(a.v)}; }
SN_INLINE V nearest(V a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
SN_INLINE V scale2(V a, V n) { return {_mm512_scalef_ps(a.v, n.v)}; }
SN_INLINE M lt(V a, V b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
SN_INLINE V select(M m, V a, V b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }
SN_INLINE float hsum(V a) { return _mm512_reduce_add_ps(a.v); }
SN_INLINE float hmax(V a) { return _mm512_reduce_max_ps(a.v); }
// clang-format on

}  // namespace SN_ISA
}  // namespace sn
