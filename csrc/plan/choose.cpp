#include "plan/choose.h"

#include <algorithm>
#include <cmath>

#include "kernels/panel/pack.h"

namespace sn {
namespace {

// The model counts cycles of one core: two loads and two FMAs a cycle, FMA latency 4. Constants fitted by eye to
// benchmarks/kernels.py on the machines of docs/performance.md; tuning replaces them where it matters.
constexpr double kSegmentCycles = 20;  // one row block in one k-block: the loop's mispredicted end, start/end loads
constexpr double kSumCycles = 1.5;     // a vector of sums loaded or stored: their tile does not fit L1 beside the panel
constexpr double kFarLoad = 0.7;       // more for a panel vector from L2 than from L1
constexpr double kRunCycles = 6;       // one piece of a panel row copied from one image row
constexpr double kL1Share = 0.85;      // of L1 for the panel; the rest is for weights and sums on their way
constexpr double kL2Share = 0.5;       // of L2 likewise; dense panels always go there, read once for each row block

// The vector kernels pay a horizontal sum for each row of each k-block, and have no panel to keep in L1.
constexpr int kLinearBlock = 4096;

// `far`: the share of the panel that L1 does not hold.
double fma_bound(int br, int bc, int r, double far) {
  const double fma = br * bc * r / 2.0;
  const double loads = (1 + bc * (r + br)) / 2.0 + far * kFarLoad * bc * r;
  const double chain = br * r < 4 ? 2.0 * bc : 0;  // even two sets of accumulators then wait for their own latency
  return std::max({fma, loads, chain});
}

double copy_cycles(const MatrixProblem& q, int tile, int r) {
  if (q.flat || q.linear) return r * 1.0;
  const double runs = std::min<double>(tile, static_cast<double>(tile) / q.OW + 1);
  return r * (q.SW == 1 ? 1.0 : 6.0) + runs * kRunCycles;
}

double model(const MatrixProblem& q, const PanelVariant& v, std::int64_t blocks, int kc, std::int64_t batch) {
  const std::int64_t pixels = q.linear ? batch : static_cast<std::int64_t>(q.OH) * q.OW;
  const double tiles = std::ceil(static_cast<double>(pixels) / v.tile());
  const double row_blocks = std::ceil(static_cast<double>(q.M) / v.br) * q.groups;
  const double k_blocks = std::ceil(static_cast<double>(q.K) / kc);
  const double pack = q.K * copy_cycles(q, v.tile(), v.r) * q.groups;
  const double sums = v.br * v.r * (2 * k_blocks - 1) * kSumCycles;
  const double panel = static_cast<double>(kc) * v.tile() * sizeof(float);
  const double far = std::max(0.0, 1.0 - static_cast<double>(l1_bytes()) / panel);
  double multiply = row_blocks * (k_blocks * kSegmentCycles + sums);
  if (v.sparse) {
    multiply += static_cast<double>(blocks) * fma_bound(v.br, v.bc, v.r, far);
  } else {
    const double step = std::max({v.br * v.r / 2.0, (v.br + v.r) / 2.0, 4.0});
    multiply += row_blocks * q.K * step;
  }
  return tiles * (multiply + pack) / (q.linear ? static_cast<double>(batch) : 1.0);
}

// Equal k-blocks no longer than `longest`, whole column blocks.
int split_k(int K, int longest, int bc) {
  longest = std::max(longest / bc * bc, bc);
  const int parts = (K + longest - 1) / longest;
  const int kc = (K + parts - 1) / parts;
  return (kc + bc - 1) / bc * bc;
}

}  // namespace

std::int64_t BlockCounts::of(int br, int bc) const {
  for (const Row& row : rows) {
    if (row.br == br && row.bc == bc) return row.blocks;
  }
  return 0;
}

BlockCounts count_block_shapes(const float* w, const MatrixProblem& q, Isa isa) {
  BlockCounts counts;
  for (const PanelVariant& v : panel_variants(isa)) {
    const auto same = [&](const BlockCounts::Row& row) { return row.br == v.br && row.bc == v.bc; };
    if (!v.sparse || std::any_of(counts.rows.begin(), counts.rows.end(), same)) continue;
    counts.rows.push_back({v.br, v.bc, count_blocks(w, q.groups, q.M, q.K, v.br, v.bc)});
  }
  return counts;
}

std::vector<Candidate> rank_candidates(const MatrixProblem& q, const BlockCounts& blocks, Isa isa, std::int64_t batch,
                                       const std::string& forced) {
  std::vector<PanelVariant> variants = panel_variants(isa);
  const auto is_forced = [&](const PanelVariant& v) { return forced == v.name; };
  if (std::any_of(variants.begin(), variants.end(), is_forced)) {
    variants.erase(
        std::remove_if(variants.begin(), variants.end(), [&](const PanelVariant& v) { return !is_forced(v); }),
        variants.end());
  }
  std::vector<Candidate> out;
  for (const PanelVariant& v : variants) {
    // Sparse: the panel in L1, or twice that, or all of K in L2. A longer k-block has fewer segments, each with its
    // sums to load and store and its mispredicted end; a shorter one has faster loads. Which wins depends on density.
    const double l1 = kL1Share * static_cast<double>(l1_bytes()), l2 = kL2Share * static_cast<double>(l2_bytes());
    std::vector<int> tried;
    for (const double cache : v.sparse ? std::vector<double>{l1, 2 * l1, l2} : std::vector<double>{l2}) {
      const int fits = std::clamp(static_cast<int>(cache / (v.tile() * sizeof(float))), 16, 65536);
      const int kc = split_k(q.K, q.linear ? std::max(fits, kLinearBlock) : fits, v.bc);
      if (std::find(tried.begin(), tried.end(), kc) != tried.end()) continue;
      tried.push_back(kc);
      out.push_back({v, kc, model(q, v, blocks.of(v.br, v.bc), kc, batch)});
    }
  }
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  return out;
}

}  // namespace sn
