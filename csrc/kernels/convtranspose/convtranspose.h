// Transposed convolution. For output channel m of group g (cg input channels and mg output channels a group):
//   out[n][m][oy][ox] = act(bias[m] + sum over c < cg, ky, kx of w[g*cg + c][m % mg][ky][kx] * in[n][g*cg + c][iy][ix])
// over all iy, ix inside the plane with iy*sh + ky*dh = oy + top and ix*sw + kx*dw = ox + left.
//
// Write oy + top = q*sh + r: the outputs of one residue r (a phase) are an ordinary correlation with the taps of
// ky*dh % sh = r, tap ky reading row q - ky*dh/sh. So a block of rows q first copies what it reads, zero padded, from
// all channels of a group into a panel; then each output channel and phase sums its nonzero weights, each at a constant
// offset from the position in the panel, over the block as one flat row (the few columns between rows are dropped).
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

enum class ConvTransposeKernel { phases };

struct ConvTransposeParams {
  std::int64_t groups, cg, mg;
  std::int64_t ih, iw, oh, ow, sh, sw, top, left;
  std::int64_t q_first, q_rows;    // rows q of all phases: [q_first, q_first + q_rows)
  std::int64_t qx_first, qx_cols;  // and columns
  std::int64_t above, before;      // panel rows above and columns before a position that its taps reach back to
  std::int64_t pitch, plane;       // of the panel: qx_cols + before; (block_rows + above) * pitch
  std::int64_t block_rows, blocks;
  std::int64_t channels_per_task, channel_tasks;  // of mg
  const std::int32_t* start;  // [groups * mg * sh * sw + 1] into the next two: nonzeros by output channel and phase
  const std::int32_t* offset;
  const float* value;
  const float* bias;  // [groups * mg]
  Epilogue act;
};
constexpr std::int64_t kConvTransposeSlack = 128;  // floats that a tile may reach past its end: 8 AVX-512 vectors

const KernelEntry* convtranspose_kernel(ConvTransposeKernel variant, Isa isa);

std::int64_t convtranspose_tasks(const void* params, std::int64_t batch) noexcept;

}  // namespace sn
