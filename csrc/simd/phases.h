// Deals a row out by stride phase: samples x with (x + left) % s alike end up side by side, which turns every tap of a
// strided window into a unit-stride load. Include after a simd/<isa>.h.
#pragma once

#ifndef SN_ISA
#error "define SN_ISA and include simd/<isa>.h before simd/phases.h"
#endif

namespace sn {
namespace SN_ISA {

// Sample x goes to to[(x + left) % s * phase_size + (x + left) / s], for 0 <= x < n. Reads whole vectors by full(x),
// the rest by part(x, count); writes no other element.
template <class Full, class Part>
SN_INLINE void split_phases(int64_t n, int64_t s, int64_t left, int64_t phase_size, float* to, Full full, Part part) {
  int64_t x = 0;
  if (s == 1) {
    to += left;
    for (; x + VL <= n; x += VL) store(to + x, full(x));
    if (x < n) store_n(to + x, part(x, static_cast<int>(n - x)), static_cast<int>(n - x));
  } else if (s == 2) {
    float* even = to + (left & 1) * phase_size + left / 2;
    float* odd = to + (~left & 1) * phase_size + (left + 1) / 2;
    V e, o;
    for (; x + 2 * VL <= n; x += 2 * VL) {
      deinterleave(full(x), full(x + VL), e, o);
      store(even + x / 2, e);
      store(odd + x / 2, o);
    }
    if (x == n) return;
    const int rest = static_cast<int>(n - x);
    deinterleave(rest < VL ? part(x, rest) : full(x), rest > VL ? part(x + VL, rest - VL) : zero(), e, o);
    store_n(even + x / 2, e, (rest + 1) / 2);
    store_n(odd + x / 2, o, rest / 2);
  } else {
    int64_t phase = left % s, index = left / s;
    for (; x < n; x += VL) {
      const int count = n - x < VL ? static_cast<int>(n - x) : VL;
      float t[VL];
      store(t, count < VL ? part(x, count) : full(x));
      for (int i = 0; i < count; ++i) {
        to[phase * phase_size + index] = t[i];
        if (++phase == s) phase = 0, ++index;
      }
    }
  }
}

}  // namespace SN_ISA
}  // namespace sn
