// Four floats of x by 16-bit indices: what avx2.h and avx512.h share.
//
// By loads: gathers are microcode on AMD, 1.3 cycles a lane against 0.65, and on many an Intel since Downfall. Two
// indices a load, as loads are what bounds this.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace sn {
namespace SN_ISA {

struct Four {
  const float *a, *b, *c, *d;
};

SN_INLINE Four four_at(const float* base, const uint16_t* idx) {
  uint32_t low, high;
  memcpy(&low, idx, sizeof low), memcpy(&high, idx + 2, sizeof high);
  return {base + (low & 0xffff), base + (low >> 16), base + (high & 0xffff), base + (high >> 16)};
}

SN_INLINE __m128 four_of(const float* base, const uint16_t* idx) {
  const Four at = four_at(base, idx);
  __m128 v = _mm_load_ss(at.a);
  v = _mm_insert_ps(v, _mm_load_ss(at.b), 0x10);
  v = _mm_insert_ps(v, _mm_load_ss(at.c), 0x20);
  return _mm_insert_ps(v, _mm_load_ss(at.d), 0x30);
}

}  // namespace SN_ISA
}  // namespace sn
