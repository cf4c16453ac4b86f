// IEEE 754 binary16 <-> binary32, rounding to nearest, ties to even; denormals kept, overflow becomes infinity.
#pragma once

#include <cstdint>
#include <cstring>

namespace sn {

inline std::uint16_t half_from_float(float value) {
  std::uint32_t x;
  std::memcpy(&x, &value, 4);
  const std::uint32_t sign = x >> 16 & 0x8000u;
  x &= 0x7fffffffu;
  if (x > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);   // NaN
  if (x >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // >= 65520 rounds to infinity
  std::uint32_t mantissa, half;
  int drop;
  if (x >= 0x38800000u) {  // normal in half: 2^-14 and up
    half = (x - 0x38000000u) >> 13;
    mantissa = x, drop = 13;
  } else {  // a multiple of 2^-24
    const int exponent = static_cast<int>(x >> 23);
    drop = 126 - exponent;
    if (drop > 24) return static_cast<std::uint16_t>(sign);
    mantissa = (x & 0x7fffffu) | 0x800000u;
    half = mantissa >> drop;
  }
  const std::uint32_t rest = mantissa & ((1u << drop) - 1), tie = 1u << (drop - 1);
  half += rest > tie || (rest == tie && (half & 1));  // a carry into the exponent is the right result
  return static_cast<std::uint16_t>(sign | half);
}

inline float float_from_half(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, mantissa = half & 0x3ffu;
  std::uint32_t x;
  if (exponent == 31) {
    x = 0x7f800000u | mantissa << 13;
  } else if (exponent != 0) {
    x = (exponent + 112) << 23 | mantissa << 13;
  } else {
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    std::memcpy(&x, &value, 4);
  }
  x |= sign;
  float value;
  std::memcpy(&value, &x, 4);
  return value;
}

}  // namespace sn
