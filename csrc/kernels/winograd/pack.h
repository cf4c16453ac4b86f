// Weights -> the transformed panels that the winograd kernels read.
#pragma once

#include "base/buffer.h"
#include "kernels/winograd/winograd.h"

namespace sn {

// w[filters][image channels][kh][kw] to WinogradParams::u; p's sizes are set, p.u is not read.
AlignedBuffer pack_winograd(const float* w, int kh, int kw, const WinogradParams& p, WinogradKernel kernel);

}  // namespace sn
