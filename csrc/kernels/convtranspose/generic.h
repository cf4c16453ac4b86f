// Transposed convolution, written once over V. Contract: convtranspose.h.
#include "kernels/convtranspose/convtranspose.h"
#include "simd/math.h"

#define SN_UNROLL _Pragma("GCC unroll 16")

namespace sn {
namespace SN_ISA {
namespace {

// Panel row r, column j of channel c holds in[c][q0 + r - above][qx_first + j - before].
void copy_panel(const ConvTransposeParams& p, const float* in, int64_t q0, float* panel) {
  const int64_t x0 = p.qx_first - p.before;
  const int64_t j0 = x0 < 0 ? -x0 : 0, j1 = p.iw - x0 < p.pitch ? p.iw - x0 : p.pitch;
  for (int64_t c = 0; c < p.cg; ++c, in += p.ih * p.iw) {
    for (int64_t r = 0; r < p.block_rows + p.above; ++r, panel += p.pitch) {
      const int64_t y = q0 + r - p.above;
      const bool inside = y >= 0 && y < p.ih && j0 < j1;
      const int64_t from = inside ? j0 : p.pitch, to = inside ? j1 : p.pitch;
      for (int64_t j = 0; j < from; ++j) panel[j] = 0;
      if (inside) memcpy(panel + from, in + y * p.iw + x0 + from, static_cast<size_t>(to - from) * sizeof(float));
      for (int64_t j = to; j < p.pitch; ++j) panel[j] = 0;
    }
  }
}

// R vectors of outputs from position `at` of the flat block on.
template <int R>
SN_INLINE void tile(const ConvTransposeParams& p, int64_t first, int64_t last, const float* at, V bias, float* to) {
  V acc[R];
  SN_UNROLL for (int i = 0; i < R; ++i) acc[i] = bias;
  for (int64_t t = first; t < last; ++t) {
    const V w = set1(p.value[t]);
    const float* from = at + p.offset[t];
    SN_UNROLL for (int i = 0; i < R; ++i) acc[i] = fma(w, load(from + i * VL), acc[i]);
  }
  SN_UNROLL for (int i = 0; i < R; ++i) store(to + i * VL, acc[i]);
}

// Rows q0 .. q0 + rows of phase (ry, rx) of one channel, from the flat block to their places in the output plane.
void spread(const ConvTransposeParams& p, const float* flat, int64_t q0, int64_t rows, int64_t ry, int64_t rx,
            float* out) {
  const int64_t x_base = p.qx_first * p.sw + rx - p.left;  // ox of column 0
  const int64_t j0 = x_base < 0 ? (-x_base + p.sw - 1) / p.sw : 0;
  const int64_t fit = x_base < p.ow ? (p.ow - 1 - x_base) / p.sw + 1 : 0, j1 = fit < p.qx_cols ? fit : p.qx_cols;
  for (int64_t r = 0; r < rows; ++r, flat += p.pitch) {
    const int64_t oy = (q0 + r) * p.sh + ry - p.top;
    if (oy < 0 || oy >= p.oh) continue;
    float* to = out + oy * p.ow + x_base;
    for (int64_t j = j0; j < j1; ++j) to[j * p.sw] = flat[j];
  }
}

}  // namespace

void convtranspose_phases(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const ConvTransposeParams*>(params);
  float* panel = static_cast<float*>(args.scratch);
  float* flat = panel + p.cg * p.plane + kConvTransposeSlack;
  const V act_a = set1(p.act.a), act_b = set1(p.act.b);
  int64_t held = -1;  // what the panel holds: tasks that differ only in output channels share it
  for (int64_t task = begin; task < end; ++task) {
    const int64_t m0 = task % p.channel_tasks * p.channels_per_task, place = task / p.channel_tasks;
    const int64_t q0 = p.q_first + place % p.blocks * p.block_rows, sample_group = place / p.blocks;
    const int64_t g = sample_group % p.groups;
    const int64_t rest = p.q_first + p.q_rows - q0, rows = rest < p.block_rows ? rest : p.block_rows;
    if (place != held) copy_panel(p, args.in[0] + sample_group * p.cg * p.ih * p.iw, q0, panel);
    held = place;
    const int64_t positions = (rows - 1) * p.pitch + p.qx_cols;
    for (int64_t m = m0; m < m0 + p.channels_per_task && m < p.mg; ++m) {
      float* out = args.out + (sample_group * p.mg + m) * p.oh * p.ow;
      const V bias = set1(p.bias[g * p.mg + m]);
      for (int64_t phase = 0; phase < p.sh * p.sw; ++phase) {
        const int32_t* nonzeros = p.start + (g * p.mg + m) * p.sh * p.sw + phase;
        int64_t x = 0;
        for (; x + 4 * VL < positions; x += 8 * VL) tile<8>(p, nonzeros[0], nonzeros[1], panel + x, bias, flat + x);
        for (; x < positions; x += 4 * VL) tile<4>(p, nonzeros[0], nonzeros[1], panel + x, bias, flat + x);
        with_act(p.act.act, [&](auto act) {
          for (int64_t i = 0; i < positions; i += VL) store(flat + i, act(load(flat + i), act_a, act_b));
        });
        spread(p, flat, q0, rows, phase / p.sw, phase % p.sw, out);
      }
    }
  }
}

}  // namespace SN_ISA
}  // namespace sn
