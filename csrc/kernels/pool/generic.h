// Pooling, written once over V. Contract: pool.h.
#include "kernels/pool/pool.h"
#include "simd/phases.h"

namespace sn {
namespace SN_ISA {
namespace {

struct Max {
  static V identity() { return set1(-__builtin_inff()); }
  static SN_INLINE V join(V a, V b) { return nan_max(a, b); }
  static SN_INLINE V join_rest(V a, const float* p, int n) {
    for (int i = 0; i < n; ++i) a = nan_max(a, set1(p[i]));
    return a;
  }
  static float across(V a) {
    float lanes[VL];
    store(lanes, a);
    for (int i = 1; i < VL; ++i) a = nan_max(a, set1(lanes[i]));
    return hmax(nan_max(a, set1(lanes[0])));
  }
};
struct Sum {
  static V identity() { return zero(); }
  static SN_INLINE V join(V a, V b) { return add(a, b); }
  static SN_INLINE V join_rest(V a, const float* p, int n) { return add(a, load_n(p, n)); }
  static float across(V a) { return hsum(a); }
};

// R over p[0 .. n).
template <class R>
float reduce_row(const float* p, int64_t n) {
  constexpr int64_t kBlock = 64 * VL;
  V total = R::identity();
  int64_t i = 0;
  while (n - i >= 4 * VL) {
    V a = load(p + i), b = load(p + i + VL), c = load(p + i + 2 * VL), d = load(p + i + 3 * VL);
    const int64_t end = n - i < kBlock ? n : i + kBlock;
    for (i += 4 * VL; i + 4 * VL <= end; i += 4 * VL) {
      a = R::join(a, load(p + i));
      b = R::join(b, load(p + i + VL));
      c = R::join(c, load(p + i + 2 * VL));
      d = R::join(d, load(p + i + 3 * VL));
    }
    total = R::join(total, R::join(R::join(a, b), R::join(c, d)));
  }
  for (; i + VL <= n; i += VL) total = R::join(total, load(p + i));
  if (i < n) total = R::join_rest(total, p + i, static_cast<int>(n - i));
  return R::across(total);
}

// out[x] = R over rows of in[x + k * pitch], k < rows, for VL columns.
template <class R>
SN_INLINE V reduce_column(const float* in, int64_t pitch, int64_t rows) {
  V v = load(in);
  for (int64_t k = 1; k < rows; ++k) v = R::join(v, load(in + k * pitch));
  return v;
}
template <class R>
SN_INLINE V reduce_column_n(const float* in, int64_t pitch, int64_t rows, int n) {
  V v = load_n(in, n);
  for (int64_t k = 1; k < rows; ++k) v = R::join(v, load_n(in + k * pitch, n));
  return v;
}

constexpr int64_t kLine = 16, kAhead = 2048;  // floats

// Separable: each output row first reduces its rows, then its columns, so a kh x kw window costs kh + kw.
template <class R, bool kAverage>
void windows(const WindowParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  float* phases = static_cast<float*>(args.scratch);
  const int64_t total = p.sw * p.pitch + kPoolSlack;
  for (int64_t i = 0; i < total; i += VL) store(phases + i, R::identity());  // padding; the columns stand inside it
  for (int64_t task = begin; task < end; ++task) {
    const float* in = args.in[0] + task * p.ih * p.iw;
    float* out = args.out + task * p.oh * p.ow;
    for (int64_t oy = 0; oy < p.oh; ++oy, out += p.ow) {
      const int64_t y0 = oy * p.sh - p.top;
      const int64_t k0 = y0 < 0 ? (-y0 + p.dh - 1) / p.dh : 0;
      const int64_t k_inside = y0 < p.ih ? (p.ih - 1 - y0) / p.dh + 1 : 0, k1 = k_inside < p.kh ? k_inside : p.kh;
      if (k0 >= k1) {  // a window that lies in the padding
        for (int64_t x = 0; x < p.ow; ++x) out[x] = kAverage ? 0.0f : -__builtin_inff();
        continue;
      }
      const float* from = in + (y0 + k0 * p.dh) * p.iw;
      const int64_t pitch = p.dh * p.iw, count = k1 - k0;
      for (int64_t i = 0; p.distant && i < p.sh * p.iw; i += kLine) __builtin_prefetch(from + kAhead + i, 0, 2);
      split_phases(
          p.iw, p.sw, p.left, p.pitch, phases, [&](int64_t x) { return reduce_column<R>(from + x, pitch, count); },
          [&](int64_t x, int n) { return reduce_column_n<R>(from + x, pitch, count, n); });
      const V count_y = set1(kAverage ? p.count_y[oy] : 1.0f);
      for (int64_t x = 0; x < p.ow; x += VL) {
        V v = load(phases + p.taps[0] + x);
        for (int64_t k = 1; k < p.kw; ++k) v = R::join(v, load(phases + p.taps[k] + x));
        const int n = p.ow - x < VL ? static_cast<int>(p.ow - x) : VL;
        if (kAverage) v = div(v, mul(count_y, n == VL ? load(p.count_x + x) : load_n(p.count_x + x, n)));
        if (n == VL) {
          store(out + x, v);
        } else {
          store_n(out + x, v, n);
        }
      }
    }
  }
}

template <class R, bool kAverage>
void adaptive(const AdaptiveParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  float* line = static_cast<float*>(args.scratch);
  for (int64_t task = begin; task < end; ++task) {
    const float* in = args.in[0] + task * p.ih * p.iw;
    float* out = args.out + task * p.oh * p.ow;
    for (int64_t oy = 0; oy < p.oh; ++oy) {
      const int64_t y0 = oy * p.ih / p.oh, y1 = ((oy + 1) * p.ih + p.oh - 1) / p.oh;
      int64_t x = 0;
      for (; x + VL <= p.iw; x += VL) store(line + x, reduce_column<R>(in + y0 * p.iw + x, p.iw, y1 - y0));
      if (x < p.iw) {
        const int n = static_cast<int>(p.iw - x);
        store_n(line + x, reduce_column_n<R>(in + y0 * p.iw + x, p.iw, y1 - y0, n), n);
      }
      for (int64_t ox = 0; ox < p.ow; ++ox) {
        const int64_t x0 = ox * p.iw / p.ow, x1 = ((ox + 1) * p.iw + p.ow - 1) / p.ow;
        const float r = reduce_row<R>(line + x0, x1 - x0);
        *out++ = kAverage ? r / static_cast<float>((y1 - y0) * (x1 - x0)) : r;
      }
    }
  }
}

template <class R, bool kAverage>
void rows(const RowsParams& p, const KernelArgs& args, int64_t begin, int64_t end) {
  const int64_t last = args.batch * p.rows;
  const int64_t stop = end * p.rows_per_task < last ? end * p.rows_per_task : last;
  for (int64_t r = begin * p.rows_per_task; r < stop; ++r) {
    const float v = reduce_row<R>(args.in[0] + r * p.len, p.len);
    args.out[r] = kAverage ? v / static_cast<float>(p.len) : v;
  }
}

// Steps `index` to the next position of dims; returns how far the offset moves.
SN_INLINE int64_t next(int rank, const int64_t* dims, const int64_t* strides, int64_t* index) {
  int64_t moved = 0;
  for (int a = rank - 1; a >= 0; --a) {
    moved += strides[a];
    if (++index[a] < dims[a]) return moved;
    moved -= dims[a] * strides[a];
    index[a] = 0;
  }
  return moved;
}

void mean_over_axes(const AxesParams& p, const float* in, float* out) {
  int64_t outer = 1, count = 1, kept_index[kMaxReduceRank] = {};
  for (int a = 0; a < p.kept; ++a) outer *= p.kept_dims[a];
  for (int a = 0; a < p.reduced; ++a) count *= p.reduced_dims[a];
  // The last reduced axis is a contiguous row, or else the last kept one is.
  const bool by_rows = p.reduced_strides[p.reduced - 1] == 1;
  const int64_t row = by_rows ? p.reduced_dims[p.reduced - 1] : 1;
  const int rank = by_rows ? p.reduced - 1 : p.reduced;
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t x = 0; x < p.inner; x += VL) {
      const int n = p.inner - x < VL ? static_cast<int>(p.inner - x) : VL;
      int64_t index[kMaxReduceRank] = {}, at = x;
      V total = zero();
      for (int64_t left = count / row; left > 0;) {
        V block = zero();
        for (int64_t k = left < 64 ? left : 64; k > 0; --k, --left) {
          block = add(block, by_rows   ? set1(reduce_row<Sum>(in + at, row))
                             : n == VL ? load(in + at)
                                       : load_n(in + at, n));
          at += next(rank, p.reduced_dims, p.reduced_strides, index);
        }
        total = add(total, block);
      }
      store_n(out + x, div(total, set1(static_cast<float>(count))), n);
    }
    out += p.inner;
    in += next(p.kept, p.kept_dims, p.kept_strides, kept_index);
  }
}

}  // namespace

#define SN_POOL(name, Params, body)                                                                   \
  void pool_##name(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept { \
    body(*static_cast<const Params*>(params), args, begin, end);                                      \
  }
SN_POOL(max, WindowParams, (windows<Max, false>))
SN_POOL(avg, WindowParams, (windows<Sum, true>))
SN_POOL(adaptive_max, AdaptiveParams, (adaptive<Max, false>))
SN_POOL(adaptive_avg, AdaptiveParams, (adaptive<Sum, true>))
SN_POOL(rows_max, RowsParams, (rows<Max, false>))
SN_POOL(rows_avg, RowsParams, (rows<Sum, true>))
#undef SN_POOL

void pool_axes_avg(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const AxesParams*>(params);
  for (int64_t i = begin; i < end; ++i) mean_over_axes(p, args.in[0] + i * p.in_size, args.out + i * p.out_size);
}

}  // namespace SN_ISA
}  // namespace sn
