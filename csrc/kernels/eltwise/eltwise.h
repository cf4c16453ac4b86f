// Activations, and operators of two operands with NumPy broadcasting.
//
// Activation (ActParams): out[i] = act(in[i]).
// Binary (BinaryParams), for sample n, outer index (i0, i1, ...) and r < row, the output written in order:
//   a = A[n * a_batch + sum_k i_k * a_strides[k] + (a_scalar ? 0 : r)], b alike, c laid out as b
//   add: a + b   sub: a - b   mul: a * b   div: a / b   prelu: a < 0 ? a * b : a   affine: a * b + c
//   out = act(that)
// Operands are dense, so in a row each either runs along or stays.
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

enum class EltwiseKernel { act, add, sub, mul, div, prelu, affine };

constexpr std::int64_t kEltwiseGrain = 16384;  // elements a task: 64 KB an operand, half of a small L2

struct ActParams {
  std::int64_t size;  // per sample
  Epilogue act;
};

constexpr int kMaxBroadcastRank = 8;
struct BinaryParams {
  int rank;  // of the outer index
  std::int64_t dims[kMaxBroadcastRank], a_strides[kMaxBroadcastRank], b_strides[kMaxBroadcastRank];
  std::int64_t a_batch, b_batch;  // 0: the same for every sample
  std::int64_t row;
  bool a_scalar, b_scalar;
  const float *a, *b, *c;  // constants; where a or b is null, the next of KernelArgs::in; c for affine only
  std::int64_t rows;       // per sample: product of dims
  std::int64_t rows_per_task, tasks_per_row;  // one of them is 1
  Epilogue act;
};

const KernelEntry* eltwise_kernel(EltwiseKernel variant, Isa isa);

std::int64_t act_tasks(const void* params, std::int64_t batch) noexcept;
std::int64_t binary_tasks(const void* params, std::int64_t batch) noexcept;

}  // namespace sn
