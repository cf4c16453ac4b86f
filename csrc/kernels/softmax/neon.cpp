#define SN_ISA neon
#include "simd/neon.h"

#include "kernels/softmax/generic.h"
