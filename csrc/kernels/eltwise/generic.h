// Element-wise operators, written once over V. Contract: eltwise.h.
#include "kernels/eltwise/eltwise.h"
#include "simd/math.h"

namespace sn {
namespace SN_ISA {
namespace {

struct Add {
  SN_INLINE V operator()(V a, V b, V) const { return add(a, b); }
};
struct Sub {
  SN_INLINE V operator()(V a, V b, V) const { return sub(a, b); }
};
struct Mul {
  SN_INLINE V operator()(V a, V b, V) const { return mul(a, b); }
};
struct Div {
  SN_INLINE V operator()(V a, V b, V) const { return div(a, b); }
};
struct PRelu {
  SN_INLINE V operator()(V a, V b, V) const { return select(lt(a, zero()), mul(a, b), a); }
};
struct Affine {
  SN_INLINE V operator()(V a, V b, V c) const { return fma(a, b, c); }
};

struct Operands {
  const float *a, *b, *c;
  bool a_scalar, b_scalar;
};

// out[i] = f(vector i of operand a, of b, of c). `kA`, `kB`: the operand runs along the row.
template <bool kA, bool kB, class F>
SN_INLINE void row_loop(const Operands& o, float* out, int64_t n, F f) {
  const V a0 = kA ? zero() : set1(*o.a), b0 = kB ? zero() : set1(*o.b), c0 = kB ? zero() : set1(*o.c);
  int64_t i = 0;
  for (; i + VL <= n; i += VL) {
    store(out + i, f(kA ? load(o.a + i) : a0, kB ? load(o.b + i) : b0, kB ? load(o.c + i) : c0));
  }
  if (i == n) return;
  const int m = static_cast<int>(n - i);
  store_n(out + i, f(kA ? load_n(o.a + i, m) : a0, kB ? load_n(o.b + i, m) : b0, kB ? load_n(o.c + i, m) : c0), m);
}

template <class F>
SN_INLINE void row(const Operands& o, float* out, int64_t n, F f) {
  if (o.a_scalar) return row_loop<false, true>(o, out, n, f);
  if (o.b_scalar) return row_loop<true, false>(o, out, n, f);
  return row_loop<true, true>(o, out, n, f);
}

template <class Op>
void binary(const BinaryParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  const float* a_base = p.a ? p.a : args.in[0];
  const float* b_base = p.b ? p.b : args.in[p.a ? 0 : 1];
  const int64_t from_c = p.c ? p.c - p.b : 0;  // two operands: the unused c is b
  const V act_a = set1(p.act.a), act_b = set1(p.act.b);
  const int64_t last = args.batch * p.rows;
  with_act(p.act.act, [&](auto act) {
    const auto f = [&](V a, V b, V c) { return act(Op()(a, b, c), act_a, act_b); };
    for (int64_t task = begin; task < end; ++task) {
      const int64_t r0 = task / p.tasks_per_row * p.rows_per_task;
      const int64_t r1 = r0 + p.rows_per_task < last ? r0 + p.rows_per_task : last;
      const int64_t x0 = task % p.tasks_per_row * kEltwiseGrain;
      const int64_t n = p.tasks_per_row == 1 || p.row - x0 < kEltwiseGrain ? p.row - x0 : kEltwiseGrain;
      int64_t index[kMaxBroadcastRank], left = r0 % p.rows, sample = r0 / p.rows, a_at = 0, b_at = 0;
      for (int k = p.rank - 1; k >= 0; --k) {
        index[k] = left % p.dims[k];
        left /= p.dims[k];
        a_at += index[k] * p.a_strides[k];
        b_at += index[k] * p.b_strides[k];
      }
      for (int64_t r = r0; r < r1; ++r) {
        const float* a = a_base + sample * p.a_batch + a_at + (p.a_scalar ? 0 : x0);
        const float* b = b_base + sample * p.b_batch + b_at + (p.b_scalar ? 0 : x0);
        row({a, b, b + from_c, p.a_scalar, p.b_scalar}, args.out + r * p.row + x0, n, f);
        int k = p.rank - 1;
        for (; k >= 0; --k) {
          a_at += p.a_strides[k];
          b_at += p.b_strides[k];
          if (++index[k] < p.dims[k]) break;
          a_at -= p.dims[k] * p.a_strides[k];
          b_at -= p.dims[k] * p.b_strides[k];
          index[k] = 0;
        }
        if (k < 0) ++sample;
      }
    }
  });
}

template <Act A>
void act_loop(const float* in, float* out, int64_t n, Epilogue e) {
  const V a = set1(e.a), b = set1(e.b);
  int64_t i = 0;
  for (; i + VL <= n; i += VL) store(out + i, apply<A>(load(in + i), a, b));
  if (i < n) store_n(out + i, apply<A>(load_n(in + i, static_cast<int>(n - i)), a, b), static_cast<int>(n - i));
}

}  // namespace

void eltwise_act(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const ActParams*>(params);
  const int64_t all = args.batch * p.size, from = begin * kEltwiseGrain;
  const int64_t n = (end * kEltwiseGrain < all ? end * kEltwiseGrain : all) - from;
  switch (p.act.act) {
#define SN_ACT(name) \
  case Act::name:    \
    return act_loop<Act::name>(args.in[0] + from, args.out + from, n, p.act);
    SN_EACH_ACT(SN_ACT)
#undef SN_ACT
  }
}

#define SN_BINARY(name, Op)                                                                              \
  void eltwise_##name(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept { \
    binary<Op>(*static_cast<const BinaryParams*>(params), args, begin, end);                             \
  }
SN_BINARY(add, Add)
SN_BINARY(sub, Sub)
SN_BINARY(mul, Mul)
SN_BINARY(div, Div)
SN_BINARY(prelu, PRelu)
SN_BINARY(affine, Affine)
#undef SN_BINARY

}  // namespace SN_ISA
}  // namespace sn
