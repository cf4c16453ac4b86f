// What one core of this machine can do at most, measured: the denominators of "% of peak".
#pragma once

#include "base/cpu.h"

namespace sn {

// GFLOP/s of independent register FMAs (2 flops a lane), the best of a few bursts of about 1 ms. Measured once an ISA
// and kept. An ISA this machine cannot run throws InvalidArgument.
double measure_peak_gflops(Isa isa);

}  // namespace sn
