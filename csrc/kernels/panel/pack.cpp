#include "kernels/panel/pack.h"

#include <algorithm>
#include <cstring>

namespace sn {
namespace {

// Vector kernels may read one vector past a row's last entry: see spmv/generic.h.
constexpr std::size_t kOverread = 64;

struct Matrix {
  const float* w;
  int M, K;

  bool block_is_zero(int m0, int k0, int br, int bc) const {
    const int m1 = std::min(m0 + br, M), k1 = std::min(k0 + bc, K);
    for (int m = m0; m < m1; ++m) {
      for (int k = k0; k < k1; ++k) {
        if (w[static_cast<std::int64_t>(m) * K + k] != 0.0f) return false;
      }
    }
    return true;
  }
};

}  // namespace

std::int64_t count_blocks(const float* w, int groups, int M, int K, int br, int bc) {
  std::int64_t count = 0;
  for (int g = 0; g < groups; ++g) {
    const Matrix a{w + static_cast<std::int64_t>(g) * M * K, M, K};
    for (int m = 0; m < M; m += br) {
      for (int k = 0; k < K; k += bc) count += !a.block_is_zero(m, k, br, bc);
    }
  }
  return count;
}

std::shared_ptr<PackedMatrix> pack_sparse(const float* w, int groups, int M, int K, int br, int bc, int kc) {
  auto out = std::make_shared<PackedMatrix>();
  const int row_blocks = (M + br - 1) / br, k_blocks = (K + kc - 1) / kc;
  out->entries = count_blocks(w, groups, M, K, br, bc);
  const std::size_t segments = static_cast<std::size_t>(groups) * row_blocks * k_blocks;
  out->start = AlignedBuffer((segments + 1) * sizeof(std::uint32_t));
  out->index = AlignedBuffer(static_cast<std::size_t>(out->entries) * sizeof(std::uint16_t) + kOverread);
  out->value = AlignedBuffer(static_cast<std::size_t>(out->entries) * br * bc * sizeof(float) + kOverread);
  std::memset(out->index.as<char>() + out->index.size() - kOverread, 0, kOverread);
  std::memset(out->value.as<char>() + out->value.size() - kOverread, 0, kOverread);

  auto* start = out->start.as<std::uint32_t>();
  auto* index = out->index.as<std::uint16_t>();
  auto* value = out->value.as<float>();
  std::uint32_t e = 0;
  for (int g = 0; g < groups; ++g) {
    const Matrix a{w + static_cast<std::int64_t>(g) * M * K, M, K};
    for (int kb = 0; kb < k_blocks; ++kb) {
      const int k0 = kb * kc, k1 = std::min(k0 + kc, K);
      for (int m = 0; m < M; m += br) {
        *start++ = e;
        for (int k = k0; k < k1; k += bc) {
          if (a.block_is_zero(m, k, br, bc)) continue;
          index[e++] = static_cast<std::uint16_t>(k - k0);
          for (int j = 0; j < bc; ++j) {
            for (int i = 0; i < br; ++i) {
              const bool inside = m + i < M && k + j < K;
              *value++ = inside ? a.w[static_cast<std::int64_t>(m + i) * K + k + j] : 0.0f;
            }
          }
        }
      }
    }
  }
  *start = e;
  out->view = {br, bc, row_blocks, k_blocks, kc, out->start.as<std::uint32_t>(), index, out->value.as<float>()};
  return out;
}

std::shared_ptr<PackedMatrix> pack_dense(const float* w, int groups, int M, int K, int br, int kc) {
  auto out = std::make_shared<PackedMatrix>();
  const int row_blocks = (M + br - 1) / br;
  out->entries = static_cast<std::int64_t>(groups) * row_blocks * K;
  out->value = AlignedBuffer(static_cast<std::size_t>(out->entries) * br * sizeof(float) + kOverread);
  auto* value = out->value.as<float>();
  for (int g = 0; g < groups; ++g) {
    const float* a = w + static_cast<std::int64_t>(g) * M * K;
    for (int m = 0; m < M; m += br) {
      for (int k = 0; k < K; ++k) {
        for (int i = 0; i < br; ++i) *value++ = m + i < M ? a[static_cast<std::int64_t>(m + i) * K + k] : 0.0f;
      }
    }
  }
  out->view = {br, 1, row_blocks, (K + kc - 1) / kc, kc, nullptr, nullptr, out->value.as<float>()};
  return out;
}

}  // namespace sn
