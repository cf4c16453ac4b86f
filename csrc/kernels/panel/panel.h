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
// neighbouring columns. Segment s = (g * k_blocks + kb) * row_blocks + rb holds the entries e in
// [start[s], start[s+1]) of row block rb in k-block kb, in order of their columns:
//   index[e]                             first column of the block, counted from the k-block's first
//   value[(e * bc + j) * br + i]         w[rb * br + i][kb * kc + index[e] + j], rows and columns past the end are 0
// CSR is br = bc = 1. Dense weights have no start and no index: value[((g * row_blocks + rb) * K + k) * br + i].
struct PackedWeights {
  std::int32_t br, bc;
  std::int32_t row_blocks, k_blocks, kc;
  const std::uint32_t* start;
  const std::uint16_t* index;
  const float* value;
};

struct MatrixProblem {
  std::int32_t groups, M, K;  // M, K: per group
  std::int32_t C, H, W, OH, OW, KH, KW, SH, SW, DH, DW, PT, PL;
  bool linear;
  bool flat;          // 1x1, stride 1, no padding: H = OH = 1, W = OW = all pixels
  bool has_residual;  // args.in[1]
  bool far;           // what an image reads and writes exceeds L2: fetch ahead
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
  bool sparse;
  std::int32_t br, bc, r;  // block, and the tile's width in vectors
  std::int32_t lanes;      // floats a vector
  KernelFn fn;
  TasksFn tasks;

  std::int32_t tile() const { return r * lanes; }
};

constexpr int kMaxTile = 256;  // pixels: the widest tile of any kernels.inc row
constexpr int kMaxLanes = 16;

// A thread's scratch, in floats: the panel (column blocks reach past kc, copies past the last row), the tile of sums
// that wait for later k-blocks, and the band of image rows (generic.h).
static inline std::int64_t panel_floats(const MatrixProblem& q, std::int64_t tile) {
  return (static_cast<std::int64_t>(q.w.kc) + q.w.bc) * tile + kMaxLanes;
}

static inline std::int64_t sums_floats(const MatrixProblem& q, std::int64_t tile) {
  return q.w.k_blocks > 1 || q.linear ? static_cast<std::int64_t>(q.w.row_blocks) * q.w.br * tile : 0;
}

static inline std::int64_t band_rows(const MatrixProblem& q, std::int64_t tile) {
  const std::int64_t pixel_rows = (tile - 1) / q.OW + 2;
  return ((pixel_rows < q.OH ? pixel_rows : q.OH) - 1) * q.SH + (q.KH - 1) * static_cast<std::int64_t>(q.DH) + 1;
}

static inline std::int64_t band_floats(const MatrixProblem& q, std::int64_t tile) {
  if (q.flat || q.linear) return 0;
  const std::int64_t columns =
      (q.OW - 1) * static_cast<std::int64_t>(q.SW) + (q.KW - 1) * static_cast<std::int64_t>(q.DW) + 1;
  const std::int64_t pitch = (columns + q.SW - 1) / q.SW, phases = q.SW < columns ? q.SW : columns;
  return band_rows(q, tile) * phases * pitch + 2 * kMaxLanes;
}

static inline std::size_t panel_scratch_bytes(const MatrixProblem& q, const PanelVariant& v) {
  const std::int64_t tile = v.tile();
  return static_cast<std::size_t>(panel_floats(q, tile) + sums_floats(q, tile) + band_floats(q, tile)) * sizeof(float);
}

}  // namespace sn
