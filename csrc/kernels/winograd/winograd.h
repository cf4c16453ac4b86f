// Dense convolution by Winograd's minimal filtering (Lavin and Gray 2016). 3x3 at stride 1: an output tile of m x m
// pixels from an input tile of (m + 2) x (m + 2), with (m + 2)^2 products a channel in place of 9 m^2.
//
//   out[n][o][y][x] = act(bias[o] + residual[n][o][y][x]
//                         + sum over c, i, j of w[o][c][i][j] * in[n][c][y - top + i][x - left + j]), 0 outside `in`
//
// computed, with d an input tile, g = w[o][c] and every product of the bracket taken elementwise, as
//
//   tile = A^T [ sum over c of (G g G^T) * (B^T d B) ] A
//
// F(2x2) stands on the points 0, 1, -1 and infinity, F(4x4) on 0, +-5/8, +-3/2 and infinity: by search over small
// dyadic fractions, half the error of the usual +-1, +-2, as the powers of neither point dominate, and every constant
// is exact in fp32.
//
// 5x5 to 8x8 at stride 2, stems above all: rows and columns of the input dealt out by parity are four channels, of each
// of which a 4x4 window is seen at stride 1 (Huang et al. 2020, "DWM"; the last taps of smaller windows are
// 0). F(4x4, 4x4) on +-3/8, +-7/8, +-7/4 and infinity takes 49 products a channel in place of 7x7's 196: a quarter.
//
// A task takes a block of output tiles. It transforms the block's input, lanes over tiles, to v[c / 8][f][c % 8][tile]
// for all frequencies f (eight channels side by side, so that a channel writes to few pages at a time); then, for one
// panel of output channels after the other, multiplies it with the transformed weights, lanes over output channels
// (numbers of tiles are small and odd: 49 at 28x28; channels are multiples of the vector length), to
// sums[f][tile][o]; and transforms those back, transposing them to rows of pixels, or to those of a max pooling behind.
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

enum class WinogradKernel { f2x2, f4x4, f4x4s2 };

// An output tile's side, the window's (at stride 2 of a channel by parity), and the stride.
struct WinogradShape {
  int out, taps, stride;
  constexpr int in() const { return out + taps - 1; }
};
constexpr WinogradShape winograd_shape(WinogradKernel k) {
  return k == WinogradKernel::f2x2   ? WinogradShape{2, 3, 1}
         : k == WinogradKernel::f4x4 ? WinogradShape{4, 3, 1}
                                     : WinogradShape{4, 4, 2};
}
constexpr float kWinogradA = 0.625f, kWinogradB = 1.5f;                     // F(4x4)'s points
constexpr float kStridedA = 0.375f, kStridedB = 0.875f, kStridedC = 1.75f;  // those of F(4x4, 4x4)

// The register tile: output tiles by vectors of filters. 12 accumulators of 16 registers on AVX2, 24 of 32 on AVX-512;
// 20 on NEON, which keeps the tiles' values in registers too.
constexpr int winograd_tiles(int lanes) {
  return lanes == 4 ? 5 : 6;
}
constexpr int winograd_vectors(int lanes) {
  return lanes == 4 || lanes == 16 ? 4 : 2;
}

// Max pooling at stride 2 of what the convolution gives: windows of size x size from row 2 i - top and column
// 2 j - left on, each with pixels inside. oh, ow: of what is stored then.
struct WinogradPool {
  std::int32_t size;  // 2 or 3; 0: none
  std::int32_t top, left, oh, ow;
};

struct WinogradParams {
  std::int32_t channels;  // of the image, times those by parity
  std::int32_t ih, iw, filters, oh, ow, top, left;
  std::int32_t tiles_down, tiles_across;
  // A block is `block_rows` whole rows of tiles (they run on from image to image), or `block_columns` of one row.
  std::int32_t block_rows, block_columns, row_splits;
  // Or, not 0, a task takes one of so many bands of an image, block after block of whole rows: pooling windows that
  // reach into the next tile need its neighbours' rows. The row of tiles above a band is computed by both.
  std::int32_t bands;
  // Transformed weights, in the order of use: for each panel of filters (the last one may have fewer, but whole
  // vectors) and frequency u[channel][filter].
  std::int32_t panel, padded_filters;
  std::int32_t kc;  // channels multiplied at a time, so that their weights and tiles stay in L1; a multiple of 8
  const float* u;
  const float* bias;    // [padded_filters]
  std::int32_t chunks;  // the panels are split evenly between this many tasks a block
  WinogradPool pool;    // without residual and `after`
  bool has_residual;
  float low, high;  // act is none, relu or clip: clamp to these
  Epilogue after;   // any other act, applied to what is stored; none otherwise
};

constexpr int kWinogradDepth = 8;  // channels side by side in v
constexpr int kWinogradRing = 8;   // rows of windows' maxima: those of a row of tiles, and two above

// A thread's scratch in floats. The pitches between frequencies keep them out of each other's cache sets.
struct WinogradScratch {
  std::int64_t input_pitch, input;         // v
  std::int64_t sums_pitch, sums, squares;  // the products; output tiles before their transposition
  std::int64_t rings, rows;                // of pooling: the maxima of rows; those, and a row of tiles
  std::int64_t zeros;                      // an image row of them
  std::int64_t floats() const { return input + sums + squares + rows + zeros; }
};
constexpr std::int64_t kWinogradLanes = 16;  // at most, of any ISA

static inline std::int64_t winograd_round(std::int64_t n) {
  return (n + kWinogradLanes - 1) / kWinogradLanes * kWinogradLanes;
}
static inline WinogradScratch winograd_scratch(const WinogradParams& p, std::int64_t out, std::int64_t in) {
  const std::int64_t tiles = static_cast<std::int64_t>(p.block_rows) * p.block_columns;
  WinogradScratch s;
  s.input_pitch = winograd_round(kWinogradDepth * tiles) + kWinogradLanes;
  s.input = (p.channels + kWinogradDepth - 1) / kWinogradDepth * in * in * s.input_pitch;
  s.sums_pitch = tiles * winograd_round(p.panel) + kWinogradLanes;
  s.sums = in * in * s.sums_pitch;
  s.squares = kWinogradLanes * kWinogradLanes * 4;
  s.rings = s.rows = 0;
  if (p.pool.size > 0) {
    s.rings = kWinogradRing * p.pool.ow * (p.bands > 0 ? winograd_round(p.padded_filters) : kWinogradLanes);
    s.rows = s.rings + out * out * p.block_columns * kWinogradLanes;
  }
  s.zeros = winograd_round(p.iw);
  return s;
}

const KernelEntry* winograd_kernel(WinogradKernel variant, Isa isa);
int winograd_lanes(Isa isa);
int winograd_panel(Isa isa);  // filters to a panel

std::int64_t winograd_tasks(const void* params, std::int64_t batch) noexcept;  // a chunk of a block each

}  // namespace sn
