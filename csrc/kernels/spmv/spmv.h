// Fully connected layers for a few samples at a time: memory-bound, so each weight is read once.
//
//   for n < batch, m < M:  y[n][m] = act(sum_k w[m][k] * x[n][k] + bias[m] + residual[n][m])
//
// Sparse (spmv): a stream of blocks (PackedWeights), x gathered by the 16-bit indices: one by one, or a value for the
// four rows of a 4x1 block; or rows interleaved (SELL), a lane a row or four for its 1x4 block, which costs few
// horizontal sums and ends four rows or more at a time. Dense (gemv): the gemm stream, whose br rows are the lanes.
// Both read the same bytes as the panel kernels, so one packed copy serves every batch size.
#pragma once

#include "kernels/panel/panel.h"

namespace sn {

// Row blocks of dense weights that gemv reads side by side, from a multiple of so many on; chunks of rows begin there.
// One stream alone gets three quarters of what memory gives (AVX-512: VGG-16's layers 1.3 times as fast with four
// streams, 1.4 times with eight; LeNet-300-100's, in L2, 1.3 times with four, not at all with eight).
constexpr int kGemvStreams = 4;

// params: MatrixProblem with linear = true. Tasks are its row chunks.
struct VectorVariant {
  const char* name;
  bool sparse;
  std::int32_t br, bc;
  bool sell;             // reads interleaved rows (PackedWeights::count)
  bool f16;              // reads PackedWeights::half
  std::int32_t samples;  // at a time
  KernelFn fn;
};

}  // namespace sn
