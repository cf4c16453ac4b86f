// y[o][j][i] = exp(x[o][j][i] - m) / s with m = max_j x[o][j][i], s = sum_j exp(x[o][j][i] - m); or its logarithm,
// x[o][j][i] - m - log(s).
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

enum class SoftmaxKernel { rows, columns };  // rows: inner = 1

struct SoftmaxParams {
  std::int64_t outer;  // per sample
  std::int64_t length, inner;
  bool log;
  std::int64_t rows_per_task;  // rows only
};
constexpr std::int64_t kSoftmaxColumns = 64;  // columns of one outer index that a task computes

const KernelEntry* softmax_kernel(SoftmaxKernel variant, Isa isa);

std::int64_t softmax_rows_tasks(const void* params, std::int64_t batch) noexcept;
std::int64_t softmax_columns_tasks(const void* params, std::int64_t batch) noexcept;

}  // namespace sn
