// Vec for no SIMD at all: one lane. This header is also the contract of the others: each ISA's header defines the
// same names in its own namespace with VL lanes, and generic kernel bodies use nothing else. Everything sits in the
// namespace of the ISA, and ISA files include no inline library code (<algorithm>, <vector>): were one such function
// compiled with AVX-512 flags, the linker could pick that copy for the whole program (the ODR trap).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef SN_ISA
#error "define SN_ISA before including a simd header"
#endif
#define SN_INLINE inline __attribute__((always_inline))

namespace sn {
namespace SN_ISA {

// clang-format off: one operation a line, so that the ISAs' headers read side by side
constexpr int VL = 1;
constexpr bool kHalves = false;  // the lower VL / 2 lanes can be worked on alone
struct V { float v; };
struct M { bool m; };  // a mask, one flag a lane
struct Lanes { int low, high; };  // [low, high)

SN_INLINE V load(const float* p) { return {*p}; }
SN_INLINE V load_f16(const uint16_t* p) {  // VL IEEE 754 binary16 numbers, none of them infinite or NaN
  // mantissa * 2^(exponent - 25), or of denormals 2^-24, and without branches, which weights' signs would mispredict
  const uint32_t exponent = *p >> 10 & 31, normal = exponent != 0;
  const uint32_t scale = (exponent + 103 - normal) << 23 | (*p & 0x8000u) << 16;
  float a;
  memcpy(&a, &scale, sizeof a);
  return {static_cast<float>(static_cast<int32_t>((*p & 0x3ffu) | normal << 10)) * a};
}
SN_INLINE V load_once(const float* p) { return load(p); }  // for several FMAs
SN_INLINE V loada(const float* p) { return {*p}; }  // p aligned to the vector's size
SN_INLINE void store(float* p, V a) { *p = a.v; }
SN_INLINE void storea(float* p, V a) { *p = a.v; }
SN_INLINE V load_n(const float* p, int n) { return {n > 0 ? *p : 0.0f}; }  // lanes >= n are zero and not touched
// Lanes [low, high), the others are zero and not touched; in two steps for loops, which work out the mask once.
SN_INLINE Lanes lanes(int low, int high) { return {low, high}; }
SN_INLINE V load_in(Lanes in, const float* p) { return {in.low <= 0 && in.high > 0 ? *p : 0.0f}; }
SN_INLINE V load_range(const float* p, int low, int high) { return load_in(lanes(low, high), p); }
SN_INLINE void store_n(float* p, V a, int n) { if (n > 0) *p = a.v; }
SN_INLINE void store_range(float* p, V a, int low, int high) { if (low <= 0 && high > 0) *p = a.v; }
SN_INLINE V load_strided(const float* p, int64_t stride) { (void)stride; return {*p}; }  // p[i * stride]
SN_INLINE void deinterleave(V a, V b, V& even, V& odd) { even = a, odd = b; }  // a, b: 2 * VL values in a row
SN_INLINE V alternate(float a, float b) { (void)b; return {a}; }  // a, b, a, b ...
SN_INLINE V slide(V a, V b) { (void)a; return b; }  // lanes 1 ... of a, then lane 0 of b
SN_INLINE V gather(const float* base, const uint16_t* idx) { return {base[*idx]}; }
// Lane l is base[idx[l / 4] + l % 4], and base[idx[l / 4]].
SN_INLINE V gather_fours(const float* base, const uint16_t* idx) { return {base[*idx]}; }
SN_INLINE V gather_splats(const float* base, const uint16_t* idx) { return {base[*idx]}; }
SN_INLINE V set1(float x) { return {x}; }
SN_INLINE V splat(const float* p, int n, int i) { (void)n; return {p[i]}; }  // p[i] of p[0 .. n); n, i known when compiled
SN_INLINE const float* row_at(const float* p, int64_t i) { return p + i; }  // for loads of several vectors from there on
SN_INLINE V zero() { return {0.0f}; }
SN_INLINE V add(V a, V b) { return {a.v + b.v}; }
SN_INLINE V sub(V a, V b) { return {a.v - b.v}; }
SN_INLINE V mul(V a, V b) { return {a.v * b.v}; }
SN_INLINE V div(V a, V b) { return {a.v / b.v}; }
SN_INLINE V fma(V a, V b, V c) { return {a.v * b.v + c.v}; }  // a*b + c; one rounding where the ISA has it
// Of the lower half where kHalves; else of all lanes, for code that is compiled and never run.
SN_INLINE V load_half(const float* p) { return load(p); }
SN_INLINE void store_half(float* p, V a) { store(p, a); }
SN_INLINE V fma_half(V a, V b, V c) { return fma(a, b, c); }
SN_INLINE V max(V a, V b) { return {a.v > b.v ? a.v : b.v}; }  // b where either is NaN
SN_INLINE V nan_max(V a, V b) { return {a.v > b.v || a.v != a.v ? a.v : b.v}; }  // NaN where either is
SN_INLINE V min(V a, V b) { return {a.v < b.v ? a.v : b.v}; }
SN_INLINE V abs(V a) { return {std::fabs(a.v)}; }
SN_INLINE V sqrt(V a) { return {std::sqrt(a.v)}; }
SN_INLINE V nearest(V a) { return {std::nearbyint(a.v)}; }  // to an integer, ties to even
SN_INLINE V scale2(V a, V n) { return {std::ldexp(a.v, static_cast<int>(n.v))}; }  // a * 2^n, n integral in [-126, 127]
SN_INLINE M lt(V a, V b) { return {a.v < b.v}; }
SN_INLINE V select(M m, V a, V b) {  // m ? a : b; with bits, as GCC would make a branch and real data mispredict it
  uint32_t x, y;
  memcpy(&x, &a, sizeof x), memcpy(&y, &b, sizeof y);
  x = y ^ ((x ^ y) & (0u - static_cast<uint32_t>(m.m)));
  memcpy(&a, &x, sizeof x);
  return a;
}
SN_INLINE float hsum(V a) { return a.v; }
SN_INLINE float hmax(V a) { return a.v; }
// clang-format on

}  // namespace SN_ISA
}  // namespace sn
