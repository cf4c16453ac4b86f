#include "kernels/winograd/pack.h"

#include <algorithm>
#include <vector>

namespace sn {
namespace {

constexpr int kMaxIn = 6, kLanes = 16;

// Row f of G: [1, p, p^2] over the product of p - q for the other finite points q; infinity's is [0, 0, 1].
struct FilterTransform {
  int in = 0;
  double g[kMaxIn][kWinogradTaps];

  explicit FilterTransform(WinogradKernel kernel) {
    std::vector<double> points{0, 1, -1};
    if (kernel == WinogradKernel::f4x4) points = {0, kWinogradA, -kWinogradA, kWinogradB, -kWinogradB};
    for (const double p : points) {
      double product = 1;
      for (const double q : points) product *= p == q ? 1 : p - q;
      g[in][0] = 1 / product, g[in][1] = p / product, g[in][2] = p * p / product;
      ++in;
    }
    g[in][0] = 0, g[in][1] = 0, g[in][2] = 1;
    ++in;
  }
};

// out[f * f_pitch + lane] = G w G^T of 16 filters of one channel, in fp64: one rounding, to fp32.
void transform(const FilterTransform& t, const double (&w)[9][kLanes], float* out, std::size_t f_pitch, int lanes) {
  double half[kMaxIn][kWinogradTaps][kLanes], full[kLanes];
  for (int f = 0; f < t.in; ++f) {
    for (int j = 0; j < kWinogradTaps; ++j) {
      for (int l = 0; l < kLanes; ++l) {
        half[f][j][l] = t.g[f][0] * w[j][l] + t.g[f][1] * w[3 + j][l] + t.g[f][2] * w[6 + j][l];
      }
    }
  }
  for (int f = 0; f < t.in; ++f) {
    for (int e = 0; e < t.in; ++e, out += f_pitch) {
      for (int l = 0; l < kLanes; ++l) {
        full[l] = t.g[e][0] * half[f][0][l] + t.g[e][1] * half[f][1][l] + t.g[e][2] * half[f][2][l];
      }
      for (int l = 0; l < lanes; ++l) out[l] = static_cast<float>(full[l]);
    }
  }
}

}  // namespace

AlignedBuffer pack_winograd(const float* w, const WinogradParams& p, WinogradKernel kernel) {
  const FilterTransform t(kernel);
  const std::size_t frequencies = static_cast<std::size_t>(t.in) * t.in, K = static_cast<std::size_t>(p.channels);
  AlignedBuffer buffer(frequencies * K * p.padded_filters * sizeof(float));
  for (int m0 = 0; m0 < p.padded_filters; m0 += p.panel) {
    const int width = std::min(p.panel, p.padded_filters - m0);
    float* panel = buffer.as<float>() + frequencies * K * m0;
    for (std::size_t k = 0; k < K; ++k) {
      for (int r = 0; r < width; r += kLanes) {
        double tap[9][kLanes] = {};
        for (int l = 0; l < std::min({kLanes, width - r, p.filters - m0 - r}); ++l) {
          const float* from = w + ((m0 + r + l) * K + k) * 9;
          for (int i = 0; i < 9; ++i) tap[i][l] = from[i];
        }
        transform(t, tap, panel + k * width + r, K * width, std::min(kLanes, width - r));
      }
    }
  }
  return buffer;
}

}  // namespace sn
