// Max and average over windows, over whole rows, and over any set of axes.
//
// Windows (WindowParams), for each plane p, with y = oy*sh - top + ky*dh and x = ox*sw - left + kx*dw:
//   max: out[p][oy][ox] = max over (ky, kx) with (y, x) inside the plane of in[p][y][x]
//        (NaN where one of them is)
//   avg: out[p][oy][ox] = sum over the same / (count_y[oy] * count_x[ox])
// Adaptive windows (AdaptiveParams): y in [floor(oy*ih/oh), ceil((oy+1)*ih/oh)), x alike; the mean or the maximum.
// Rows (RowsParams): out[r] = mean or maximum of in[r][0 .. len).
// Axes (AxesParams): out[k] = mean over the reduced axes of in, k running over the kept ones in order.
//
// Sums run in blocks, several accumulators a block, and the blocks are summed in turn: the error grows with
// len / block + block rather than with len.
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

enum class PoolKernel { max, avg, adaptive_max, adaptive_avg, rows_max, rows_avg, axes_avg };

struct WindowParams {
  std::int64_t planes;  // per sample
  std::int64_t ih, iw, oh, ow, kh, kw, sh, sw, dh, dw, top, left;
  std::int64_t pitch;              // floats in a phase row: columns x with (x + left) % sw alike stand together
  const std::int32_t* taps;        // [kw] where in the phase rows the window's column kx of ox = 0 stands
  const float *count_y, *count_x;  // [oh], [ow]; avg only
  bool distant;                    // fetch the input ahead
};
constexpr std::int64_t kPoolSlack = 32;  // floats that a kernel may read past a phase row: two AVX-512 vectors

struct AdaptiveParams {
  std::int64_t planes, ih, iw, oh, ow;
};

struct RowsParams {
  std::int64_t rows;  // per sample
  std::int64_t len;
  std::int64_t rows_per_task;
};

constexpr int kMaxReduceRank = 8;
struct AxesParams {
  std::int64_t in_size, out_size;  // per sample
  int kept, reduced;               // how many of each, axis 0 not counted
  std::int64_t kept_dims[kMaxReduceRank], kept_strides[kMaxReduceRank];
  std::int64_t reduced_dims[kMaxReduceRank], reduced_strides[kMaxReduceRank];
  std::int64_t inner;  // the last kept dimension if its stride is 1 (then not in kept_dims), else 1
};

const KernelEntry* pool_kernel(PoolKernel variant, Isa isa);

std::int64_t window_tasks(const void* params, std::int64_t batch) noexcept;    // a plane each
std::int64_t adaptive_tasks(const void* params, std::int64_t batch) noexcept;  // a plane each
std::int64_t rows_tasks(const void* params, std::int64_t batch) noexcept;      // rows_per_task rows each
std::int64_t axes_tasks(const void* params, std::int64_t batch) noexcept;      // a sample each

}  // namespace sn
