// Softmax, written once over V. Contract: softmax.h. Sums run in blocks of kBlock vectors, so that the error grows
// with kBlock + length / kBlock and not with length.
#include "kernels/softmax/softmax.h"
#include "simd/math.h"

namespace sn {
namespace SN_ISA {
namespace {

constexpr int64_t kBlock = 32;

// exp(x - m) for n <= VL values, the lanes beyond them 0.
SN_INLINE V exp_n(const float* x, V m, int n) {
  const V e = exp(sub(load_n(x, n), m));
  float t[VL];
  store(t, e);
  return load_n(t, n);
}

void softmax_row(const float* x, float* y, int64_t n, bool log) {
  V top = set1(-__builtin_inff());
  const int64_t whole = n / VL * VL;
  for (int64_t i = 0; i < whole; i += VL) top = max(top, load(x + i));
  for (int64_t i = whole; i < n; ++i) top = max(top, set1(x[i]));
  const V m = set1(hmax(top));
  V total = zero();
  for (int64_t i = 0; i < whole;) {
    V block = zero();
    for (const int64_t end = i + kBlock * VL < whole ? i + kBlock * VL : whole; i < end; i += VL) {
      const V e = exp(sub(load(x + i), m));
      if (!log) store(y + i, e);
      block = add(block, e);
    }
    total = add(total, block);
  }
  const int rest = static_cast<int>(n - whole);
  if (rest > 0) {
    const V e = exp_n(x + whole, m, rest);
    if (!log) store_n(y + whole, e, rest);
    total = add(total, e);
  }
  const float sum = hsum(total);
  const V last = log ? set1(__builtin_logf(sum)) : set1(sum);
  for (int64_t i = 0; i < n; i += VL) {
    const int k = n - i < VL ? static_cast<int>(n - i) : VL;
    const V v = log ? sub(sub(load_n(x + i, k), m), last) : div(load_n(y + i, k), last);
    store_n(y + i, v, k);
  }
}

// VL neighbouring columns (or n of them) of `length` values, `inner` apart.
void softmax_vector(const float* x, float* y, int64_t length, int64_t inner, int n, bool log) {
  V m = load_n(x, n);
  for (int64_t j = 1; j < length; ++j) m = max(m, load_n(x + j * inner, n));
  V total = zero();
  for (int64_t j = 0; j < length;) {
    V block = zero();
    for (const int64_t end = j + kBlock < length ? j + kBlock : length; j < end; ++j) {
      const V e = exp(sub(load_n(x + j * inner, n), m));
      if (!log) store_n(y + j * inner, e, n);
      block = add(block, e);
    }
    total = add(total, block);
  }
  if (log) {
    float t[VL];
    store(t, total);
    for (int i = 0; i < VL; ++i) t[i] = __builtin_logf(t[i]);
    total = load(t);
  }
  for (int64_t j = 0; j < length; ++j) {
    const int64_t at = j * inner;
    store_n(y + at, log ? sub(sub(load_n(x + at, n), m), total) : div(load_n(y + at, n), total), n);
  }
}

}  // namespace

void softmax_rows(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const SoftmaxParams*>(params);
  const int64_t rows = args.batch * p.outer;
  for (int64_t r = begin * p.rows_per_task; r < end * p.rows_per_task && r < rows; ++r) {
    softmax_row(args.in[0] + r * p.length, args.out + r * p.length, p.length, p.log);
  }
}

void softmax_columns(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const SoftmaxParams*>(params);
  const int64_t blocks = (p.inner + kSoftmaxColumns - 1) / kSoftmaxColumns;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t base = task / blocks * p.length * p.inner, from = task % blocks * kSoftmaxColumns;
    const int64_t to = from + kSoftmaxColumns < p.inner ? from + kSoftmaxColumns : p.inner;
    for (int64_t i = from; i < to; i += VL) {
      const int n = to - i < VL ? static_cast<int>(to - i) : VL;
      softmax_vector(args.in[0] + base + i, args.out + base + i, p.length, p.inner, n, p.log);
    }
  }
}

}  // namespace SN_ISA
}  // namespace sn
