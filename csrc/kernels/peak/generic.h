#pragma once

#include "kernels/peak/burst.h"

namespace sn {
namespace SN_ISA {

// `rounds` rounds of kPeakChains independent FMAs: more chains than latency x ports (4-5 cycles x 2), and few enough
// for AVX2's sixteen registers. The sum keeps the compiler from dropping them.
float peak_burst(int64_t rounds) noexcept {
  V acc[kPeakChains];
#pragma GCC unroll 16
  for (int i = 0; i < kPeakChains; ++i) acc[i] = set1(static_cast<float>(i));
  const V a = set1(0.999f), b = set1(0.001f);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (int i = 0; i < kPeakChains; ++i) acc[i] = fma(a, b, acc[i]);  // an addend in place, as ARM has no other FMA
  }
  float sum = 0;
#pragma GCC unroll 16
  for (int i = 0; i < kPeakChains; ++i) sum += hsum(acc[i]);
  return sum;
}

extern const int peak_lanes;
const int peak_lanes = VL;

}  // namespace SN_ISA
}  // namespace sn
