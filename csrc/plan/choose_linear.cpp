// Fully connected layers: the candidates whose packed weights a vector kernel can read, ranked for small batches.
#include <algorithm>
#include <cmath>
#include <limits>

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
constexpr double kInterleaved = 0.85, kInterleavedRow = 2, kCsr = 0.9, kCsrFar = 1.4, kFour = 1.3, kCsrRow = 14;
constexpr double kDenseWeight = 0.19, kDenseFma = 1.1;
// Bytes that come from memory in a cycle: 30 GB/s of dense weights there, half of it on the Xeon. Too high a figure
// keeps dense weights somewhat too long, one too low loses to them.
constexpr double kMemoryBytes = 8;

// Cycles of a vector kernel, a sample. Weights that no cache holds cost their bytes, once for all samples that share
// them.
double vector_cycles(const Candidate& c, const MatrixProblem& q, const BlockCounts& blocks, std::int64_t rows) {
  const PanelVariant& v = c.variant;
  const double n = static_cast<double>(rows);
  const double entries = v.sparse ? static_cast<double>(blocks.of(v.br, v.bc)) : static_cast<double>(q.M) * q.K;
  const std::size_t weight = c.vector.f16 ? sizeof(std::uint16_t) : sizeof(float);
  const double memory = far_bytes(q, v, blocks.of(v.br, v.bc), weight) / kMemoryBytes;
  if (!v.sparse) {
    const double fma = kDenseFma * vector_passes(v.lanes) / 2.0 / v.lanes;
    const double most = c.vector.samples, passes = std::ceil(n / most);
    const double together = n == 1 ? 1 : n <= most / 2 ? most / 2 : most;  // the kernel's sums
    return passes * std::max(entries * std::max(kDenseWeight, together * fma), memory) / n;
  }
  const double single = c.vector.sell ? kInterleaved : memory > 0 ? kCsrFar : kCsr;
  const double rows_end = (c.vector.sell ? kInterleavedRow : kCsrRow / v.br) * q.M * ((q.K + c.kc - 1) / c.kc);
  return std::max(entries * (v.br * v.bc == 1 ? single : kFour) + rows_end, memory / n);
}

// Panel kernels take single weights of interleaved rows, too, but each row of them then touches all lines of its slice.
// From slices longer than these columns, which L1 does not hold, twice as long as from CSR (VGG-16's layers at 90 %);
// vector kernels run as fast with shorter ones, which are therefore preferred by a little.
constexpr double kSlicePenalty = 1.4, kLongSlice = 1.05;
constexpr int kSliceColumns = 2048;

bool single_slices(const Candidate& c) {
  return c.vector.sell && c.variant.bc == 1;
}

// So many rows at a time the vector kernel is at least as fast as the panel kernel with the same weights.
std::int64_t find_limit(const Candidate& c, const MatrixProblem& q, const BlockCounts& blocks) {
  constexpr std::int64_t kMost = 32;
  const double slices = single_slices(c) ? kSlicePenalty : 1.0;
  std::int64_t rows = 1;
  while (rows < kMost && vector_cycles(c, q, blocks, rows + 1) <= slices * panel_cycles(q, c, blocks, rows + 1)) ++rows;
  return rows;
}

}  // namespace

std::vector<Candidate> rank_linear(std::vector<Candidate> all, const MatrixProblem& q, const BlockCounts& blocks,
                                   const std::vector<VectorVariant>& vectors, std::int64_t rows,
                                   const std::string& forced) {
  if (std::any_of(all.begin(), all.end(), [&](const Candidate& c) { return forced == c.variant.name; })) return all;
  const bool half = std::any_of(vectors.begin(), vectors.end(), [](const VectorVariant& v) { return v.f16; });
  std::vector<Candidate> out;
  for (Candidate c : with_vector(all, vectors, forced)) {
    const std::int64_t limit = find_limit(c, q, blocks);
    if (single_slices(c)) c.cycles *= kSlicePenalty;
    c.vector_limit = std::min(limit, rows - 1);
    if (rows > 1 && forced != c.vector.name && !c.vector.f16) out.push_back(c);
    if (half != c.vector.f16 && forced != c.vector.name) continue;
    // Of those that larger batches would run by other panels, the narrower and the longer k-block.
    c.cycles = vector_cycles(c, q, blocks, rows) + c.variant.r * 1e-3 - (c.variant.sparse ? c.kc * 1e-3 : 0.0);
    if (single_slices(c) && c.kc > kSliceColumns) c.cycles *= kLongSlice;
    c.vector_limit = forced == c.vector.name ? std::numeric_limits<std::int64_t>::max() : std::max(limit, rows);
    out.push_back(c);
  }
  std::stable_sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  return distinct(out, [rows](const Candidate& a, const Candidate& b) {
    if (a.by_vector(rows) != b.by_vector(rows)) return false;
    if (a.by_vector(rows)) return a.vector.name == b.vector.name;
    return a.variant.name == b.variant.name && a.kc == b.kc && a.vector.sell == b.vector.sell;
  });
}

}  // namespace sn
