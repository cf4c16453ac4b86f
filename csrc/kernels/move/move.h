// Data movement. No arithmetic, so every ISA gives the same bits.
//
// Concat (ConcatParams): out[o] = in_0[o] ++ in_1[o] ++ ..., in_i[o] being lengths[i] contiguous floats.
// Strided (StridedParams): out[i0][i1]... = in[base + i0 * strides[0] + i1 * strides[1] + ...]: transposes, slices,
//   crops and channel shuffles. `rows` where the last stride is 1, `tiles` otherwise; tiles also runs over axis `tile`
//   (if >= 0) in blocks, so that a cache line of the input serves many rows of the output.
// Pad (PadParams): out[i0]...[x] = in[map_0[i0]]...[x'], or `value` where a map says -1. The last axis is
//   `before` mapped elements, `middle` in a row beginning at in_start, then the rest mapped.
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

enum class MoveKernel { concat, rows, tiles, pad };

constexpr std::int64_t kMoveGrain = 16384;  // floats a task
constexpr int kMaxMoveRank = 8;

struct ConcatParams {
  int inputs;
  std::int64_t outer;  // per sample
  std::int64_t lengths[kMaxStepInputs], total;
  std::int64_t rows_per_task, tasks_per_row;  // one of them is 1
};

struct StridedParams {
  std::int64_t in_size, out_size;  // per sample
  std::int64_t base;
  int rank;  // of the outer axes: all but the row (and the tile)
  std::int64_t dims[kMaxMoveRank], strides[kMaxMoveRank], out_strides[kMaxMoveRank];
  std::int64_t outer;                               // product of dims
  std::int64_t row, row_stride;                     // the last axis
  std::int64_t tile, tile_stride, tile_out_stride;  // tiles only; tile = 1 if there is none
  std::int64_t rows_per_task, tasks_per_row;        // rows: as above
  std::int64_t tile_per_task, tasks_per_tile;       // tiles
};

struct PadParams {
  std::int64_t in_size, out_size;  // per sample
  int rank;                        // of the outer axes
  std::int64_t dims[kMaxMoveRank], strides[kMaxMoveRank];
  const std::int32_t* maps[kMaxMoveRank];
  std::int64_t outer, row, before, middle, in_start;
  const std::int32_t* map;  // of the last axis
  float value;
  std::int64_t rows_per_task;
};

const KernelEntry* move_kernel(MoveKernel variant, Isa isa);

std::int64_t concat_tasks(const void* params, std::int64_t batch) noexcept;
std::int64_t move_rows_tasks(const void* params, std::int64_t batch) noexcept;
std::int64_t move_tiles_tasks(const void* params, std::int64_t batch) noexcept;
std::int64_t pad_tasks(const void* params, std::int64_t batch) noexcept;

}  // namespace sn
