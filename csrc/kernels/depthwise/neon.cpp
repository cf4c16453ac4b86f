#define SN_ISA neon
#include "simd/neon.h"

#include "kernels/depthwise/generic.h"
