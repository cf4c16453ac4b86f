// A maximum that is NaN where either operand is, as in torch and NumPy. The x86 instruction takes its second operand
// then. Include after a simd/<isa>.h.
#pragma once

#ifndef SN_ISA
#error "define SN_ISA and include simd/<isa>.h before simd/nan_max.h"
#endif

namespace sn {
namespace SN_ISA {

SN_INLINE float nan_max_of(float a, float b) {
  return a > b || a != a ? a : b;
}
#ifdef __AVX2__
SN_INLINE __m256 nan_max_of(__m256 a, __m256 b) {
  return _mm256_or_ps(_mm256_max_ps(a, b), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));  // all bits set is a NaN, too
}
#endif
#ifdef __AVX512F__
SN_INLINE __m512 nan_max_of(__m512 a, __m512 b) {
  return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
#endif
#ifdef __ARM_NEON
SN_INLINE float32x4_t nan_max_of(float32x4_t a, float32x4_t b) {
  return vmaxq_f32(a, b);
}
#endif

SN_INLINE V nan_max(V a, V b) {
  return {nan_max_of(a.v, b.v)};
}

inline float nan_hmax(V a) {
  float lanes[VL];
  store(lanes, a);
  for (int i = 1; i < VL; ++i) lanes[0] = nan_max_of(lanes[0], lanes[i]);
  return lanes[0];
}

}  // namespace SN_ISA
}  // namespace sn
