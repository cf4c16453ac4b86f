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

// Cycles of an entry with its element of x, or four, gathered, and of a row's end; of a dense weight, an FMA or its
// bytes from L2. Fitted to LeNet-300-100 and VGG-16's layers, 30 to 95 % zeros and in blocks, on a Zen 4, where CSR
// took longer by a half if its weights came from memory, and interleaved rows did not.
constexpr double kInterleaved = 0.9, kInterleavedRow = 2, kCsr = 0.9, kCsrFar = 1.4, kFour = 1.5, kCsrRow = 14;
constexpr double kDenseWeight = 0.19;
// Bytes that come from memory in a cycle: 30 GB/s of dense weights there, half of it on the Xeon. Too high a figure
// keeps dense weights somewhat too long, one too low loses to them.
constexpr double kMemoryBytes = 8;

// Cycles of a vector kernel; weights that no cache holds cost their bytes, once for all samples.
double vector_cycles(const Candidate& c, const MatrixProblem& q, const BlockCounts& blocks, std::int64_t rows) {
  const PanelVariant& v = c.variant;
  const double entries = v.sparse ? static_cast<double>(blocks.of(v.br, v.bc)) : static_cast<double>(q.M) * q.K;
  const std::size_t weight = c.vector.f16 ? sizeof(std::uint16_t) : sizeof(float);
  const double memory = far_bytes(q, v, blocks.of(v.br, v.bc), weight) / kMemoryBytes;
  double compute = entries * std::max(2.0 / v.lanes, kDenseWeight);
  if (v.sparse) {
    const double single = c.vector.sell ? kInterleaved : memory > 0 ? kCsrFar : kCsr;
    compute = entries * (v.br * v.bc == 1 ? single : kFour) + q.M * (c.vector.sell ? kInterleavedRow : kCsrRow / v.br);
  }
  return std::max(compute * static_cast<double>(rows), memory);
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
    c.cycles = vector_cycles(c, q, blocks, rows) + c.variant.r * 1e-3 - (c.variant.sparse ? c.kc * 1e-3 : 0.0);
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  return distinct(all, [](const Candidate& a, const Candidate& b) { return a.vector.name == b.vector.name; });
}

}  // namespace sn
