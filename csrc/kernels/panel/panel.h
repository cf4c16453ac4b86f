// Convolutions and fully connected layers as one matrix product over panels.
//
// A layer is, for each image n and group g, a product of the weight matrix w[M][K] with the implicit im2col matrix
// col[K][P] of the input, K = C*KH*KW, P = OH*OW output pixels:
//
//   for m, p:  y[n][g*M + m][p] = act(sum_k w[g][m][k] * col(n, g, k, p) + bias[g*M + m] + residual[n][g*M + m][p])
//   col(n, g, (c, kh, kw), (oh, ow)) = x[n][g*C + c][oh*SH - PT + kh*DH][ow*SW - PL + kw*DW], or 0 outside x
//
// The kernels walk it as: for each tile of T pixels, for each k-block of kc rows: copy col[kc][T] into an aligned
// panel that stays in L1 (the design's measurements: memory operands reach FMA peak only aligned and from L1), then
// run every row of w over the panel. Sums of earlier k-blocks wait in an aligned scratch tile; the last block adds
// the epilogue in registers and stores to y. A 1x1, a 3x3, a strided and a dilated convolution differ in the copy only.
//
// A fully connected layer is the same with the batch as its pixels (`linear`): col(k, n) = x[n][k], y[n][m].
#pragma once

#include <cstdint>

#include "kernels/kernel.h"

namespace sn {

// The weights of one layer as the kernels read them. Entries come in blocks of br x bc: br neighbouring rows by bc
// neighbouring columns. Segment s = (g * k_blocks + kb) * row_blocks + i holds the entries e in
// [start[s], start[s+1]) of row block row[s] in k-block kb, in order of their columns:
//   index[e]                             where the panel row of the block's first column begins, in steps of
//                                        place_floats(), from that of the k-block's first; in a fully connected layer,
//                                        whose vector kernels read the same weights, the column, likewise counted
//   value[(e * bc + j) * br + i]         row rb * br + i of w, column j of the block; past the end of w it is 0
// CSR is br = bc = 1. Within a chunk of rows (MatrixProblem), segments of a k-block stand in order of falling length: a
// k-block that fits L1 leaves a row a handful of entries, and a loop whose count changes from row to row is
// mispredicted once a row, 20 cycles beside 40 of arithmetic. Sorted, the count changes a dozen times a k-block. The
// last k-block of a convolution writes y, and keeps the order of its rows: 256 -> 1024 channels at 14x14, with a
// residual, took 1.4 times as long when their planes were met in any order. Dense weights have no start or row, and an
// index only in a strip, of each column of a k-block: value[((g * row_blocks + rb) * K + k) * br + i].
//
// With a `count`, rows are interleaved: SELL-C-sigma (Kreutzer et al. 2014), C = slice_rows(), sigma = a chunk. A
// k-block has whole slices, n of them: entry e of its segment i stands at start[kb * n + i / C] + e * C + i % C, if e <
// count[kb * n * C + i]; slices are padded with zeros of column 0. Fully connected layers only; chunks begin with
// slices.
//
// In pairs (PanelVariant::paired; br = 2) the entries are single weights of two rows of a chunk, any two: row[2s] and
// row[2s + 1]; the latter is M where a row is left over. First come the columns where both have a weight, one entry
// with two values, then the others of each in turn, then what the first has more of: they begin at start[4s],
// start[4s + 1] and start[4s + 2] and end at start[4s + 4]; the segment's values begin at start[4s + 3]. In order of
// all three lengths, and partners alike, counts change rarely here, too.
//
// Weights of a fully connected layer that are all numbers of IEEE 754 binary16 may stand in `half` as such, and `value`
// is null: they come from memory, and bytes decide.
struct PackedWeights {
  std::int32_t br, bc;
  std::int32_t row_blocks, k_blocks, kc;
  const std::uint32_t* start;
  const std::uint32_t* row;
  const std::uint16_t* index;
  const float* value;
  const std::uint32_t* count;
  const std::uint16_t* half;
};

// Rows of a slice: a vector of single weights, or four 1x4 blocks side by side.
constexpr std::int32_t slice_rows(std::int32_t bc, std::int32_t lanes) {
  return bc == 1 ? lanes : 4;
}

// What the kernels' operands stand in.
enum class Layout : std::uint8_t {
  packed,   // a panel of kc rows, a tile each
  sliding,  // a panel whose rows overlap; see slide_rows
  padded,   // no panel: the strip of zero-padded input (window.h) itself, at any alignment
  shifted,  // no panel: a strip with a copy of each plane for each column of the window, aligned
};

struct MatrixProblem {
  std::int32_t groups, M, K;  // M, K: per group; K: of w, what `more` has included
  std::int32_t C, H, W, OH, OW, KH, KW, SH, SW, DH, DW, PT, PL;
  std::int32_t pitch;    // pixel (oh, ow) is number oh * pitch + ow of its image: OW, or more (window.h)
  std::int32_t strip;    // tiles of a strip (window.h)
  std::int32_t advance;  // pixels from a tile's first to the next one's; see tile_advance
  bool linear;
  bool flat;  // 1x1, stride 1, no padding: H = OH = 1, W = OW = all pixels
  Layout layout;
  bool has_residual;  // args.in[1]
  bool far;           // what an image reads and writes, or a linear layer's weights, exceed L2: fetch ahead
  bool distant;       // so does the input alone, several times: what fills a strip fetches ahead, too
  // Or null: a second 1x1 layer, over args.in[1], whose sums come on top: the columns of w from C on, where a k-block
  // begins. A residual block's last layer and its shortcut are one product so, and no residual is written and read.
  const MatrixProblem* more;
  PackedWeights w;
  const float* bias;  // [groups * M], never null
  Epilogue epilogue;
  float lo, hi;    // the clamp that none, relu and clip come down to; other acts run after the store
  bool act_after;  // act is none of those three
  // Rows are split in chunks of about equal work where there are too few tiles for the threads: chunk i is row blocks
  // [chunk[i], chunk[i+1]).
  std::int32_t chunks;
  const std::int32_t* chunk;
};

// What one kernel can do, a row of kernels.inc.
struct PanelVariant {
  const char* name;
  bool sparse, paired;
  std::int32_t br, bc, r;  // block, and the tile's width in vectors
  std::int32_t lanes;      // floats a vector
  KernelFn fn;
  TasksFn tasks;

  std::int32_t tile() const { return r * lanes; }
};

// The fewest vectors of a last tile, for kernels of `br` rows and tiles of r vectors. Where rows are few, more widths
// would gain little and make the library a quarter larger.
static constexpr std::int32_t narrowest_tile(std::int32_t br, std::int32_t r) {
  return br >= 4 || r < 2 ? 1 : r - 1;
}

constexpr int kMaxTile = 256;  // pixels: the widest tile of any kernels.inc row
constexpr int kMaxLanes = 16;

// Eight bytes a step, which x86 and ARM multiply by while they add: 16 bits reach half a megabyte of panel. Only padded
// strips have odd places.
static constexpr std::int32_t place_floats(Layout layout, std::int32_t lanes) {
  return layout == Layout::padded || lanes < 2 ? 1 : 2;
}

// The kernels read the strip, and packing ends there. A tile's part of a channel is then shorter than its panel rows (a
// 3x3 window at stride 1: by almost nine with a padded strip, three with a shifted one), so L1 holds more channels and
// fewer sums come and go. Against that, loads of a padded strip cross cache lines, one in four (AVX2) to all of them
// (AVX-512) of those from a window's columns but the first. Blocks of several rows share their loads, which hides it.
static inline bool in_place(const MatrixProblem& q) {
  return q.layout == Layout::padded || q.layout == Layout::shifted;
}

// Every row of pixels begins with a vector and takes whole ones.
static inline bool whole_vectors(const MatrixProblem& q) {
  return q.layout == Layout::sliding || q.layout == Layout::shifted;
}

// A sliding panel holds tiles of whole rows of pixels, each row from the first lane of a vector. Then tap (kh, kw) of a
// channel sees what tap (kh', kw) sees, rows further on, where kh and kh' differ by whole strides, and their panel rows
// overlap without losing their alignment: a 3x3 window copies a channel three times, each as high as the tile and two
// rows more, not nine times. That packs faster, and a panel in L1 holds up to twice the columns, so half as many sums
// come and go between k-blocks: 14-33 % of a 3x3 layer at stride 1, 90 % zeros and 14x14 to 56x56 pixels (AVX-512).
// Narrower bands of a wide image would slide as well, but meet so many pages of the output that they lose.
// k-blocks are whole channels; only blocks of one column slide.
//
// Rows that the taps of phase `a` (kh * DH % SH) reach beyond the tile's; -1: it has no taps.
static inline std::int64_t slide_rows(const MatrixProblem& q, std::int32_t a) {
  std::int64_t rows = -1;
  for (std::int32_t kh = 0; kh < q.KH; ++kh) {
    const std::int64_t h = static_cast<std::int64_t>(kh) * q.DH;
    if (h % q.SH == a) rows = h / q.SH;
  }
  return rows;
}

// Floats of one channel's copies: phase by phase, in each column by column of the window.
static inline std::int64_t slide_floats(const MatrixProblem& q, std::int64_t tile) {
  std::int64_t floats = 0;
  for (std::int32_t a = 0; a < q.SH; ++a) {
    const std::int64_t rows = slide_rows(q, a);
    if (rows >= 0) floats += q.KW * (tile + rows * q.pitch);
  }
  return floats;
}

// A thread's scratch, in floats: the panel (column blocks reach past kc, copies past the last row), the tile of sums
// that wait for later k-blocks, the strip and its lists (window.h).
static inline std::int64_t panel_floats(const MatrixProblem& q, std::int64_t tile) {
  if (in_place(q)) return 0;
  const std::int64_t rows = static_cast<std::int64_t>(q.w.kc) + q.w.bc;
  const bool slides = q.layout == Layout::sliding;
  return (slides ? q.w.kc / (q.KH * q.KW) * slide_floats(q, tile) : rows * tile) + kMaxLanes;
}

static inline std::int64_t sums_floats(const MatrixProblem& q, std::int64_t tile) {
  return q.w.k_blocks > 1 || q.linear ? static_cast<std::int64_t>(q.w.row_blocks) * q.w.br * tile : 0;
}

// Positions of a tile's pixel space, those between two rows included.
static inline std::int64_t pixel_count(const MatrixProblem& q) {
  return (q.OH - 1) * static_cast<std::int64_t>(q.pitch) + q.OW;
}

// Tiles of a 1x1 layer are about equally wide, to half a vector where kernels end there: 196 pixels in tiles of 112 are
// 104 and 92, as 112 and 84 are 7 and 5 1/2 vectors, uneven work for two threads.
static inline std::int32_t tile_advance(const MatrixProblem& q, const PanelVariant& v) {
  if (!q.flat) return v.tile();
  const std::int64_t pixels = pixel_count(q), tiles = (pixels + v.tile() - 1) / v.tile();
  const std::int64_t unit = v.lanes == kMaxLanes ? v.lanes / 2 : v.lanes, even = (pixels + tiles - 1) / tiles;
  return static_cast<std::int32_t>((even + unit - 1) / unit * unit);
}

// The strip (window.h): the planes that stride and window split a channel into along one axis, the positions of an
// image row in each, how far the last tap lies behind the first, and a plane's length at most.
static inline std::int32_t phases(std::int32_t stride, std::int32_t window, std::int32_t dilation) {
  const std::int64_t reach = (window - 1) * static_cast<std::int64_t>(dilation) + 1;
  return stride < reach ? stride : static_cast<std::int32_t>(reach);
}

// The same of a strip: a shifted one has a plane for each column of the window.
static inline std::int32_t planes_across(const MatrixProblem& q) {
  return q.layout == Layout::shifted ? q.KW : phases(q.SW, q.KW, q.DW);
}

static inline std::int64_t planes(const MatrixProblem& q) {
  return static_cast<std::int64_t>(phases(q.SH, q.KH, q.DH)) * planes_across(q);
}

// Columns that the last tap of a row lies behind the first.
static inline std::int64_t strip_columns(const MatrixProblem& q) {
  if (q.layout == Layout::shifted) return 0;
  return (q.KW - 1) * static_cast<std::int64_t>(q.DW) / q.SW;
}

static inline std::int64_t strip_pitch(const MatrixProblem& q) {
  const std::int64_t least = q.OW + strip_columns(q);
  return !whole_vectors(q) ? least : q.pitch < least ? q.pitch + strip_columns(q) : q.pitch;
}

static inline std::int64_t strip_reach(const MatrixProblem& q) {
  return (q.KH - 1) * static_cast<std::int64_t>(q.DH) / q.SH * strip_pitch(q) + strip_columns(q);
}

static inline std::int64_t strip_plane(const MatrixProblem& q, std::int64_t pixels) {
  const std::int64_t rows =
      q.pitch == strip_pitch(q) ? 0 : (pixels - 1) / q.pitch + 1;  // gaps that pixels do not count
  const std::int64_t floats = pixels + rows * (strip_pitch(q) - q.pitch) + strip_reach(q);
  // An odd number of cache lines, so that what a tile sees of the planes spreads over all sets of L1.
  constexpr std::int64_t line = 16;
  return in_place(q) ? ((floats + line - 1) / line | 1) * line : floats;
}

// Where tap (kh, kw) of a channel lies, planes being so long.
static inline std::int64_t strip_tap(const MatrixProblem& q, std::int64_t plane, std::int32_t kh, std::int32_t kw) {
  const std::int64_t h = static_cast<std::int64_t>(kh) * q.DH, w = static_cast<std::int64_t>(kw) * q.DW;
  const bool shifted = q.layout == Layout::shifted;
  const std::int64_t across = shifted ? kw : w % q.SW, columns = shifted ? 0 : w / q.SW;
  return (h % q.SH * planes_across(q) + across) * plane + h / q.SH * strip_pitch(q) + columns;
}

// Floats of one channel.
static inline std::int64_t strip_channel(const MatrixProblem& q, std::int64_t pixels) {
  return planes(q) * strip_plane(q, pixels);
}

// All channels, and a vector that the last piece may overhang. A strided 1x1 layer needs none.
static inline std::int64_t strip_floats(const MatrixProblem& q, std::int64_t tile) {
  if (q.flat || q.linear || q.KH * q.KW == 1) return 0;
  return (q.C * strip_channel(q, q.strip * tile) + 2 * kMaxLanes) / kMaxLanes * kMaxLanes;
}

// Copies of runs of floats; a strip's lists are at most this long.
struct Run {
  std::int32_t from, to, n;
};

static inline std::int64_t strip_loads(const MatrixProblem& q, std::int64_t tile) {
  return planes(q) * (strip_plane(q, q.strip * tile) / strip_pitch(q) + 2);
}

static inline std::int64_t run_floats(const MatrixProblem& q, std::int64_t tile) {
  if (q.flat || q.linear) return 0;
  const std::int64_t runs = strip_loads(q, tile) + 2 * tile;
  return runs * static_cast<std::int64_t>(sizeof(Run) / sizeof(float)) + q.KH * static_cast<std::int64_t>(q.KW);
}

// Half floats become floats a row block or a slice of interleaved rows at a time, before a panel kernel reads them.
static inline std::int64_t expanded_floats(const MatrixProblem& q) {
  if (!q.w.half) return 0;
  const std::int64_t rows = q.w.count ? slice_rows(q.w.bc, kMaxLanes) : q.w.br;
  return rows * (q.w.kc + q.w.bc) + kMaxLanes;
}

static inline std::size_t panel_scratch_bytes(const MatrixProblem& q, const PanelVariant& v) {
  const std::int64_t tile = v.tile();
  const std::int64_t lists = run_floats(q, tile) + (q.more ? run_floats(*q.more, tile) : 0);
  return static_cast<std::size_t>(panel_floats(q, tile) + sums_floats(q, tile) + strip_floats(q, tile) + lists +
                                  expanded_floats(q)) *
         sizeof(float);
}

}  // namespace sn
