// Fully connected layers: the candidates whose packed weights a vector kernel can read, ranked for small batches.
#include <algorithm>

#include "plan/choose.h"

namespace sn {
namespace {

// With each vector kernel that reads what they pack: CSR, interleaved rows, and the dense ones with lanes of rows.
std::vector<Candidate> with_vector(const std::vector<Candidate>& all, const std::vector<VectorVariant>& vectors,
                                   const std::string& forced) {
  const bool forced_vector =
      std::any_of(vectors.begin(), vectors.end(), [&](const VectorVariant& v) { return forced == v.name; });
  std::vector<Candidate> out;
  for (Candidate c : all) {
    const PanelVariant& v = c.variant;
    for (const VectorVariant& x : vectors) {
      const bool reads = x.sparse == v.sparse && x.br == v.br && x.bc == v.bc && (v.sparse || v.r == 1);
      if (!reads || (forced_vector && forced != x.name)) continue;
      c.vector = x;
      out.push_back(c);
    }
  }
  return out.empty() && forced_vector ? with_vector(all, vectors, "") : out;
}

// The first of each kind.
template <class Same>
std::vector<Candidate> distinct(const std::vector<Candidate>& all, Same same) {
  std::vector<Candidate> out;
  for (const Candidate& c : all) {
    if (std::none_of(out.begin(), out.end(), [&](const Candidate& other) { return same(c, other); })) out.push_back(c);
  }
  return out;
}

// Cycles of a vector kernel. An element of x takes about one to gather, and a row of CSR the sum of its lanes;
// weights that no cache holds cost their bytes.
double vector_cycles(const Candidate& c, const MatrixProblem& q, const BlockCounts& blocks) {
  const PanelVariant& v = c.variant;
  const double entries = v.sparse ? static_cast<double>(blocks.of(v.br, v.bc)) : static_cast<double>(q.M) * q.K;
  double compute = entries * 2.0 / v.lanes;
  if (c.vector.sell) {
    compute = entries * 0.9 + q.M * 2.0;
  } else if (v.sparse) {
    compute = entries * (v.br * v.bc == 1 ? 1.0 : 1.5) + q.M * 12.0 / v.br;
  }
  const std::size_t weight = c.vector.f16 ? sizeof(std::uint16_t) : sizeof(float);
  return std::max(compute, memory_cycles(q, v, blocks.of(v.br, v.bc), weight));
}

}  // namespace

std::vector<Candidate> rank_linear(std::vector<Candidate> all, const MatrixProblem& q, const BlockCounts& blocks,
                                   const std::vector<VectorVariant>& vectors, std::int64_t rows,
                                   const std::string& forced) {
  if (std::any_of(all.begin(), all.end(), [&](const Candidate& c) { return forced == c.variant.name; })) return all;
  all = with_vector(all, vectors, forced);
  if (rows > kVectorBatch) {
    return distinct(all, [](const Candidate& a, const Candidate& b) {
      return a.variant.name == b.variant.name && a.kc == b.kc && a.vector.sell == b.vector.sell;
    });
  }
  // Of those that larger batches would run by other panels, the narrower and the longer k-block.
  for (Candidate& c : all) {
    c.cycles = vector_cycles(c, q, blocks) + c.variant.r * 1e-3 - (c.variant.sparse ? c.kc * 1e-3 : 0.0);
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  return distinct(all, [](const Candidate& a, const Candidate& b) { return a.vector.name == b.vector.name; });
}

}  // namespace sn
