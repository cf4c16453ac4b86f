#include "kernels/winograd/pack.h"

#include <algorithm>
#include <vector>

namespace sn {
namespace {

constexpr int kMaxIn = 7, kMaxTaps = 4, kLanes = 16;

// Row f of G: [1, p, p^2, ...] over the product of p - q for the other finite points q; infinity's is [0, ..., 0, 1].
struct FilterTransform {
  int in = 0, taps;
  double g[kMaxIn][kMaxTaps] = {};

  explicit FilterTransform(WinogradKernel kernel) : taps(winograd_shape(kernel).taps) {
    std::vector<double> points{0, 1, -1};
    if (kernel == WinogradKernel::f4x4) points = {0, kWinogradA, -kWinogradA, kWinogradB, -kWinogradB};
    if (kernel == WinogradKernel::f4x4s2) {
      points = {kStridedA, -kStridedA, kStridedB, -kStridedB, kStridedC, -kStridedC};
    }
    for (const double p : points) {
      double product = 1;
      for (const double q : points) product *= p == q ? 1 : p - q;
      double power = 1;
      for (int i = 0; i < taps; ++i, power *= p) g[in][i] = power / product;
      ++in;
    }
    g[in++][taps - 1] = 1;
  }
};

// out[f * f_pitch + lane] = G w G^T of 16 filters of one channel, in fp64: one rounding, to fp32.
void transform(const FilterTransform& t, const double (&w)[kMaxTaps][kMaxTaps][kLanes], float* out, std::size_t f_pitch,
               int lanes) {
  double half[kMaxIn][kMaxTaps][kLanes] = {}, full[kLanes];
  for (int f = 0; f < t.in; ++f) {
    for (int i = 0; i < t.taps; ++i) {
      for (int j = 0; j < t.taps; ++j) {
        for (int l = 0; l < kLanes; ++l) half[f][j][l] += t.g[f][i] * w[i][j][l];
      }
    }
  }
  for (int f = 0; f < t.in; ++f) {
    for (int e = 0; e < t.in; ++e, out += f_pitch) {
      std::fill(full, full + kLanes, 0.0);
      for (int j = 0; j < t.taps; ++j) {
        for (int l = 0; l < kLanes; ++l) full[l] += t.g[e][j] * half[f][j][l];
      }
      for (int l = 0; l < lanes; ++l) out[l] = static_cast<float>(full[l]);
    }
  }
}

}  // namespace

AlignedBuffer pack_winograd(const float* w, int kh, int kw, const WinogradParams& p, WinogradKernel kernel) {
  const FilterTransform t(kernel);
  const int stride = winograd_shape(kernel).stride, parities = stride * stride;
  const std::size_t frequencies = static_cast<std::size_t>(t.in) * t.in, K = static_cast<std::size_t>(p.channels);
  const std::size_t window = static_cast<std::size_t>(kh) * kw;
  AlignedBuffer buffer(frequencies * K * p.padded_filters * sizeof(float));
  for (int m0 = 0; m0 < p.padded_filters; m0 += p.panel) {
    const int width = std::min(p.panel, p.padded_filters - m0);
    float* panel = buffer.as<float>() + frequencies * K * m0;
    for (std::size_t k = 0; k < K; ++k) {
      const int parity = static_cast<int>(k) % parities, a = parity / stride, b = parity % stride;
      for (int r = 0; r < width; r += kLanes) {
        double tap[kMaxTaps][kMaxTaps][kLanes] = {};
        for (int l = 0; l < std::min({kLanes, width - r, p.filters - m0 - r}); ++l) {
          const float* from = w + ((m0 + r + l) * (K / parities) + k / parities) * window;
          for (int i = a; i < kh; i += stride) {
            for (int j = b; j < kw; j += stride) tap[i / stride][j / stride][l] = from[i * kw + j];
          }
        }
        transform(t, tap, panel + k * width + r, K * width, std::min(kLanes, width - r));
      }
    }
  }
  return buffer;
}

}  // namespace sn
