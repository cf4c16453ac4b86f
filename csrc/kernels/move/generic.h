// Data movement, written once over V. Contract: move.h.
#include "kernels/move/move.h"

namespace sn {
namespace SN_ISA {
namespace {

SN_INLINE int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
SN_INLINE int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

SN_INLINE void copy(float* to, const float* from, int64_t n) {
  memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

}  // namespace

void move_concat(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const ConcatParams*>(params);
  const int64_t rows = args.batch * p.outer;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t r0 = task / p.tasks_per_row * p.rows_per_task;
    const int64_t from = task % p.tasks_per_row * kMoveGrain;
    const int64_t to = p.tasks_per_row == 1 ? p.total : smaller(from + kMoveGrain, p.total);
    for (int64_t r = r0; r < r0 + p.rows_per_task && r < rows; ++r) {
      float* out = args.out + r * p.total;
      int64_t start = 0;
      for (int i = 0; i < p.inputs && start < to; start += p.lengths[i++]) {
        const int64_t a = larger(from, start), b = smaller(to, start + p.lengths[i]);
        if (a < b) copy(out + a, args.in[i] + r * p.lengths[i] + (a - start), b - a);
      }
    }
  }
}

void move_rows(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const StridedParams*>(params);
  const int64_t rows = args.batch * p.outer;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t r0 = task / p.tasks_per_row * p.rows_per_task;
    const int64_t from = task % p.tasks_per_row * kMoveGrain;
    const int64_t n = p.tasks_per_row == 1 ? p.row : smaller(kMoveGrain, p.row - from);
    int64_t index[kMaxMoveRank], left = r0 % p.outer, at = p.base + r0 / p.outer * p.in_size;
    for (int a = p.rank - 1; a >= 0; --a) {
      index[a] = left % p.dims[a];
      left /= p.dims[a];
      at += index[a] * p.strides[a];
    }
    for (int64_t r = r0; r < r0 + p.rows_per_task && r < rows; ++r) {
      copy(args.out + r * p.row + from, args.in[0] + at + from, n);
      int a = p.rank - 1;
      for (; a >= 0; --a) {
        at += p.strides[a];
        if (++index[a] < p.dims[a]) break;
        at -= p.dims[a] * p.strides[a];
        index[a] = 0;
      }
      if (a < 0) at += p.in_size;
    }
  }
}

void move_tiles(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const StridedParams*>(params);
  constexpr int64_t kLine = 16;  // floats of a cache line
  for (int64_t task = begin; task < end; ++task) {
    const int64_t j0 = task % p.tasks_per_tile * p.tile_per_task, j1 = smaller(j0 + p.tile_per_task, p.tile);
    int64_t left = task / p.tasks_per_tile;
    const int64_t sample = left / p.outer;
    const float* in = args.in[0] + p.base + sample * p.in_size;
    float* out = args.out + sample * p.out_size;
    left %= p.outer;
    for (int a = p.rank - 1; a >= 0; left /= p.dims[a--]) {
      in += left % p.dims[a] * p.strides[a];
      out += left % p.dims[a] * p.out_strides[a];
    }
    for (int64_t j = j0; j < j1; j += kLine) {
      const int64_t stop = smaller(j + kLine, j1);
      int64_t i = 0;
      for (; i + VL <= p.row; i += VL) {
        for (int64_t k = j; k < stop; ++k) {
          store(out + k * p.tile_out_stride + i, load_strided(in + k * p.tile_stride + i * p.row_stride, p.row_stride));
        }
      }
      for (; i < p.row; ++i) {
        for (int64_t k = j; k < stop; ++k) out[k * p.tile_out_stride + i] = in[k * p.tile_stride + i * p.row_stride];
      }
    }
  }
}

void move_pad(const void* params, const KernelArgs& args, int64_t begin, int64_t end) noexcept {
  const auto& p = *static_cast<const PadParams*>(params);
  const int64_t first = begin * p.rows_per_task, last = smaller(end * p.rows_per_task, args.batch * p.outer);
  for (int64_t r = first; r < last; ++r) {
    const float* in = args.in[0] + r / p.outer * p.in_size;
    float* out = args.out + r * p.row;
    bool inside = true;
    int64_t left = r % p.outer;
    for (int a = p.rank - 1; a >= 0; left /= p.dims[a--]) {
      const int32_t from = p.maps[a][left % p.dims[a]];
      inside = inside && from >= 0;
      if (inside) in += from * p.strides[a];
    }
    if (!inside) {
      for (int64_t x = 0; x < p.row; ++x) out[x] = p.value;
      continue;
    }
    for (int64_t x = 0; x < p.before; ++x) out[x] = p.map[x] < 0 ? p.value : in[p.map[x]];
    copy(out + p.before, in + p.in_start, p.middle);
    for (int64_t x = p.before + p.middle; x < p.row; ++x) out[x] = p.map[x] < 0 ? p.value : in[p.map[x]];
  }
}

}  // namespace SN_ISA
}  // namespace sn
