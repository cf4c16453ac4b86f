// 3x3 weights -> the transformed panels that the winograd kernels read.
#pragma once

#include "base/buffer.h"
#include "kernels/winograd/winograd.h"

namespace sn {

// w[filters][channels][3][3] to WinogradParams::u; p's sizes are set, p.u is not read.
AlignedBuffer pack_winograd(const float* w, const WinogradParams& p, WinogradKernel kernel);

}  // namespace sn
