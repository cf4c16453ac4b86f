#define SN_ISA neon
#include "simd/neon.h"

#include "kernels/winograd/generic.h"
