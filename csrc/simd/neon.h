// Vec for AArch64 NEON: four lanes. Contract: scalar.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#ifndef SN_ISA
#error "define SN_ISA before including a simd header"
#endif
#define SN_INLINE inline __attribute__((always_inline))

namespace sn {
namespace SN_ISA {

// clang-format off: one operation a line, so that the ISAs' headers read side by side
constexpr int VL = 4;
constexpr bool kHalves = false;
struct V { float32x4_t v; };
struct M { uint32x4_t m; };
struct Lanes { int low, high; };

SN_INLINE V load(const float* p) { return {vld1q_f32(p)}; }
SN_INLINE V load_f16(const uint16_t* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))}; }
SN_INLINE V load_once(const float* p) { return load(p); }
SN_INLINE V loada(const float* p) { return {vld1q_f32(p)}; }
SN_INLINE void store(float* p, V a) { vst1q_f32(p, a.v); }
SN_INLINE void storea(float* p, V a) { vst1q_f32(p, a.v); }
SN_INLINE V load_n(const float* p, int n) {  // NEON has no masked load
  float t[4] = {0, 0, 0, 0};
  for (int i = 0; i < n && i < 4; ++i) t[i] = p[i];
  return {vld1q_f32(t)};
}
SN_INLINE Lanes lanes(int low, int high) { return {low, high}; }
SN_INLINE V load_in(Lanes in, const float* p) {
  float t[4] = {0, 0, 0, 0};
  for (int i = in.low; i < in.high && i < 4; ++i) t[i] = p[i];
  return {vld1q_f32(t)};
}
SN_INLINE V load_range(const float* p, int low, int high) { return load_in(lanes(low, high), p); }
SN_INLINE void store_n(float* p, V a, int n) {
  float t[4];
  vst1q_f32(t, a.v);
  for (int i = 0; i < n && i < 4; ++i) p[i] = t[i];
}
SN_INLINE void store_range(float* p, V a, int low, int high) {
  float t[4];
  vst1q_f32(t, a.v);
  for (int i = low > 0 ? low : 0; i < high && i < 4; ++i) p[i] = t[i];
}
SN_INLINE V load_strided(const float* p, int64_t s) {
  const float t[4] = {p[0], p[s], p[2 * s], p[3 * s]};
  return {vld1q_f32(t)};
}
SN_INLINE void deinterleave(V a, V b, V& even, V& odd) {
  const float32x4x2_t r = vuzpq_f32(a.v, b.v);
  even.v = r.val[0], odd.v = r.val[1];
}
SN_INLINE V alternate(float a, float b) { return {vzip1q_f32(vdupq_n_f32(a), vdupq_n_f32(b))}; }
SN_INLINE V slide(V a, V b) { return {vextq_f32(a.v, b.v, 1)}; }
SN_INLINE V gather(const float* base, const uint16_t* idx) {
  const float t[4] = {base[idx[0]], base[idx[1]], base[idx[2]], base[idx[3]]};
  return {vld1q_f32(t)};
}
SN_INLINE V gather_fours(const float* base, const uint16_t* idx) { return {vld1q_f32(base + *idx)}; }
SN_INLINE V gather_splats(const float* base, const uint16_t* idx) { return {vld1q_dup_f32(base + *idx)}; }
SN_INLINE V splat(const float* p, int n, int i) {  // FMAs take a lane of four weights that one load fetched
  if (n < 4) return {vdupq_n_f32(p[i])};
  const int from = i / 4 * 4 < n - 4 ? i / 4 * 4 : n - 4;
  return {vdupq_n_f32(vld1q_f32(p + from)[i - from])};
}
SN_INLINE const float* row_at(const float* p, int64_t i) {  // one register for the address, or the loads do not pair
  p += i;
  asm("" : "+r"(p));
  return p;
}
SN_INLINE V set1(float x) { return {vdupq_n_f32(x)}; }
SN_INLINE V zero() { return {vdupq_n_f32(0.0f)}; }
SN_INLINE V add(V a, V b) { return {vaddq_f32(a.v, b.v)}; }
SN_INLINE V sub(V a, V b) { return {vsubq_f32(a.v, b.v)}; }
SN_INLINE V mul(V a, V b) { return {vmulq_f32(a.v, b.v)}; }
SN_INLINE V div(V a, V b) { return {vdivq_f32(a.v, b.v)}; }
SN_INLINE V fma(V a, V b, V c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
SN_INLINE V load_half(const float* p) { return load(p); }
SN_INLINE void store_half(float* p, V a) { store(p, a); }
SN_INLINE V fma_half(V a, V b, V c) { return fma(a, b, c); }
SN_INLINE V max(V a, V b) { return {vmaxq_f32(a.v, b.v)}; }
SN_INLINE V nan_max(V a, V b) { return max(a, b); }  // NEON passes a NaN on
SN_INLINE V min(V a, V b) { return {vminq_f32(a.v, b.v)}; }
SN_INLINE V abs(V a) { return {vabsq_f32(a.v)}; }
SN_INLINE V sqrt(V a) { return {vsqrtq_f32(a.v)}; }
SN_INLINE V nearest(V a) { return {vrndnq_f32(a.v)}; }
SN_INLINE V scale2(V a, V n) {  // 2^n has the bit pattern (n + 127) << 23
  const int32x4_t e = vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n.v), vdupq_n_s32(127)), 23);
  return {vmulq_f32(a.v, vreinterpretq_f32_s32(e))};
}
SN_INLINE M lt(V a, V b) { return {vcltq_f32(a.v, b.v)}; }
SN_INLINE V select(M m, V a, V b) { return {vbslq_f32(m.m, a.v, b.v)}; }
SN_INLINE float hsum(V a) { return vaddvq_f32(a.v); }
SN_INLINE float hmax(V a) { return vmaxvq_f32(a.v); }
// clang-format on

}  // namespace SN_ISA
}  // namespace sn
