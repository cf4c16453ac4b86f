// Depthwise convolution: for sample n, channel c, multiplier j and output channel m = c * multiplier + j
//   out[n][m][oy][ox] = act(bias[m] + residual[n][m][oy][ox]
//                           + sum over ky, kx of w[m][ky][kx] * in[n][c][oy*sh - top + ky*dh][ox*sw - left + kx*dw])
// with zeros outside the plane.
//
// A block of output rows first copies what it reads, zero padded, into scratch, split by stride phase: phase plane
// (py, px) holds the padded rows y and columns x with y % sh = py, x % sw = px. Every tap of every output then stands
// at one constant offset from the output's own position in a phase plane, unit stride, with no border to test. Blocks
// are sized for L1. 3x3 and 5x5 layers do without: where vectors are long, they read the image itself (generic.h).
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

// direct: loops over the nonzero taps. k3s1 ...: square kernels, dilation 1, unrolled, a loaded vector serving all
// output rows of a tile; from padded copies, channels with few nonzeros still loop over their taps.
enum class DepthwiseKernel { direct, k3s1, k3s2, k5s1, k5s2 };

struct DepthwiseParams {
  std::int64_t channels, multiplier;
  std::int64_t ih, iw, oh, ow, kh, kw, sh, sw, dh, dw, top, left;
  std::int64_t pitch;       // of a phase row
  std::int64_t phase_size;  // floats from one phase plane to the next
  std::int64_t block_rows, blocks;
  const float* weights;       // [m][kh * kw]
  const float* bias;          // [m]
  const std::int32_t* start;  // [m + 1] into the next two: the nonzero taps of each output channel
  const std::int32_t* offset;
  const float* value;
  bool has_residual;
  float low, high;  // act is none, relu or clip: clamp to these
  Epilogue after;   // any other act, applied to each finished block; none otherwise
};
constexpr std::int64_t kDepthwiseSlack = 64;  // floats that a tile may read past the phase planes: 4 AVX-512 vectors

const KernelEntry* depthwise_kernel(DepthwiseKernel variant, Isa isa);

std::int64_t depthwise_tasks(const void* params, std::int64_t batch) noexcept;  // a block of rows of a channel each

}  // namespace sn
