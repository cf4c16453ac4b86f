// Dense weights with zeros in them -> PackedWeights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "kernels/panel/panel.h"

namespace sn {

struct PackedMatrix {
  PackedWeights view{};
  AlignedBuffer start, row, index, value, count, half;
  std::int64_t entries = 0;

  std::size_t bytes() const {
    return start.size() + row.size() + index.size() + value.size() + count.size() + half.size();
  }
};

// w[groups][M][K], row-major. Blocks that hold a nonzero are kept whole. kc <= 65536, a multiple of bc. Segments are
// sorted within each chunk of row blocks [chunk[i], chunk[i+1]), but in the last k-block with `keep_last`. `places`, if
// not empty, holds PackedWeights::index of each of a k-block's columns.
std::shared_ptr<PackedMatrix> pack_sparse(const float* w, int groups, int M, int K, int br, int bc, int kc,
                                          const std::vector<std::int32_t>& chunk, bool keep_last,
                                          const std::vector<std::uint16_t>& places = {});
// PackedWeights in pairs of rows; a convolution's. Chunks of row blocks begin at multiples of kPairBand / 2: partners
// are sought within a band of so many rows, so that a row's sum does not depend on how rows are split between threads.
constexpr int kPairBand = 32;
std::shared_ptr<PackedMatrix> pack_pairs(const float* w, int groups, int M, int K, int kc,
                                         const std::vector<std::int32_t>& chunk,
                                         const std::vector<std::uint16_t>& places);
// Rows interleaved in slices of `unit` (PackedWeights::count), `m` being pack_sparse's of one group, its chunks
// multiples of `unit`.
std::shared_ptr<PackedMatrix> interleave_rows(const PackedMatrix& m, int unit);
// Whether each of them is a number of IEEE 754 binary16: then store_as_half, which drops the floats, changes none.
bool fit_half(const float* w, std::int64_t n);
void store_as_half(PackedMatrix& m);
// PackedWeights::index of a k-block's columns, for tiles of so many pixels and vectors of so many lanes.
std::vector<std::uint16_t> panel_places(const MatrixProblem& q, std::int64_t tile, int lanes, int kc);
std::shared_ptr<PackedMatrix> pack_dense(const float* w, int groups, int M, int K, int br, int kc,
                                         const std::vector<std::uint16_t>& places = {});

// Where a weight w[groups][M][K] is not zero, a bit each: read once, then every block shape is counted by words. Asking
// the floats block by block took most of compile().
class Occupied {
 public:
  Occupied(const float* w, int groups, int M, int K);

  // Blocks of br x bc that hold a nonzero: in each row block, over all groups; and in all.
  std::vector<std::int64_t> count_rows(int br, int bc) const;
  std::int64_t count(int br, int bc) const;

  // The columns where rows [m, m + br) of a group hold a nonzero, K bits; kept in `merged` where br > 1.
  const std::uint64_t* row_block(int g, int m, int br, std::vector<std::uint64_t>& merged) const;

 private:
  int groups_, M_, K_;
  std::int64_t words_;
  std::vector<std::uint64_t> bits_;
};

}  // namespace sn
