#define SN_ISA neon
#include "simd/neon.h"

#include "kernels/move/generic.h"
