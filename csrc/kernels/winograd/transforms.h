// The one-dimensional transforms B^T and A^T of winograd.h over vectors. With M(x) the product of x - p over the finite
// points p, row p of B^T holds the coefficients of M(x) / (x - p), column p of A^T the powers of p; infinity's row is
// M(x), its column the last unit vector. G, which divides by the product of p - q, is in pack.cpp.
#pragma once

#include "kernels/winograd/winograd.h"

namespace sn {
namespace SN_ISA {

struct F2x2 {
  static constexpr int kOut = 2, kIn = 4, kStride = 1;

  SN_INLINE static void input(const V (&d)[4], V (&b)[4]) {
    b[0] = sub(d[2], d[0]);
    b[1] = add(d[1], d[2]);
    b[2] = sub(d[2], d[1]);
    b[3] = sub(d[3], d[1]);
  }
  SN_INLINE static void output(const V (&s)[4], V (&y)[2]) {
    y[0] = add(s[0], add(s[1], s[2]));
    y[1] = add(s[3], sub(s[1], s[2]));
  }
};

struct F4x4 {
  static constexpr int kOut = 4, kIn = 6, kStride = 1;
  static constexpr float a = kWinogradA, b = kWinogradB, aa = a * a, bb = b * b;

  SN_INLINE static void input(const V (&d)[6], V (&t)[6]) {
    const V minus_aa = set1(-aa), minus_bb = set1(-bb), sum = set1(-(aa + bb)), product = set1(aa * bb);
    const V even_a = fma(minus_bb, d[2], d[4]), odd_a = fma(minus_bb, d[1], d[3]);
    const V even_b = fma(minus_aa, d[2], d[4]), odd_b = fma(minus_aa, d[1], d[3]);
    t[0] = fma(product, d[0], fma(sum, d[2], d[4]));
    t[1] = fma(set1(a), odd_a, even_a);
    t[2] = fma(set1(-a), odd_a, even_a);
    t[3] = fma(set1(b), odd_b, even_b);
    t[4] = fma(set1(-b), odd_b, even_b);
    t[5] = fma(product, d[1], fma(sum, d[3], d[5]));
  }
  SN_INLINE static void output(const V (&s)[6], V (&y)[4]) {
    const V even_a = add(s[1], s[2]), odd_a = sub(s[1], s[2]), even_b = add(s[3], s[4]), odd_b = sub(s[3], s[4]);
    y[0] = add(s[0], add(even_a, even_b));
    y[1] = fma(set1(b), odd_b, mul(set1(a), odd_a));
    y[2] = fma(set1(bb), even_b, mul(set1(aa), even_a));
    y[3] = fma(set1(b * bb), odd_b, fma(set1(a * aa), odd_a, s[5]));
  }
};

// Four taps, on pairs of points and infinity: M(x) / (x - p) = (x + p) Q(x), Q the product of the other two x^2 - q^2.
struct F4x4S2 {
  static constexpr int kOut = 4, kIn = 7, kStride = 2;
  static constexpr float a = kStridedA, b = kStridedB, c = kStridedC, aa = a * a, bb = b * b, cc = c * c;

  SN_INLINE static void pair(const V (&d)[7], float p, float qq, float rr, V& plus, V& minus) {
    const V product = set1(qq * rr), sum = set1(-(qq + rr)), point = set1(p);
    const V even = fma(product, d[0], fma(sum, d[2], d[4])), odd = fma(product, d[1], fma(sum, d[3], d[5]));
    plus = fma(point, even, odd);
    minus = sub(odd, mul(point, even));
  }
  SN_INLINE static void input(const V (&d)[7], V (&t)[7]) {
    pair(d, a, bb, cc, t[0], t[1]);
    pair(d, b, aa, cc, t[2], t[3]);
    pair(d, c, aa, bb, t[4], t[5]);
    const V twos = fma(set1(aa * bb + aa * cc + bb * cc), d[2], d[6]);
    t[6] = fma(set1(-aa * bb * cc), d[0], fma(set1(-(aa + bb + cc)), d[4], twos));
  }
  SN_INLINE static void output(const V (&s)[7], V (&y)[4]) {
    const V even_a = add(s[0], s[1]), odd_a = sub(s[0], s[1]), even_b = add(s[2], s[3]), odd_b = sub(s[2], s[3]);
    const V even_c = add(s[4], s[5]), odd_c = sub(s[4], s[5]);
    y[0] = add(even_a, add(even_b, even_c));
    y[1] = fma(set1(c), odd_c, fma(set1(b), odd_b, mul(set1(a), odd_a)));
    y[2] = fma(set1(cc), even_c, fma(set1(bb), even_b, mul(set1(aa), even_a)));
    y[3] = fma(set1(c * cc), odd_c, fma(set1(b * bb), odd_b, fma(set1(a * aa), odd_a, s[6])));
  }
};

}  // namespace SN_ISA
}  // namespace sn
