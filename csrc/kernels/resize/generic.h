// Resampling, written once over V. Contract: resize.h.
#include "kernels/resize/resize.h"

namespace sn {
namespace SN_ISA {
namespace {

SN_INLINE void stretch(const ResizeParams& p, const float* in, float* out) {
  for (int64_t x = 0; x < p.ow; ++x) {
    const float a = in[p.x0[x]], b = in[p.x1[x]];
    out[x] = a + p.wx[x] * (b - a);
  }
}

}  // namespace

void resize_nearest(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const ResizeParams*>(params);
  for (int64_t task = begin; task < end; ++task) {
    const float* plane = args.in[0] + task * p.ih * p.iw;
    float* out = args.out + task * p.oh * p.ow;
    for (int64_t y = 0; y < p.oh; ++y, out += p.ow) {
      if (y > 0 && p.y0[y] == p.y0[y - 1]) {
        memcpy(out, out - p.ow, static_cast<size_t>(p.ow) * sizeof(float));
        continue;
      }
      const float* in = plane + p.y0[y] * p.iw;
      for (int64_t x = 0; x < p.ow; ++x) {
        out[x] = in[p.x0[x]];
        __asm__ volatile("");  // keeps the compiler from gather instructions, which are half as fast as plain loads
      }
    }
  }
}

// Stretches each input row along x once, while output rows need it, and blends pairs of stretched rows.
void resize_bilinear(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const ResizeParams*>(params);
  float* row[2] = {static_cast<float*>(args.scratch), static_cast<float*>(args.scratch) + p.ow};
  for (int64_t task = begin; task < end; ++task) {
    const float* in = args.in[0] + task * p.ih * p.iw;
    float* out = args.out + task * p.oh * p.ow;
    int64_t held[2] = {-1, -1};  // the input rows that row[0] and row[1] come from
    for (int64_t y = 0; y < p.oh; ++y, out += p.ow) {
      const int64_t want[2] = {p.y0[y], p.y1[y]};
      if (want[0] == held[1]) {
        float* t = row[0];
        row[0] = row[1], row[1] = t;
        held[1] = held[0], held[0] = want[0];
      }
      for (int i = 0; i < 2; ++i) {
        if (held[i] != want[i]) stretch(p, in + want[i] * p.iw, row[i]);
        held[i] = want[i];
      }
      const V w = set1(p.wy[y]);
      int64_t x = 0;
      for (; x + VL <= p.ow; x += VL) {
        const V a = load(row[0] + x);
        store(out + x, fma(w, sub(load(row[1] + x), a), a));
      }
      for (; x < p.ow; ++x) out[x] = row[0][x] + p.wy[y] * (row[1][x] - row[0][x]);
    }
  }
}

}  // namespace SN_ISA
}  // namespace sn
