#define SN_ISA neon
#include "simd/neon.h"

#include "kernels/resize/generic.h"
