// Which kernel, block format and k-block for a matrix layer: a cost model, and the candidates it finds worth timing.
#pragma once

#include <string>
#include <vector>

#include "base/cpu.h"
#include "kernels/panel/table.h"

namespace sn {

constexpr std::int32_t kLongestBlock = 65536;  // columns that 16 bits count

struct Candidate {
  PanelVariant variant;
  std::int32_t kc = 0, pitch = 1;  // of PackedWeights and MatrixProblem
  Layout layout = Layout::packed;
  // Of a fully connected layer: what serves up to so many rows at a time; more go to the panel kernel.
  VectorVariant vector{};
  std::int64_t vector_limit = 0;
  double cycles = 0;  // the model's, a sample

  bool by_vector(std::int64_t rows) const { return rows <= vector_limit; }
};

// Nonzero blocks of the weight for every block shape that the ISA's kernels know.
struct BlockCounts {
  struct Row {
    int br, bc;
    std::int64_t blocks;
  };
  std::vector<Row> rows;

  std::int64_t of(int br, int bc) const;
  std::int64_t of(const PanelVariant& v) const;  // what it multiplies by: its blocks, or single weights in pairs
};

// MatrixProblem::strip for tiles of this width.
int strip_tiles(const MatrixProblem& q, const PanelVariant& v);

// Bytes of a fully connected layer's weights, each of so many, that come from memory; 0 where L2 holds them all.
double far_bytes(const MatrixProblem& q, const PanelVariant& v, std::int64_t blocks, std::size_t weight);

BlockCounts count_block_shapes(const float* w, const MatrixProblem& q, Isa isa);

const char* layout_name(Layout layout);

// Sorted, best first. A forced kernel leaves its own candidates only, a forced layout of it those of that layout; or
// all if there are none here.
std::vector<Candidate> rank_candidates(const MatrixProblem& q, const BlockCounts& blocks, Isa isa, std::int64_t batch,
                                       const std::string& forced, const std::string& layout);

// The model's for a candidate's panel kernel, a sample.
double panel_cycles(const MatrixProblem& q, const Candidate& c, const BlockCounts& blocks, std::int64_t batch);

// rank_candidates' of a fully connected layer for so many rows at a time, each with the vector kernel that serves small
// batches: the layer keeps to the formats that have one. Those whose vector_limit is less than `rows` are served by
// their panel kernels.
std::vector<Candidate> rank_linear(std::vector<Candidate> all, const MatrixProblem& q, const BlockCounts& blocks,
                                   const std::vector<VectorVariant>& vectors, std::int64_t rows,
                                   const std::string& forced);

}  // namespace sn
