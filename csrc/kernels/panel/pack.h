// Dense weights with zeros in them -> PackedWeights.
#pragma once

#include <memory>

#include "base/buffer.h"
#include "kernels/panel/panel.h"

namespace sn {

struct PackedMatrix {
  PackedWeights view{};
  AlignedBuffer start, index, value;
  std::int64_t entries = 0;

  std::size_t bytes() const { return start.size() + index.size() + value.size(); }
};

// w[groups][M][K], row-major. Blocks that hold a nonzero are kept whole. kc <= 65536, a multiple of bc.
std::shared_ptr<PackedMatrix> pack_sparse(const float* w, int groups, int M, int K, int br, int bc, int kc);
std::shared_ptr<PackedMatrix> pack_dense(const float* w, int groups, int M, int K, int br, int kc);

// Blocks of br x bc that hold a nonzero.
std::int64_t count_blocks(const float* w, int groups, int M, int K, int br, int bc);

}  // namespace sn
