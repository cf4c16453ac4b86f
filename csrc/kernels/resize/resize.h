// Resampling of planes, the source positions and weights tabulated at compile time:
//   nearest:  out[p][oy][ox] = in[p][y0[oy]][x0[ox]]
//   bilinear: out[p][oy][ox] = sum over i, j in {0, 1} of wy_i[oy] wx_j[ox] in[p][y_i[oy]][x_j[ox]], w_0 = 1 - w_1
#pragma once

#include "kernels/kernel.h"

namespace sn {

enum class Isa : int;
struct KernelEntry;

enum class ResizeKernel { nearest, bilinear };

struct ResizeParams {
  std::int64_t planes;  // per sample
  std::int64_t ih, iw, oh, ow;
  const std::int32_t *y0, *y1, *x0, *x1;  // y1, x1, wy, wx: bilinear only
  const float *wy, *wx;                   // of y1, x1
};

const KernelEntry* resize_kernel(ResizeKernel variant, Isa isa);

std::int64_t resize_tasks(const void* params, std::int64_t batch) noexcept;  // a plane each

}  // namespace sn
