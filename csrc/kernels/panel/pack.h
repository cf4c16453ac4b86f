// Dense weights with zeros in them -> PackedWeights.
#pragma once

#include <memory>
#include <vector>

#include "base/buffer.h"
#include "kernels/panel/panel.h"

namespace sn {

struct PackedMatrix {
  PackedWeights view{};
  AlignedBuffer start, row, index, value;
  std::int64_t entries = 0;

  std::size_t bytes() const { return start.size() + row.size() + index.size() + value.size(); }
};

// w[groups][M][K], row-major. Blocks that hold a nonzero are kept whole. kc <= 65536, a multiple of bc. Segments are
// sorted within each chunk of row blocks [chunk[i], chunk[i+1]).
std::shared_ptr<PackedMatrix> pack_sparse(const float* w, int groups, int M, int K, int br, int bc, int kc,
                                          const std::vector<std::int32_t>& chunk);
std::shared_ptr<PackedMatrix> pack_dense(const float* w, int groups, int M, int K, int br, int kc);

// Blocks of br x bc that hold a nonzero: in each row block, over all groups; and in all.
std::vector<std::int64_t> count_row_blocks(const float* w, int groups, int M, int K, int br, int bc);
std::int64_t count_blocks(const float* w, int groups, int M, int K, int br, int bc);

}  // namespace sn
