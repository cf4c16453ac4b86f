// Elementary functions and activations over Vec. Include after a simd/<isa>.h, in files with that ISA's flags.
//
// Coefficients: our own minimax fits (Lawson iteration in fp64 on 4000 Chebyshev nodes), rounded to fp32.
// Largest error measured over dense sweeps against fp64 (tests/kernels_eltwise.cpp holds those that are ops to them),
// in ulp of the result: exp 1, tanh 1.2, sigmoid 2.5, erf 2.4. SiLU and the two GELUs are within 2 ulp of x, not of the
// result: like every x * (1 + erf(x)) they cancel where x is negative. Every function returns NaN for NaN.
#pragma once

#include "kernels/kernel.h"

#ifndef SN_ISA
#error "define SN_ISA and include simd/<isa>.h before simd/math.h"
#endif

namespace sn {
namespace SN_ISA {

// c[0] + c[1] x + ... by Horner's rule.
template <int N>
SN_INLINE V polynomial(V x, const float (&c)[N]) {
  V y = set1(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, set1(c[i]));
  return y;
}

// e^x = 2^n e^r with |r| <= ln(2)/2 and ln(2) in two parts, the first with trailing zeros so that n * part is exact
// (Cody and Waite). Below -86.98 the result, 1.7e-38, is flushed to zero: 2^(n-1) has to stay normal.
SN_INLINE V exp(V x) {
  constexpr float kLow = -86.98f, kHigh = 88.722839f;
  constexpr float kPoly[] = {0.49999994f, 0.16666515f, 0.041668456f, 0.0083694188f, 0.0013813145f};
  V n = nearest(mul(x, set1(1.44269504f)));
  n = max(min(set1(128.0f), n), set1(-125.0f));
  V r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  const V p = add(fma(mul(r, r), polynomial(r, kPoly), r), set1(1.0f));
  V y = scale2(add(p, p), sub(n, set1(1.0f)));
  y = select(lt(x, set1(kLow)), zero(), y);
  return select(lt(set1(kHigh), x), set1(__builtin_inff()), y);
}

SN_INLINE V sigmoid(V x) {
  return div(set1(1.0f), add(set1(1.0f), exp(sub(zero(), x))));
}

// An odd polynomial where 1 - 2/(e^2t + 1) would cancel.
SN_INLINE V tanh(V x) {
  constexpr float kPoly[] = {-0.33333281f, 0.13331442f, -0.053739715f, 0.020639088f, -0.0057049873f};
  const V t = abs(x), x2 = mul(x, x);
  const V large = sub(set1(1.0f), div(set1(2.0f), add(exp(add(t, t)), set1(1.0f))));
  const V small = fma(mul(x, x2), polynomial(x2, kPoly), x);
  return select(lt(t, set1(0.625f)), small, select(lt(x, zero()), sub(zero(), large), large));
}

// An odd polynomial up to 1; beyond, 1 - e^-q(t) with q a fit of -log(erfc(t)) on [1, 4], where erf rounds to 1.
SN_INLINE V erf(V x) {
  constexpr float kSmall[] = {1.1283791f,    -0.37612626f,  0.11283585f,  -0.026853813f,
                              0.0051883287f, -8.010201e-4f, 7.8538833e-5f};
  constexpr float kLarge[] = {3.5371952e-4f, 1.12704f,     0.63822567f,   0.10303737f,
                              -0.021805318f, 0.002939607f, -1.8557401e-4f};
  const V t = min(set1(4.0f), abs(x));
  const V large = sub(set1(1.0f), exp(sub(zero(), polynomial(t, kLarge))));
  const V small = mul(x, polynomial(mul(t, t), kSmall));
  return select(lt(t, set1(1.0f)), small, select(lt(x, zero()), sub(zero(), large), large));
}

SN_INLINE V relu(V x) {
  return max(zero(), x);
}  // in this order max() keeps a NaN
SN_INLINE V clip(V x, V low, V high) {
  return min(high, max(low, x));
}

// y = A(x); a and b as in kernel.h. The switch folds away.
template <Act A>
SN_INLINE V apply(V x, V a, V b) {
  (void)a, (void)b;
  switch (A) {
    case Act::none:
      return x;
    case Act::relu:
      return relu(x);
    case Act::clip:
      return clip(x, a, b);
    case Act::leaky_relu:
      return select(lt(x, zero()), mul(x, a), x);
    case Act::silu:
      return div(x, add(set1(1.0f), exp(sub(zero(), x))));
    case Act::hard_swish:
      return mul(mul(x, clip(add(x, set1(3.0f)), zero(), set1(6.0f))), set1(1.0f / 6.0f));
    case Act::hard_sigmoid:
      return mul(clip(add(x, set1(3.0f)), zero(), set1(6.0f)), set1(1.0f / 6.0f));
    case Act::sigmoid:
      return sigmoid(x);
    case Act::tanh:
      return tanh(x);
    case Act::gelu:
      return mul(mul(x, set1(0.5f)), add(set1(1.0f), erf(mul(x, set1(0.70710678f)))));
    case Act::gelu_tanh: {  // (1 + tanh u) / 2 = sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3)
      const V u = mul(set1(0.79788456f), fma(mul(set1(0.044715f), mul(x, x)), x, x));
      return mul(x, sigmoid(add(u, u)));
    }
    case Act::exp:
      return exp(x);
    case Act::sqrt:
      return sqrt(x);
    case Act::abs:
      return abs(x);
    case Act::neg:
      return mul(x, set1(-1.0f));
  }
  return x;
}

SN_INLINE V apply(Act act, V x, V a, V b) {
  switch (act) {
#define SN_ACT(name) \
  case Act::name:    \
    return apply<Act::name>(x, a, b);
    SN_EACH_ACT(SN_ACT)
#undef SN_ACT
  }
  return x;
}

// Activations as function objects (V x, V a, V b) -> V, so that a loop can be compiled per activation.
template <Act A>
struct FixedAct {
  SN_INLINE V operator()(V x, V a, V b) const { return apply<A>(x, a, b); }
};
struct AnyAct {
  Act act;
  // Not inlined: the switch holds 15 activations, and what it holds beyond the three below costs more than a call.
  __attribute__((noinline)) V operator()(V x, V a, V b) const { return apply(act, x, a, b); }
};

// Calls body(function object) once. The activations that cost less than a branch get a loop of their own.
template <class Body>
SN_INLINE void with_act(Act act, Body body) {
  switch (act) {
    case Act::none:
      return body(FixedAct<Act::none>{});
    case Act::relu:
      return body(FixedAct<Act::relu>{});
    case Act::clip:
      return body(FixedAct<Act::clip>{});
    default:
      return body(AnyAct{act});
  }
}

}  // namespace SN_ISA
}  // namespace sn
