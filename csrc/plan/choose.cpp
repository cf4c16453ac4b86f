#include "plan/choose.h"

#include <algorithm>
#include <cmath>

#include "kernels/panel/pack.h"

namespace sn {
namespace {

// The model counts cycles of one core: two loads and two FMAs a cycle (vector_passes), FMA latency 4. Constants fitted
// by eye to benchmarks/kernels.py on the machines of docs/performance.md; tuning replaces them where it matters.
constexpr double kSegmentCycles = 6;  // one row block in one k-block: its row, start and end, the loop's set-up
constexpr double kSumCycles = 1.5;    // a vector of sums loaded or stored: their tile does not fit L1 beside the panel
constexpr double kFarLoad = 0.7;      // more for a panel vector from L2 than from L1
constexpr double kSplitLoad = 1.3;    // more for a load that crosses a cache line
constexpr double kPartCycles = 4;     // a vector of results that are no run of pixels, stored by parts
constexpr double kRunCycles = 6;      // a run of an image row copied to the strip, or of the strip to a panel row
// What sparse kernels take over this model more than dense ones do, so that they overtake those where they do when
// timed. Where 512-bit vectors run whole (docs/study.md): at 33-58 % random zeros in 1x1 layers, at 67-92 % in 3x3
// layers that may run as Winograd. On a Zen 4, AVX2 or AVX-512, sooner: with the larger slack ResNet-50 takes, untuned,
// 1.15-1.24 (40 %), 1.31 (50 %) and 1.02-1.05 times (70 %) as long, MobileNetV1 1.36 and V2 1.2 times at 50 %.
constexpr double kSparseSlack = 1.5, kNarrowSlack = 1.2;
constexpr double kL1Share = 0.85;     // of L1 for the panel; the rest is for weights and sums on their way
constexpr double kPaddedShare = 0.6;  // of that where loads cross lines: a miss costs twice, and there are fewer sums
constexpr double kL2Share = 0.5;      // of L2 likewise; dense panels always go there, read once for each row block
constexpr double kStripShare = 0.25;  // of L2 for the strip of padded input, read once for each tap
constexpr double kReach = 65535;      // 16 bits of a place
constexpr double kPlaneSlack = 2 * kMaxLanes;  // strip_plane rounds up
constexpr double kHalos = 8;  // a strip so many times as long as what it shares with the next costs little more

// Strides that panels slide at; a file may claim any, and slide_floats goes through them one by one.
constexpr int kSlideStride = 8;

// Bytes of weights that panel kernels get from memory in a cycle; vector kernels get more (choose_linear.cpp).
constexpr double kMemoryBytes = 4.5;

// `far`: the share of the panel that L1 does not hold. `split`: the share of its vectors that cross a cache line.
double fma_bound(const PanelVariant& v, double far, double split) {
  const int br = v.br, bc = v.bc, r = v.r;
  // More than two rows keep in registers what they share; sums that find none are loaded and stored.
  const int registers = v.lanes == 8 ? 16 : 32, held = br * r + (br > 2 ? r : 0) + 1;
  const double issue = vector_passes(v.lanes) / 2.0;
  const double fma = issue * br * bc * r + bc * std::max(0, held - registers);
  const double loads = issue * (1 + bc * (r * (1 + split) + br)) + far * kFarLoad * bc * r;
  const double chain = br * r < 4 ? 2.0 * bc : 0;  // so few accumulators wait for their own latency
  return std::max({fma, loads, chain});
}

// The multiplications of a sparse kernel for a tile, `blocks` of its block in all; in pairs, single weights, of which a
// row shares with its partner what chance lets it (the choice of partners adds to that).
double sparse_cycles(const MatrixProblem& q, const PanelVariant& v, double blocks, double far, double split) {
  if (!v.paired) return blocks * fma_bound(v, far, split);
  PanelVariant single = v;
  single.br = 1;
  const double shared = blocks / 2 * blocks / (static_cast<double>(q.groups) * q.M * q.K);
  return shared * fma_bound(v, far, split) + (blocks - 2 * shared) * fma_bound(single, far, split);
}

// A panel row, in a layer with a window its share of the strip included.
double copy_cycles(const MatrixProblem& q, int tile, int r) {
  if (q.flat) return r * 1.0;
  const double pixels = static_cast<double>(q.strip) * tile;
  const double vector = q.SW <= 2 ? 1.5 * q.SW : 16.0;  // by shuffles up to stride 2, then one by one
  const double strip = (pixels / q.pitch * kRunCycles * q.SH + r * q.strip * vector) / q.strip *
                       static_cast<double>(strip_channel(q, q.strip * tile)) / pixels;
  if (q.KH * q.KW == 1) return strip;
  if (in_place(q)) return strip / (q.KH * q.KW);
  if (q.layout == Layout::sliding) {
    return (r * static_cast<double>(slide_floats(q, tile)) / tile + strip) / (q.KH * q.KW);
  }
  const double runs = q.pitch == strip_pitch(q) ? 0 : static_cast<double>(tile) / q.OW + 1;
  return r * 1.5 + runs * kRunCycles + strip / (q.KH * q.KW);
}

// Floats of a channel that a tile sees where kernels read the strip.
double seen_floats(const MatrixProblem& q, int tile) {
  const double others = (q.strip - 1.0) * tile * static_cast<double>(planes(q));
  return static_cast<double>(strip_channel(q, std::int64_t{q.strip} * tile)) - others;
}

// Tiles, the last one perhaps narrower (kernels/panel): where vectors run in halves, down to half of one.
double tile_count(const PanelVariant& v, std::int64_t pixels) {
  const std::int64_t tile = v.tile(), whole = (pixels + tile - 1) / tile;
  const std::int64_t part = v.lanes / vector_passes(v.lanes), vectors = v.r - narrowest_tile(v.br, v.r);
  const std::int64_t most = vectors * v.lanes + v.lanes - part;
  const std::int64_t spare = std::min(whole * tile - pixels, most) / part * part;
  return static_cast<double>(whole) - static_cast<double>(spare) / static_cast<double>(tile);
}

// A column of a dense row block.
double dense_bound(const PanelVariant& v, double far, double split) {
  const double issue = vector_passes(v.lanes) / 2.0;
  return std::max({issue * v.br * v.r, issue * (v.br + v.r * (1 + split)), 4.0}) + split * far * kFarLoad * v.r;
}

// Of a panel row of a fully connected layer: whole cache lines.
double used_lanes(const PanelVariant& v, std::int64_t samples) {
  constexpr std::int64_t line = kMaxLanes;
  return static_cast<double>(std::min<std::int64_t>(v.tile(), (samples + line - 1) / line * line));
}

// One tile of a fully connected layer, n samples in as few vectors as its kernel can take. Its weights come once a
// tile.
double linear_model(const MatrixProblem& q, const PanelVariant& v, std::int64_t blocks, std::int64_t n) {
  PanelVariant used = v;
  used.r = static_cast<std::int32_t>((n + v.lanes - 1) / v.lanes);
  used.r = std::max(used.r, narrowest_tile(v.br, v.r));
  if (used.r == 1 && n <= v.lanes / vector_passes(v.lanes)) used.lanes /= vector_passes(v.lanes);
  const double row_blocks = (q.M + v.br - 1) / v.br, k_blocks = (q.K + q.w.kc - 1) / q.w.kc;
  const double panel = q.w.kc * used_lanes(v, n) * sizeof(float);
  const double far = std::max(0.0, 1.0 - static_cast<double>(l1_bytes()) / panel);
  const double sums = row_blocks * v.br * used.r * (2 * k_blocks - 1) * kSumCycles;
  const double compute =
      v.sparse ? static_cast<double>(blocks) * fma_bound(used, far, 0) : row_blocks * q.K * dense_bound(used, far, 0);
  const double multiply = std::max(compute + sums, far_bytes(q, v, blocks, sizeof(float)) / kMemoryBytes);
  return row_blocks * k_blocks * kSegmentCycles + multiply + static_cast<double>(q.K) * static_cast<double>(n);
}

// A sample's cycles.
double model(const MatrixProblem& q, const PanelVariant& v, std::int64_t blocks, std::int64_t batch) {
  const bool narrow = !q.linear && (v.lanes == 8 || vector_passes(v.lanes) > 1);
  const double slack = !v.sparse ? 1.0 : narrow ? kNarrowSlack : kSparseSlack;
  if (q.linear) {
    const std::int64_t tile = v.tile(), rest = batch % tile;
    const double whole = batch < tile ? 0.0 : static_cast<double>(batch / tile) * linear_model(q, v, blocks, tile);
    return slack * (whole + (rest > 0 ? linear_model(q, v, blocks, rest) : 0.0)) / static_cast<double>(batch);
  }
  const std::int64_t pixels = pixel_count(q);
  const double tiles = tile_count(v, pixels);
  const double row_blocks = std::ceil(static_cast<double>(q.M) / v.br) * q.groups;
  const double k_blocks = std::ceil(static_cast<double>(q.K) / q.w.kc);
  const double pack = q.K * copy_cycles(q, v.tile(), v.r) * q.groups;
  const double sums = v.br * v.r * (2 * k_blocks - 1) * kSumCycles;
  const double floats =
      in_place(q) ? q.w.kc / (q.KH * q.KW) * seen_floats(q, v.tile()) : static_cast<double>(panel_floats(q, v.tile()));
  const double panel = floats * sizeof(float);
  // All columns of the window but the first; a line holds kMaxLanes floats.
  const double split = q.layout == Layout::padded ? kSplitLoad * (q.KW - 1.0) / q.KW * v.lanes / kMaxLanes : 0.0;
  const double far = std::max(0.0, 1.0 - static_cast<double>(l1_bytes()) / panel);
  const double parts = !q.flat && q.pitch != q.OW ? v.br * v.r * kPartCycles : 0.0;
  const double segments = std::ceil(static_cast<double>(pixels) / v.tile()) * row_blocks * k_blocks;
  const double multiply = v.sparse ? sparse_cycles(q, v, static_cast<double>(blocks), far, split)
                                   : row_blocks * q.K * dense_bound(v, far, split);
  return slack * (segments * kSegmentCycles + tiles * (row_blocks * (sums + parts) + multiply + pack));
}

// Equal k-blocks no longer than `longest`, whole column blocks.
int split_k(int K, int longest, int bc) {
  longest = std::max(longest / bc * bc, bc);
  const int parts = (K + longest - 1) / longest;
  const int kc = (K + parts - 1) / parts;
  return (kc + bc - 1) / bc * bc;
}

// Of layers with `more`, whose columns begin a k-block: parts of the columns before.
int split_before(int C, int longest, int bc) {
  int parts = (C + longest - 1) / longest;
  while (C % (parts * bc) != 0) ++parts;
  return C / parts;
}

// The k-block whose panel, or part of the strip, takes this many floats at most; 0: that of one channel takes more.
int k_block(const MatrixProblem& q, const PanelVariant& v, double floats, std::int64_t batch) {
  const double reach = kReach * place_floats(q.layout, v.lanes);
  const int window = q.KH * q.KW;
  if (in_place(q)) {
    const double channels = std::min(floats / seen_floats(q, v.tile()),
                                     reach / static_cast<double>(strip_channel(q, std::int64_t{q.strip} * v.tile())));
    return channels < 1 ? 0 : split_k(q.K, static_cast<int>(channels) * window, window);
  }
  if (v.sparse && !q.linear) floats = std::min(floats, reach);
  if (q.layout == Layout::sliding) {
    const int channels = static_cast<int>(floats / static_cast<double>(slide_floats(q, v.tile())));
    return channels == 0 ? 0 : split_k(q.K, channels * window, window);
  }
  const int fits =
      std::clamp(static_cast<int>(floats / (q.linear ? used_lanes(v, batch) : v.tile())), 16, kLongestBlock);
  if (q.more) return split_before(q.C, fits, v.bc);
  return split_k(q.K, fits, v.bc);
}

// The layouts, and the ways to number pixels: a packed panel's with the gaps between their rows and without. A strip
// beyond L2 is not read in place. Of kernels with `half` the ISA's lanes only those that their rows of pixels suit.
std::vector<MatrixProblem> tilings(const MatrixProblem& q, const PanelVariant& v, bool half) {
  std::vector<MatrixProblem> out;
  const auto add = [&](Layout layout, std::int64_t pitch) {
    MatrixProblem tiled = q;
    tiled.layout = layout;
    if (half && !whole_vectors(tiled)) return;
    tiled.pitch = static_cast<std::int32_t>(pitch);
    tiled.strip = strip_tiles(tiled, v);
    tiled.w.bc = v.bc;
    const std::size_t strip = static_cast<std::size_t>(strip_floats(tiled, v.tile())) * sizeof(float);
    if (!in_place(tiled) || strip <= l2_bytes()) out.push_back(tiled);
  };
  add(Layout::packed, q.OW);
  if (q.flat || q.linear) return out;
  const std::int64_t gaps = strip_pitch(q), vectors = (q.OW + v.lanes - 1) / v.lanes;
  if (gaps != q.OW) add(Layout::packed, gaps);
  if (v.bc > 1 || q.KH * q.KW == 1) return out;
  add(Layout::padded, gaps);
  add(Layout::shifted, vectors * v.lanes);
  if (v.sparse && q.KH > 1 && q.SH <= kSlideStride && v.r % vectors == 0) add(Layout::sliding, vectors * v.lanes);
  return out;
}

}  // namespace

double far_bytes(const MatrixProblem& q, const PanelVariant& v, std::int64_t blocks, std::size_t weight) {
  const double index = sizeof(std::uint16_t);
  const double bytes = v.sparse ? static_cast<double>(blocks) * (index + static_cast<double>(v.br * v.bc * weight))
                                : static_cast<double>(q.M) * q.K * static_cast<double>(weight);
  return bytes > static_cast<double>(l2_bytes()) ? bytes : 0.0;
}

// As many as fit a quarter of L2 beside the sums and the weights, one at least. Of a few channels, whose strips are
// long, no more than lets places reach all of them, so that K is one k-block. With results stored as runs, 3 -> 32
// 3x3/2 at 224x224 is 1.4 times as fast (AVX2, shifted).
int strip_tiles(const MatrixProblem& q, const PanelVariant& v) {
  if (q.KH * q.KW == 1) return 1;
  const int tile = v.tile();
  const double fits = kStripShare * static_cast<double>(l2_bytes()) / sizeof(float) / q.C;
  const double halo = static_cast<double>(strip_reach(q));
  double tiles = (fits - halo) / (static_cast<double>(tile) * static_cast<double>(planes(q)));
  const double plane = kReach * place_floats(q.layout, v.lanes) / (static_cast<double>(planes(q)) * q.C) - kPlaneSlack;
  if (in_place(q) && plane > kHalos * halo) tiles = std::min(tiles, (plane - halo) / tile);
  return std::clamp(static_cast<int>(tiles), 1, static_cast<int>((pixel_count(q) + tile - 1) / tile));
}

const char* layout_name(Layout layout) {
  switch (layout) {
    case Layout::packed:
      return "packed";
    case Layout::sliding:
      return "sliding";
    case Layout::padded:
      return "padded";
    case Layout::shifted:
      return "shifted";
  }
  return "";
}

std::int64_t BlockCounts::of(int br, int bc) const {
  for (const Row& row : rows) {
    if (row.br == br && row.bc == bc) return row.blocks;
  }
  return 0;
}

std::int64_t BlockCounts::of(const PanelVariant& v) const {
  return v.paired ? of(1, 1) : of(v.br, v.bc);
}

double panel_cycles(const MatrixProblem& q, const Candidate& c, const BlockCounts& blocks, std::int64_t batch) {
  MatrixProblem tiled = q;
  tiled.w.kc = c.kc;
  return model(tiled, c.variant, blocks.of(c.variant), batch);
}

BlockCounts count_block_shapes(const float* w, const MatrixProblem& q, Isa isa) {
  BlockCounts counts;
  const Occupied occupied(w, q.groups, q.M, q.K);
  for (const PanelVariant& v : panel_variants(isa)) {
    const auto same = [&](const BlockCounts::Row& row) { return row.br == v.br && row.bc == v.bc; };
    if (!v.sparse || v.paired || std::any_of(counts.rows.begin(), counts.rows.end(), same)) continue;
    counts.rows.push_back({v.br, v.bc, occupied.count(v.br, v.bc)});
  }
  return counts;
}

std::vector<Candidate> rank_candidates(const MatrixProblem& q, const BlockCounts& blocks, Isa isa, std::int64_t batch,
                                       const std::string& forced, const std::string& layout) {
  std::vector<PanelVariant> variants = panel_candidates(isa, q.OW);
  const int lanes = variants.front().lanes;
  const auto paired = [](const PanelVariant& v) { return v.paired; };  // vector kernels do not read them
  if (q.linear) variants.erase(std::remove_if(variants.begin(), variants.end(), paired), variants.end());
  const auto is_forced = [&](const PanelVariant& v) { return forced == v.name; };
  if (std::any_of(variants.begin(), variants.end(), is_forced)) {
    variants.erase(
        std::remove_if(variants.begin(), variants.end(), [&](const PanelVariant& v) { return !is_forced(v); }),
        variants.end());
  } else if (!layout.empty()) {
    return rank_candidates(q, blocks, isa, batch, forced, "");
  }
  std::vector<Candidate> out;
  for (const PanelVariant& v : variants) {
    // Sparse: the panel in L1, or somewhat more. A longer k-block has fewer segments, each with its
    // sums to load and store; a shorter one has faster loads. Which wins depends on density.
    const double l1 = kL1Share * static_cast<double>(l1_bytes()), l2 = kL2Share * static_cast<double>(l2_bytes());
    std::vector<double> caches{l2};
    if (v.sparse) caches = {l1, 1.7 * l1, 3.4 * l1};
    // Short rows lose by being cut: LeNet-300-100 at 90 % and batch 32 is 1.23 times as fast with K in one k-block.
    // Long ones gain: VGG-16's layers at batch 32 are 1.12 (4x1 blocks) to 1.34 times (1x4) as fast with 512 columns.
    if (v.sparse && q.linear) caches.push_back(l2);
    for (const double cache : caches) {
      Candidate best;
      for (MatrixProblem& tiled : tilings(q, v, v.lanes < lanes)) {
        if (!layout.empty() && layout != layout_name(tiled.layout)) continue;
        const double share = tiled.layout == Layout::padded && v.sparse ? kPaddedShare : 1.0;
        tiled.w.kc = k_block(tiled, v, share * cache / sizeof(float), batch);
        if (tiled.w.kc == 0) continue;
        const double cycles = model(tiled, v, blocks.of(v), batch);
        if (best.kc == 0 || cycles < best.cycles) best = {v, tiled.w.kc, tiled.pitch, tiled.layout, {}, 0, cycles};
      }
      const auto same = [&](const Candidate& c) {
        return c.variant.name == v.name && c.kc == best.kc && c.pitch == best.pitch && c.layout == best.layout;
      };
      if (best.kc > 0 && std::none_of(out.begin(), out.end(), same)) out.push_back(best);
    }
  }
  if (out.empty()) return rank_candidates(q, blocks, isa, batch, forced, "");
  std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) { return a.cycles < b.cycles; });
  return out;
}

}  // namespace sn
